"""The model registry: versions, aliases, provenance and the history of promotions."""
