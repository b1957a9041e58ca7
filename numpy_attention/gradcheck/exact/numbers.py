"""Exact numbers: what the unchanged NumPy code of a forward and its backward computes with.

A number stands for a function of the inputs. It carries its value at the point (a float, which all comparisons
follow), its value in GF(p) at a random point, and its derivative there along a random direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .field import HALVINGS, Field, Value

PLAIN = (int, float, np.integer, np.floating, np.bool_)
MOST_FACTORS = 100  # roots among which the factors of another are looked for


class Exact:
    """One number.

    Attributes
    ----------
    field : Field
    shadow : float
        What an ordinary run computes here.
    value, slope : int
        Its value and its derivative in GF(p).
    degree, rise : int
        Bounds on the degrees of the value and of the slope: those of their numerators and denominators, as polynomials
        in what was drawn.
    """

    __slots__ = ("degree", "field", "rise", "shadow", "slope", "value")

    ndim, size, shape, exact = 0, 1, (), True

    def __init__(self, field: Field, shadow: float, value: Value, slope: Value, degree: int, rise: int) -> None:
        self.field, self.shadow, self.value, self.slope = field, shadow, value, slope
        self.degree, self.rise = degree, rise

    @classmethod
    def constant(cls, field: Field, number: float, value: Value) -> Exact:
        """A number that depends on nothing that was drawn."""
        return cls(field, number, value, 0, 0, 0)

    @classmethod
    def plain(cls, field: Field, number: Any) -> Exact:
        """A finite number of Python or NumPy."""
        whole = isinstance(number, (int, np.integer))
        value = int(number) % field.prime if whole else field.constant(float(number))
        return cls(field, float(number), value, 0, 0, 0)

    def __deepcopy__(self, memo: Any) -> Exact:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from .arrays import as_exact_array  # what a NumPy scalar has: sum, reshape, astype, ...

        return getattr(as_exact_array(self), name)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        from .arrays import call_ufunc

        return call_ufunc(ufunc, method, inputs, options)

    # Arithmetic. With an infinite or undefined float the result is a float again, as IEEE 754 says.

    def _other(self, other: Any) -> Any:
        """``other`` as a number of this field; NotImplemented if it is no number.

        A float if it is not finite, or if this number was kept when its run was over. A number of a later run stays.
        """
        if type(other) is Exact:
            if self.field.over and not other.field.over:
                return other
            other = other.shadow
        if not isinstance(other, PLAIN):
            if isinstance(other, (complex, np.complexfloating)):
                self.field.refuse("complex numbers have no exact form here")
            return NotImplemented
        number = float(other)
        if self.field.over or not math.isfinite(number):
            return number
        return Exact.plain(self.field, other)

    def __add__(self, other: Any) -> Any:
        if type(other) is not Exact or other.field is not self.field:
            other = self._other(other)
            if type(other) is not Exact or other.field is not self.field:
                return other if other is NotImplemented else self.shadow + other
        p = self.field.prime
        return Exact(
            self.field,
            self.shadow + other.shadow,
            (self.value + other.value) % p,
            (self.slope + other.slope) % p,
            self.degree + other.degree,
            self.rise + other.rise,
        )

    __radd__ = __add__

    def __neg__(self) -> Exact:
        p = self.field.prime
        return Exact(self.field, -self.shadow, -self.value % p, -self.slope % p, self.degree, self.rise)

    def __sub__(self, other: Any) -> Any:
        if type(other) is not Exact or other.field is not self.field:
            other = self._other(other)
            if type(other) is not Exact or other.field is not self.field:
                return other if other is NotImplemented else self.shadow - other
        p = self.field.prime
        return Exact(
            self.field,
            self.shadow - other.shadow,
            (self.value - other.value) % p,
            (self.slope - other.slope) % p,
            self.degree + other.degree,
            self.rise + other.rise,
        )

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if type(other) is not Exact or other.field is not self.field:
            other = self._other(other)
            if type(other) is not Exact or other.field is not self.field:
                return other if other is NotImplemented else self.shadow * other
        p = self.field.prime
        value = self.value * other.value % p
        if self.value == other.value and value not in self.field.squares:
            self.field.squares[value] = self.value, self.shadow
            self.field.square_degrees += self.degree + other.degree
        return Exact(
            self.field,
            self.shadow * other.shadow,
            value,
            (self.value * other.slope + self.slope * other.value) % p,
            self.degree + other.degree,
            self.degree + other.degree + self.rise + other.rise,
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if type(other) is not Exact or other.field is not self.field:
            other = self._other(other)
            if type(other) is not Exact or other.field is not self.field:
                return other if other is NotImplemented else self.shadow / other
        return self * other.inverse()

    def __rtruediv__(self, other: Any) -> Any:
        return self.inverse() * other

    def inverse(self) -> Exact:
        """1 / x, with the derivative -1 / x^2."""
        if self.shadow == 0 and self.is_constant():
            self.field.refuse("a division by 0")
        inverse = self.field.inverse(self.value)
        shadow = 1 / self.shadow if self.shadow else math.copysign(math.inf, self.shadow)
        return self.with_slope(shadow, inverse, -inverse * inverse, self.degree)

    def with_slope(self, shadow: float, value: Value, slope: Value, degree: int) -> Exact:
        """f(x), given its values and its derivative, which is of twice the degree of value and x together at most."""
        rise = self.rise + 2 * (degree + self.degree)
        return Exact(self.field, shadow, value, slope * self.slope % self.field.prime, degree, rise)

    def is_constant(self) -> bool:
        """True if it is certain that the number does not depend on what was drawn."""
        return self.degree == 0

    def __pow__(self, exponent: Any) -> Any:
        if type(exponent) is Exact:
            if not exponent.is_constant():
                return exp(exponent * log(self))
            exponent = exponent.shadow
        if not isinstance(exponent, PLAIN):
            return NotImplemented
        twice = 2 * float(exponent)
        if twice.is_integer() and abs(twice) < 1000:
            if int(twice) % 2:
                return sqrt(self) ** int(twice)
            whole = int(twice) // 2
            base = self if whole >= 0 else self.inverse()
            result: Any = Exact.constant(self.field, 1.0, 1)
            for bit in bin(abs(whole))[2:]:
                result = result * result
                result = result * base if bit == "1" else result
            return result
        k = float(exponent)  # x^k is a function of its own, with the derivative k x^k / x
        value, degree = remembered(self, f"** {k}")
        slope = self.field.constant(k) * value * self.field.inverse(self.value)
        return self.with_slope(_float(lambda x: x**k, self), value, slope, degree)

    def __rpow__(self, base: Any) -> Any:
        lifted = self._other(base)
        return lifted if type(lifted) is not Exact else exp(self * log(lifted))

    # Decisions follow the float.

    def _side(self, other: Any) -> Any:
        """The float to compare with. At a tie of different numbers the point sits on a kink."""
        if type(other) is not Exact or other.field is not self.field:
            other = self._other(other)
            if type(other) is not Exact:
                return other
        if self.field is other.field and self.shadow == other.shadow and self.value != other.value:
            self.field.refuse(f"two different numbers are equal here ({self.shadow:.6g}), a kink: move the point")
        if math.isnan(self.shadow) or math.isnan(other.shadow):
            self.field.refuse("an ordinary run computes NaN here")
        return float(other.shadow)

    def _decide(self, outcome: bool) -> bool:
        self.field.path.append(outcome)
        return outcome

    def __lt__(self, other: Any) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow < side)

    def __le__(self, other: Any) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow <= side)

    def __gt__(self, other: Any) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow > side)

    def __ge__(self, other: Any) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow >= side)

    def __eq__(self, other: object) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow == side)

    def __ne__(self, other: object) -> Any:
        side = self._side(other)
        return side if side is NotImplemented else self._decide(self.shadow != side)

    def __hash__(self) -> int:
        return hash((self.value, self.slope))

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __abs__(self) -> Exact:
        return -self if self < 0 else self

    def __int__(self) -> Any:
        return self._whole(math.trunc)

    __trunc__ = __int__

    def __floor__(self) -> Any:
        return self._whole(math.floor)

    def __ceil__(self) -> Any:
        return self._whole(math.ceil)

    def __round__(self, digits: int | None = None) -> float:
        return float(self._whole(lambda x: round(x, digits or 0)))

    def _whole(self, rule: Callable[[float], Any]) -> Any:
        """A step function of the float: no derivative, and part of the path."""
        found = rule(self.shadow)
        self.field.path.append(found)
        return found

    def __float__(self) -> float:
        if self.field.over:
            return self.shadow
        self.field.refuse("a float cannot hold an exact number: a buffer of floats, float(), or compiled code")

    def __complex__(self) -> complex:
        return complex(float(self))

    @property
    def real(self) -> Exact:
        """Itself."""
        return self

    @property
    def imag(self) -> float:
        """0."""
        return 0.0

    def conjugate(self) -> Exact:
        """Itself."""
        return self

    def item(self) -> Exact:
        """Itself."""
        return self

    def __repr__(self) -> str:
        return f"Exact({self.shadow:.6g})"

    # NumPy calls these for the elements of a plain array of objects.

    def exp(self) -> Any:
        """exp(x)."""
        return exp(self)

    def tanh(self) -> Any:
        """tanh(x)."""
        return tanh(self)

    def sqrt(self) -> Any:
        """The square root."""
        return sqrt(self)

    def log(self) -> Any:
        """log(x)."""
        return log(self)

    def log1p(self) -> Any:
        """log(1 + x)."""
        return log(1 + self)

    def expm1(self) -> Any:
        """exp(x) - 1."""
        return exp(self) - 1

    def sin(self) -> Any:
        """sin(x)."""
        return sin(self)

    def cos(self) -> Any:
        """cos(x)."""
        return cos(self)


# Functions. A function that is no quotient of polynomials has a random value for each argument that it is asked for,
# which is remembered, and a rule for its derivative. Relations between functions are those stated here.


def _float(rule: Callable[[float], float], x: Exact) -> float:
    """The float of a function; infinite where it overflows."""
    try:
        return rule(x.shadow)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        x.field.refuse(f"a function is not defined at {x.shadow:.6g}, or not differentiable there")


def remembered(x: Exact, name: str) -> tuple[Value, int]:
    """The value of a function at x and its degree: random, and the same for the same x."""
    key = (name, x.value)
    if key not in x.field.known:
        x.field.degrees += x.degree
        x.field.known[key] = x.field.draw(), 1
    return x.field.known[key]


def exp(x: Any) -> Any:
    """exp(x).

    Known are exp(0) = 1, exp(-x) = 1 / exp(x), exp(2 x) = exp(x)^2, exp(log(x)) = x, exp(x - log(y)) = exp(x) / y.
    """
    if type(x) is not Exact:
        return math.exp(x)
    f, p, v = x.field, x.field.prime, x.value
    for shift in f.logs:
        if ("exp", v) in f.known:
            break
        if ("exp", (v - shift) % p) in f.known:
            (rest, degree), (factor, more) = f.known["exp", (v - shift) % p], f.known["exp", shift]
            f.known["exp", v] = rest * factor % p, degree + more
    if ("exp", v) not in f.known:
        f.degrees += x.degree
        _extend_exp(x)
    e, degree = f.known["exp", v]
    return x.with_slope(_float(math.exp, x), e, e, degree)


def _extend_exp(x: Exact) -> None:
    """Make exp(x) known: from exp(x / 2^k), if that is, or else from a new exp(x / 4). What is known stays."""
    f, p, v = x.field, x.field.prime, x.value
    half = pow(2, -1, p)
    parts: list[Value] = [v]
    for _ in range(HALVINGS):
        parts.append(parts[-1] * half % p)
    at = next((part for part in parts if ("exp", part) in f.known), None)
    if at is None:
        at = parts[2]
        f.known["exp", at] = (f.draw() if v else 1), 1
    found, degree = f.known["exp", at]
    inverse = f.inverse(found)
    for part in (*reversed(parts[: parts.index(at) + 1]), 2 * v % p):
        f.known.setdefault(("exp", part), (found, degree))
        f.known.setdefault(("exp", -part % p), (inverse, degree))
        f.known.setdefault(("log", found), (part, x.degree))
        f.known.setdefault(("log", inverse), (-part % p, x.degree))
        found, inverse, degree = found * found % p, inverse * inverse % p, 2 * degree


def log(x: Any) -> Any:
    """log(x), with log(1) = 0 and log(exp(x)) = x; its derivative is 1 / x."""
    if type(x) is not Exact:
        return math.log(x) if x > 0 else -math.inf
    f = x.field
    if x.value == 1:
        f.known["log", 1] = 0, 0
    value, degree = remembered(x, "log")
    if ("exp", value) not in f.known:
        minus, inverse = -value % f.prime, f.inverse(x.value)
        f.known["exp", value], f.known["exp", minus] = (x.value, x.degree), (inverse, x.degree)
        f.logs += [value, minus]
    return x.with_slope(_float(math.log, x), value, f.inverse(x.value), degree)


def sqrt(x: Any) -> Any:
    """The square root s, with s^2 = x unless roots are free; its derivative is 1 / (2 s)."""
    if type(x) is not Exact:
        return math.sqrt(x)
    if x.shadow == 0:
        x.field.refuse("the square root has no derivative at 0")
    f = x.field
    if x.value not in f.roots:
        f.root_degrees += x.degree
        s, degree = _known_root(x) or (f.new_root(x.value), max(1, x.degree) if f.free else x.degree)
        f.roots[x.value] = s, degree, f.inverse(x.value)
    s, degree, _ = f.roots[x.value]
    return x.with_slope(_float(math.sqrt, x), s, f.inverse(2 * s), degree)


def _known_root(x: Exact) -> tuple[Value, int] | None:
    """The positive root where it follows from what is known, and its degree.

    Known are sqrt(y^2) = y or -y, by the sign of the float, sqrt(a b) = sqrt(a) sqrt(b) and
    sqrt(a / b) = sqrt(a) / sqrt(b).
    """
    f, p, v = x.field, x.field.prime, x.value
    if v in f.squares:
        root, shadow = f.squares[v]
        if math.isclose(shadow * shadow, x.shadow, rel_tol=1e-6):
            return (root if shadow > 0 else -root % p), x.degree
    if len(f.roots) > MOST_FACTORS:
        return None
    inverse = f.inverse(v)
    for a, (root, degree, over) in f.roots.items():
        if v * over % p in f.roots:
            other, more, _ = f.roots[v * over % p]
            return root * other % p, degree + more
        if a * inverse % p in f.roots:
            other, more, _ = f.roots[a * inverse % p]
            return root * f.inverse(other) % p, degree + more
    return None


def tanh(x: Any) -> Any:
    """tanh(x) = 1 - 2 / (exp(2 x) + 1); its derivative is 1 - tanh(x)^2."""
    if type(x) is not Exact:
        return math.tanh(x)
    f = x.field
    e = exp(2 * x)
    z = (1 - 2 * f.inverse(e.value + 1)) % f.prime
    return x.with_slope(math.tanh(x.shadow), z, 1 - z * z, e.degree)


def _sine_and_cosine(x: Exact) -> tuple[Value, Value]:
    """Both by t = tan(x / 2): 2 t / (1 + t^2) and (1 - t^2) / (1 + t^2)."""
    f, p = x.field, x.field.prime
    t, degree = remembered(x, "tan of half") if x.value else (0, 0)
    f.known["tan of half", -x.value % p] = -t % p, degree
    scale = f.inverse(1 + t * t)
    return 2 * t * scale % p, (1 - t * t) * scale % p


def sin(x: Any) -> Any:
    """sin(x), with sin^2 + cos^2 = 1 and sin(-x) = -sin(x)."""
    if type(x) is not Exact:
        return math.sin(x)
    s, c = _sine_and_cosine(x)
    return x.with_slope(_float(math.sin, x), s, c, 2)


def cos(x: Any) -> Any:
    """cos(x)."""
    if type(x) is not Exact:
        return math.cos(x)
    s, c = _sine_and_cosine(x)
    return x.with_slope(_float(math.cos, x), c, -s, 2)


def _opaque(name: str, rule: Callable[[float], float], derivative: Callable[[Exact], Any]) -> Callable[[Any], Any]:
    """A function with a random value and a known derivative."""

    def function(x: Any) -> Any:
        if type(x) is not Exact:
            return rule(x)
        slope = derivative(x)
        value, degree = remembered(x, name)
        return x.with_slope(_float(rule, x), value, slope.value, degree + slope.degree)

    return function


arctan = _opaque("arctan", math.atan, lambda x: 1 / (1 + x * x))
arcsin = _opaque("arcsin", math.asin, lambda x: 1 / sqrt(1 - x * x))
arccos = _opaque("arccos", math.acos, lambda x: -1 / sqrt(1 - x * x))
arcsinh = _opaque("arcsinh", math.asinh, lambda x: 1 / sqrt(1 + x * x))
arccosh = _opaque("arccosh", math.acosh, lambda x: 1 / sqrt(x * x - 1))
arctanh = _opaque("arctanh", math.atanh, lambda x: 1 / (1 - x * x))
erf = _opaque("erf", math.erf, lambda x: 2 / math.sqrt(math.pi) * exp(-x * x))


def sinh(x: Any) -> Any:
    """(exp(x) - exp(-x)) / 2."""
    e = exp(x)
    return (e - 1 / e) / 2


def cosh(x: Any) -> Any:
    """(exp(x) + exp(-x)) / 2."""
    e = exp(x)
    return (e + 1 / e) / 2


def sign(x: Any) -> int:
    """-1, 0 or 1: a step function."""
    return int(x > 0) - int(x < 0)
