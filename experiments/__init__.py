"""What goes beyond a single training run: the report of the batch-normalization study, the twins side by side."""
