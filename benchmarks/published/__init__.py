"""Published results and ours beside them, each table made by one command."""
