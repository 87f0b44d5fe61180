"""What reads the test set, for itself and for those above: predictions, measures and plots."""
