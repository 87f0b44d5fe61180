"""The gate and the registry: who is champion, why, and how that is changed and taken back."""
