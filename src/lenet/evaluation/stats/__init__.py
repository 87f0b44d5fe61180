"""Intervals and tests, each with the paper it comes from."""
