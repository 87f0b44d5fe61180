"""Hyperparameter search with Optuna: worker processes share a study, and each trial is a run like any other."""
