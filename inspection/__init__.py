"""What a trained model has learnt: its numbers on the test set, and pictures of what is inside."""
