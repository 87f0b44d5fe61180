"""Training with Lightning; knows nothing of MLflow, DVC or Hydra."""
