"""Sequences: batches of token ids, vocabularies, and the sources of pairs to train on."""
