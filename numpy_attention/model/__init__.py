"""The calculus unrolled over time: encoder, bridge, decoder, and the model that they make."""
