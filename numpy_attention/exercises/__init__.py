"""A course: write the backward passes of the model yourself, one by one, each judged by a proof."""
