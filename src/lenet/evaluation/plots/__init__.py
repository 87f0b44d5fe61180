"""Plots of runs, variants and predictions as PNG files."""
