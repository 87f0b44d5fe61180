"""The gate: whether a registered version may become champion, and the evidence for it."""
