"""What a trained model has learned: its numbers on the test set, and figures of its weights and gradients."""
