"""LeNet Lab: experiment tracking around LeNet-5 in which a run has one identity."""

__version__ = "0.1.0"
