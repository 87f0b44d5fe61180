"""Run directories: identity, get-or-train, listing and cleanup."""
