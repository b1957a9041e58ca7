"""Sequences: batches of token ids, the words they stand for, and the tasks that make them."""
