"""Training: datasets, examples, losses and one loop."""
