"""Code that the training scripts share: settings, command line, log and results of a run, several processes."""
