"""Training with Lightning; knows nothing of MLflow, DVC or Hydra."""

from lenet.training.processor import settle

settle()  # before any module of this package imports torch
