"""What the training scripts share: settings, command line, the log of a run, its results, several processes."""
