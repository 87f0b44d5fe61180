"""Fused training steps for LeNet-5, in C: the same bits on every processor, whatever the number of threads."""
