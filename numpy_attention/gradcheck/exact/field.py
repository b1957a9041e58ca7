"""GF(p), and what is random in it: the prime, the points, and the values of functions such as exp."""

from __future__ import annotations

import functools
import random
import sys
from pathlib import Path
from typing import NoReturn

BITS = 191  # of a prime: enough for the degrees of a whole model
MORE_BITS = 255  # and for those of its second derivatives
HALVINGS = 5  # exp(x) is built on exp(x / 2^k) up to this k
HERE = str(Path(__file__).parent)


class CannotProveError(Exception):
    """Something has no exact form; the message says what, and where."""


class UnluckyError(Exception):
    """A random point at which something is not defined, such as a division by 0: draw another one."""


class Gauss:
    """a + b i in GF(p)(i), with i^2 = -1: where the square roots are of those elements of GF(p) that have none there.

    Only a square root makes one. As p is 3 modulo 4, -1 has no root in GF(p), and x or -x has one.
    """

    __slots__ = ("a", "b", "prime")

    def __init__(self, a: int, b: int, prime: int) -> None:
        self.a, self.b, self.prime = a, b, prime

    def _of(self, a: int, b: int) -> Value:
        b %= self.prime
        return Gauss(a % self.prime, b, self.prime) if b else a % self.prime

    def __add__(self, other: Value) -> Value:
        a, b = parts(other)
        return self._of(self.a + a, self.b + b)

    def __mul__(self, other: Value) -> Value:
        a, b = parts(other)
        return self._of(self.a * a - self.b * b, self.a * b + self.b * a)

    def __neg__(self) -> Value:
        return self._of(-self.a, -self.b)

    def __sub__(self, other: Value) -> Value:
        return self + -other

    def __rsub__(self, other: int) -> Value:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def __mod__(self, prime: int) -> Value:
        return self  # every operation has reduced it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gauss) and (self.a, self.b) == (other.a, other.b)

    def __hash__(self) -> int:
        return hash((self.a, self.b))


Value = int | Gauss


def parts(value: Value) -> tuple[int, int]:
    """Real and imaginary part."""
    return (value.a, value.b) if isinstance(value, Gauss) else (value, 0)


