"""Where the gradient travels: its paths from the loss to the encoder states, told apart exactly."""
