"""The calculus: one equation per file, its backward right under its forward.

Every operation is a function of arrays, ``x_forward(...) -> (result, cache)`` and
``x_backward(gradient, cache) -> gradients``. Caches are returned, never kept anywhere. Every backward is right
for any gradient that it is handed, and nothing here takes the absolute value, the conjugate or the real part of
a quantity that carries a derivative: all of it is complex-analytic, so the complex step can check it.
"""
