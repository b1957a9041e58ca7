"""Where the gradient travels: its paths from the loss to the annotations, told apart exactly."""
