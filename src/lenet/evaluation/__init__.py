"""The only reader of the test set: predictions, measures and plots."""
