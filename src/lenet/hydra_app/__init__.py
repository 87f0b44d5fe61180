"""The entry point of train.py: single runs, sweeps and the results table."""
