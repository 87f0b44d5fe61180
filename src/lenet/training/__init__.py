"""Training with Lightning; knows nothing of MLflow, DVC or Hydra."""

from lenet.training.cpu_tuning import configure_openmp

configure_openmp()  # before any module of this package imports torch
