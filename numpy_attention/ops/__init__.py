"""The calculus: every forward pass, and its backward right under it.

The letters, in every file::

    B  sequences in a batch            E   size of an embedding
    T  source positions, t = 1 .. T    H   size of an encoder state; H' = H, or 2 H in two directions: the size of h_t
    U  target positions, u = 1 .. U    D   size of a decoder state
    V  size of a vocabulary            A   size of the alignment network

    h_t  encoder state, (B, H')        s_u      decoder state, (B, D)
    c_u  context vector, (B, H')       e_{u,t}  alignment score          alpha_{u,t}  attention weight
    x_t, y_u  tokens of source and target; in a product, their embeddings        a  input projection of a cell, x W + b

Shapes are those of the tanh cell. Gates make a, W, U and b of a cell several times as wide, and the state of an LSTM is
[h ; c], with a c of its own. Within a shape U is the number of target positions; elsewhere it is a matrix. Loops count
from 0: s[u] is the state before step u, s[u + 1] the one after it.

Rows are sequences: a layer is ``x @ W + b``. ``dx`` is the gradient of the loss L with respect to x, of the shape of x.
A backward takes such a gradient, whatever its value, and returns the gradients of what its forward read.

An operation of one time step is a pair ``x``, ``x_backward``, called at every step of a loop. What all steps add up to
(the gradient of a weight, for one) is written out after the loop, as one product over all steps. Nothing is kept on
objects: a loop collects its states, contexts and attention weights in arrays whose first axis is time.

Everything is complex-analytic, so that the complex step can check it: no absolute value, no conjugate, and no real part
of a number that carries a derivative.
"""
