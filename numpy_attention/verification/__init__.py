"""The evidence on our own model: the matrix of cases that is checked, and the mistakes that the checks must catch."""
