"""Training: optimisers, learning-rate schedule, the training step and loop, evaluation, checkpoints."""
