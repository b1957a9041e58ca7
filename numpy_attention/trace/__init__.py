"""A run of NumPy code as a list of its calls, with the lines that made them, and an interpreter of the list."""
