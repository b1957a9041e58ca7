"""One step of a model, forward and backward, with its numbers."""
