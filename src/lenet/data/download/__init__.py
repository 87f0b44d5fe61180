"""Fetch original files from where they can be had, with sizes, times and checksums checked."""