class Field:
    """One random point: a prime, and everything that is drawn while a forward and its backward run.

    Parameters
    ----------
    prime : int
        3 modulo 4.
    seed : int
    budget : int
        Operations after which to give up.
    free : bool
        Square roots are variables of their own, of which s^2 = x is not known.
    """

    def __init__(self, prime: int, seed: int, budget: int, *, free: bool = False) -> None:
        self.prime = prime
        self.free = free
        self.over = False  # True once the run has ended; numbers that the code has kept are floats from then on
        self.rng = random.Random(seed)
        self.root_rng = random.Random(seed + (1 << 64))  # the other draws are the same with free roots and without
        self.budget = budget
        self.operations = 0
        # Values of functions that were asked for, and their degrees.
        self.known: dict[tuple[str, Value], tuple[Value, int]] = {}
        self.squares: dict[Value, tuple[Value, float]] = {}  # what each is the square of, and its float
        self.square_degrees = 0  # of all squares together
        self.roots: dict[Value, tuple[Value, int, Value]] = {1: (1, 0, 1)}  # of x: the root, its degree, and 1 / x
        self.root_degrees = 0  # of all x together
        self.radicands: list[Value] = []  # those x whose root is no product or quotient of what was known
        self.logs: list[Value] = []  # values of log and their negatives: exp of a sum with one of them is known
        self.degrees = 0  # of all arguments of functions together
        self.constants: dict[float, int] = {}
        self.rounded: dict[float, str] = {}  # constants that look like rounded ones, and where they came in
        self.path: list[bool] = []  # outcomes of all comparisons
        self.refusal: str | None = None  # the first one; NumPy replaces some errors by its own

    def draw(self) -> int:
        """A random element other than 0."""
        return self.rng.randrange(1, self.prime)

    def inverse(self, value: Value) -> Value:
        """1 / value."""
        if isinstance(value, Gauss):  # (a - b i) / (a^2 + b^2)
            scale = pow(value.a * value.a + value.b * value.b, -1, self.prime)
            return Gauss(value.a * scale % self.prime, -value.b * scale % self.prime, self.prime)
        if value % self.prime == 0:
            raise UnluckyError
        return pow(value, -1, self.prime)

    def root(self, value: Value) -> Value:
        """A square root; the same one whenever it is asked for."""
        p, (a, b) = self.prime, parts(value)
        if b:  # the root x + y i of a + b i has x^2 = (a + n) / 2, where n^2 = a^2 + b^2, and y = b / 2x
            n = _root_in(p, (a * a + b * b) % p)
            x = None if n is None else _root_in(p, (a + n) * pow(2, -1, p) % p) or _root_in(p, (a - n) * pow(2, -1, p))
            if x is None:
                raise UnluckyError
            return Gauss(x, b * pow(2 * x, -1, p) % p, p)
        real = _root_in(p, a)
        if real is not None:
            return real
        return Gauss(0, pow(-a % p, (p + 1) // 4, p), p)

    def new_root(self, value: Value) -> Value:
        """The root of a number that is no square of a known one: one of two, or a variable of its own."""
        self.radicands.append(value)
        return self.root_rng.randrange(1, self.prime) if self.free else self.root(value)

    def is_square(self, value: Value) -> bool:
        """True if an element of GF(p) has a root there."""
        return pow(parts(value)[0], self.prime >> 1, self.prime) == 1

    def coincidences(self) -> int:
        """The degrees of all pairs of values that were compared: each is equal by chance with at most degree / p.

        An argument of exp is looked up as it is, halved, and less each known logarithm.
        """
        count = len(self.roots) - 1
        squares = len(self.squares) * self.root_degrees + count * self.square_degrees
        products = 3 * count * count * self.root_degrees
        lookups = 2 * (1 + HALVINGS + len(self.logs)) * len(self.known) * self.degrees
        return lookups + squares + products

    def constant(self, number: float) -> int:
        """The element that a float is exactly: a whole number over a power of two."""
        found = self.constants.get(number)
        if found is None:
            above, below = number.as_integer_ratio()
            found = self.constants[number] = above * pow(below, -1, self.prime) % self.prime
            if above.bit_length() > 40:  # of 53: 1/7 and 0.1 fill them all, 0.75 and 1e6 do not
                self.rounded[number] = where()
        return found

    def spend(self, operations: int) -> None:
        """Count operations."""
        self.operations += operations
        if self.operations > self.budget:
            self.refuse(f"it takes more than {self.budget:,} operations at these sizes; smaller ones prove as much")

    def refuse(self, reason: str) -> NoReturn:
        """Raise CannotProveError, with the place in the code that was run."""
        place = where()
        self.refusal = self.refusal or (f"{reason} ({place})" if place else reason)
        raise CannotProveError(self.refusal)


def _root_in(p: int, a: int) -> int | None:
    """A square root of a in GF(p), or None."""
    r = pow(a, (p + 1) // 4, p)
    return r if (r * r - a) % p == 0 else None


def where() -> str:
    """File and line of the code that was given: the innermost one that is neither here nor in a library."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((HERE, "<__array_function__")) and "site-packages" not in name and "<frozen" not in name:
            return f"{Path(name).name}, line {frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


@functools.cache
def random_prime(seed: int, bits: int) -> int:
    """A random prime that is 3 modulo 4."""
    rng = random.Random(seed)
    while True:
        candidate = rng.getrandbits(bits - 1) | 1 << (bits - 1) | 3
        if _is_prime(candidate, rng):
            return candidate


def _is_prime(n: int, rng: random.Random) -> bool:
    """Miller and Rabin's test of an n = 3 modulo 4, which lets another number pass with a probability below 4^-40."""
    return all(pow(rng.randrange(2, n - 1), n >> 1, n) in (1, n - 1) for _ in range(40))
