"""Studies of many training runs: batch normalization, and the NumPy and the PyTorch version next to each other."""
