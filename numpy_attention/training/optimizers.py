"""Optimisers: how a gradient moves the parameters, which are one flat vector here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from .._typing import Array


class Optimizer(Protocol):
    """Interface of an optimiser.

    Attributes
    ----------
    steps : int
        Updates made.
    arrays : dict of arrays
        Everything else that it remembers between updates, by name. A checkpoint holds these arrays and ``steps``; to
        continue a run, they are written into a new optimiser in place.
    """

    steps: int
    arrays: dict[str, Array]

    def update(self, parameters: Array, gradient: Array, learning_rate: float | Array) -> None:
        """Move ``parameters`` in place by one step against ``gradient``; each entry may have a rate of its own."""


class Adam:
    r"""Adam: a step of running mean over running root mean square.

        m = beta_1 m + (1 - beta_1) g           v = beta_2 v + (1 - beta_2) g^2
        p = p - learning_rate * (m / (1 - beta_1^k)) / (sqrt(v / (1 - beta_2^k)) + epsilon)

    Parameters
    ----------
    parameters : (N,) array
        Sets the size and dtype of the running means, which start at zero.
    beta_1, beta_2 : float
        Decay of the running means, at least 0 and below 1.
    epsilon : float
        Keeps the step finite where the gradient was always zero.

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> parameters = np.array([1.0, -1.0])
    >>> Adam(parameters).update(parameters, np.array([3.0, 0.1]), learning_rate=0.5)
    >>> parameters.round(6)
    array([ 0.5, -1.5])
    """

    not_negative = ("square",)  # arrays that a checkpoint must not hold with a negative number in them

    def __init__(self, parameters: Array, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8) -> None:
        require_vector(parameters)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.steps = 0
        self.mean = np.zeros_like(parameters)
        self.square = np.zeros_like(parameters)
        self.arrays = {"mean": self.mean, "square": self.square}

    def update(self, parameters: Array, gradient: Array, learning_rate: float | Array) -> None:
        """Move ``parameters`` in place by one step against ``gradient``."""
        self.steps += 1
        self.mean += (1 - self.beta_1) * (gradient - self.mean)
        self.square += (1 - self.beta_2) * (gradient * gradient - self.square)
        root = np.sqrt(self.square / (1 - self.beta_2**self.steps)) + self.epsilon
        parameters -= learning_rate / (1 - self.beta_1**self.steps) * self.mean / root


class SGD:
    r"""Stochastic gradient descent with momentum: velocity = momentum velocity + g, p = p - learning_rate velocity.

    Parameters
    ----------
    parameters : (N,) array
        Sets the size and dtype of the velocity, which starts at zero.
    momentum : float
        At least 0 and below 1.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods".

    Examples
    --------
    >>> import numpy as np
    >>> parameters = np.array([1.0])
    >>> SGD(parameters).update(parameters, np.array([2.0]), learning_rate=0.25)
    >>> parameters
    array([0.5])
    """

    def __init__(self, parameters: Array, momentum: float = 0.9) -> None:
        require_vector(parameters)
        self.momentum = momentum
        self.steps = 0
        self.velocity = np.zeros_like(parameters)
        self.arrays = {"velocity": self.velocity}

    def update(self, parameters: Array, gradient: Array, learning_rate: float | Array) -> None:
        """Move ``parameters`` in place by one step against ``gradient``."""
        self.steps += 1
        self.velocity *= self.momentum
        self.velocity += gradient
        parameters -= learning_rate * self.velocity


def require_vector(parameters: Array) -> None:
    """Raise ValueError unless the parameters are one vector."""
    if not isinstance(parameters, np.ndarray) or parameters.ndim != 1:
        got = f"shape {parameters.shape}" if isinstance(parameters, np.ndarray) else type(parameters).__name__
        raise ValueError(
            f"parameters: expected all of them as one vector, got {got}; TrainingState(params, Adam) makes it of a dict"
        )


# Makes an optimiser for the flat vector of all parameters, by the name that the settings use.
OPTIMIZERS: dict[str, Callable[[Array], Optimizer]] = {"adam": Adam, "sgd": SGD}


def decay_weights(parameters: Array, learning_rate: float, weight_decay: float) -> None:
    """Decoupled weight decay, in place and apart from the optimiser's step: p = (1 - learning_rate * weight_decay) p.

    Parameters
    ----------
    parameters : (N,) array
    learning_rate : float
        Of this update.
    weight_decay : float
        At least 0.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> parameters = np.array([2.0, -4.0])
    >>> decay_weights(parameters, learning_rate=0.1, weight_decay=0.5)
    >>> parameters
    array([ 1.9, -3.8])
    """
    parameters *= 1 - learning_rate * weight_decay


def clip_by_global_norm(gradient: Array, limit: float) -> float:
    """Scale ``gradient`` in place so that its Euclidean norm is at most ``limit``.

    Parameters
    ----------
    gradient : (N,) array
        Gradient of all parameters.
    limit : float
        ``math.inf`` for no clipping.

    Returns
    -------
    norm : float
        Norm before clipping.

    References
    ----------
    Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> gradient = np.array([3.0, 4.0])
    >>> clip_by_global_norm(gradient, 1.0), gradient
    (5.0, array([0.6, 0.8]))
    """
    norm = float(np.linalg.norm(gradient))
    if norm > limit:
        gradient *= limit / norm
    return norm
