"""From bytes to batches: sources are fetched, checked, prepared, loaded and distorted here."""
