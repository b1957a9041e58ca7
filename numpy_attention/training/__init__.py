"""Learning: optimisers, the schedule of the learning rate, evaluation, the loop, and what it saves."""
