"""Pairs of float32: scalars with about 48 bits where JAX has no double.

Every product here is exact (factors of 12 bits), so a compiler that contracts products and sums
into fused multiply-adds changes nothing; nothing is reassociated. In a jitted step the bias
corrections and what is computed from them come out right to 2**-38 or better, so that rounding
them gives, but for one step in thousands, the float32 nearest to the double torch computes.

Reference: T. J. Dekker, A floating-point technique for extending the available precision,
Numerische Mathematik 18 (1971), https://doi.org/10.1007/BF01397083.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# ln 2 / 32 in parts of 13, 13 and 24 bits: a product of the first two with n < 2**11 is exact.
_GRID = math.log(2) / 32
_GRID_HIGH = math.floor(_GRID * 2**18) / 2**18
_GRID_MIDDLE = math.floor((_GRID - _GRID_HIGH) * 2**31) / 2**31
_GRID_LOW = _GRID - _GRID_HIGH - _GRID_MIDDLE
# Beyond e**-28 = 7e-13 the complement is 1 to the digits kept.
LARGEST = 28.0
_COMPLEMENTS = [-math.expm1(-n * _GRID) for n in range(int(LARGEST / _GRID) + 2)]
_COMPLEMENTS_HIGH = np.array(_COMPLEMENTS, np.float32)
_COMPLEMENTS_LOW = (np.array(_COMPLEMENTS) - _COMPLEMENTS_HIGH).astype(np.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TwoFloat:
    """An unevaluated sum ``hi + lo`` of two float32, about 48 bits: a hyperparameter with digits.

    A pytree, so it may be an argument of jit, vmap, scan and grad (the gradient is that of the
    sum, given to each part). Made by `two_float` and `one_minus`.

    Attributes:
        hi: float32, the sum rounded to nearest; any shape.
        lo: float32, the rest, at most half a unit in the last place of `hi`; the same shape.
    """

    hi: Any
    lo: Any

    def __add__(self, other: Any) -> TwoFloat:
        return _add(self, as_two_float(other))

    def __neg__(self) -> TwoFloat:
        return TwoFloat(-self.hi, -self.lo)

    def __sub__(self, other: Any) -> TwoFloat:
        return _add(self, -as_two_float(other))

    def __rsub__(self, other: Any) -> TwoFloat:
        return _add(as_two_float(other), -self)

    def __mul__(self, other: Any) -> TwoFloat:
        return _mul(self, as_two_float(other))

    def __truediv__(self, other: Any) -> TwoFloat:
        return _div(self, as_two_float(other))

    def __rtruediv__(self, other: Any) -> TwoFloat:
        return _div(as_two_float(other), self)

    def __gt__(self, other: float) -> jax.Array:
        difference = self - other
        return difference.hi > 0

    def __ge__(self, other: float) -> jax.Array:
        difference = self - other
        return difference.hi >= 0

    __radd__ = __add__
    __rmul__ = __mul__


def two_float(value: Any) -> TwoFloat:
    """Keep all the digits of a double in a pair of float32, to pass it into a jitted function.

    ``tx.update(..., b2=two_float(0.999))`` is `b2 = 0.999` to 48 bits; the float32 number nearest
    to 0.999 makes ``1 - b2`` wrong by 1.3e-5 of itself.

    Args:
        value: Python number, or NumPy array of float64 (for `vmap`, any shape).

    Returns:
        `TwoFloat` of the same shape.

    Examples:
        >>> bool(fa.two_float(0.999).lo != 0)  # what a float32 has lost of it
        True
    """
    double = np.asarray(value, np.float64)
    high = double.astype(np.float32)
    return TwoFloat(jnp.asarray(high), jnp.asarray((double - high).astype(np.float32)))


def one_minus(value: Any) -> TwoFloat:
    """``1 - value`` without losing digits: search over ``1 - b2`` and pass ``one_minus(x)``.

    Args:
        value: Python number or (traced) float array ``1 - b``, e.g. in (1e-5, 0.5).

    Returns:
        `TwoFloat` of the same shape, exact for a float32 `value`.

    Examples:
        >>> b2 = fa.one_minus(1e-6)
        >>> float(b2.hi), bool(b2.lo != 0)
        (0.9999989867210388, True)
    """
    return 1 - as_two_float(value)


def as_two_float(value: Any) -> TwoFloat:
    """Read a number, an integer or float array, or a `TwoFloat` as a `TwoFloat`."""
    if isinstance(value, TwoFloat):
        return value
    if isinstance(value, int | float | np.ndarray | np.generic | list | tuple):
        pair = two_float(value)
    else:
        high = value.astype(jnp.float32)
        exact = value.dtype == jnp.float64 or jnp.issubdtype(value.dtype, jnp.integer)
        low = value - high.astype(value.dtype) if exact else jnp.zeros_like(high)
        pair = TwoFloat(high, low.astype(jnp.float32))
    # XLA folds the constants of (1 + x) - 1, and with them the rounding error sought.
    return lax.optimization_barrier(pair)


def _fast_two_sum(a, b):
    """``a + b`` and its rounding error, exactly, for ``|a| >= |b|``."""
    total = a + b
    return total, b - (total - a)


def _two_sum(a, b):
    """``a + b`` and its rounding error, exactly."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _split(a):
    """Split a float32 into 12 + 12 bits, by a mask: no compiler can undo it."""
    bits = lax.bitcast_convert_type(a, jnp.uint32) & np.uint32(0xFFFFF000)
    high = lax.bitcast_convert_type(bits, jnp.float32)
    return high, a - high


def _two_product(a, b):
    """``a * b`` and its rounding error, from four exact products."""
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    total, first = _fast_two_sum(a_high * b_high, a_high * b_low)
    total, second = _fast_two_sum(total, a_low * b_high)
    return _fast_two_sum(total, (first + second) + a_low * b_low)


def _differentiable(*partials: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function of `TwoFloat` its derivative: partials take (result, *arguments), rounded."""

    def decorate(function):
        function = jax.custom_jvp(function)

        @function.defjvp
        def jvp(primals, tangents):
            result = function(*primals)
            arguments = [primal.hi for primal in primals]
            tangent = sum(
                partial(result.hi, *arguments) * (t.hi + t.lo)
                for partial, t in zip(partials, tangents, strict=True)
            )
            return result, TwoFloat(tangent, jnp.zeros_like(tangent))

        return function

    return decorate


def _in_one_loop(function: Callable[..., TwoFloat]) -> Callable[..., TwoFloat]:
    """Compute scalars as arrays of one element, of which XLA makes fewer and larger kernels on a
    CPU: Adam's step of one leaf compiles in 0.7 of the time.
    """

    @functools.wraps(function)
    def lifted(*pairs):
        if any(jnp.ndim(pair.hi) for pair in pairs):
            return function(*pairs)
        vectors = jax.tree.map(lambda x: jnp.expand_dims(x, 0), pairs)
        return jax.tree.map(lambda x: lax.squeeze(x, (0,)), function(*vectors))

    return lifted


def apart(pair: TwoFloat) -> TwoFloat:
    """The same pair, divided by a one that no simplifier sees, as in `_ops`: XLA copies cheap
    operations into every kernel that reads them, however long their chain is, but no division.
    """
    return jax.tree.map(lambda x: x / lax.select(x != x, x, lax.full_like(x, 1)), pair)


@_differentiable(lambda _, a, b: 1.0, lambda _, a, b: 1.0)
def _add(a, b):
    total, error = _two_sum(a.hi, b.hi)
    low, rest = _two_sum(a.lo, b.lo)
    total, error = _fast_two_sum(total, error + low)
    return TwoFloat(*_fast_two_sum(total, error + rest))


@_differentiable(lambda _, a, b: b, lambda _, a, b: a)
@_in_one_loop
def _mul(a, b):
    total, error = _two_product(a.hi, b.hi)
    return TwoFloat(*_fast_two_sum(total, error + (a.hi * b.lo + a.lo * b.hi)))


@_differentiable(lambda _, a, b: 1 / b, lambda quotient, a, b: -quotient / b)
def _div(a, b):
    quotient = a.hi / b.hi
    product, error = _two_product(quotient, b.hi)
    remainder = ((a.hi - product) - error) + (a.lo - quotient * b.lo)
    return TwoFloat(*_fast_two_sum(quotient, remainder / b.hi))


@_differentiable(lambda root, a: jnp.where(root > 0, 0.5 / jnp.where(root > 0, root, 1), 0))
def sqrt(a):
    root = jnp.sqrt(a.hi)
    square, error = _two_product(root, root)
    remainder = ((a.hi - square) - error) + a.lo
    positive = root > 0
    low = jnp.where(positive, remainder / jnp.where(positive, 2 * root, 1), 0)
    return TwoFloat(*_fast_two_sum(root, low))


@_differentiable(lambda result, y: 1 - result)
@_in_one_loop
def one_minus_exp(y):
    """``1 - exp(-y)`` for y >= 0, by a table: with y = n * grid + r, D = 1 - exp(-n * grid)
    and E = 1 - exp(-r) = r - r**2/2 + r**3/6 - ..., it is D + E - D * E, all terms small or kept.
    """
    saturated = y.hi > LARGEST
    y_high = jnp.where(saturated, LARGEST, y.hi)
    y_low = jnp.where(saturated, 0.0, y.lo)
    n = jnp.floor(y_high * np.float32(1 / _GRID))
    r, first = _two_sum(y_high, -(n * np.float32(_GRID_HIGH)))
    r, second = _two_sum(r, -(n * np.float32(_GRID_MIDDLE)))
    r, r_low = _fast_two_sum(r, (first + second) + (y_low - n * np.float32(_GRID_LOW)))
    square, square_low = _two_product(r, r)
    series = r * square * (1 / 6 - r * (1 / 24 - r * (1 / 120 - r * (1 / 720))))
    e, e_low = _fast_two_sum(r, -0.5 * square)
    e, e_low = _fast_two_sum(e, e_low + (r_low - 0.5 * square_low - r * r_low + series))
    index = n.astype(jnp.int32)
    d, d_low = jnp.asarray(_COMPLEMENTS_HIGH)[index], jnp.asarray(_COMPLEMENTS_LOW)[index]
    product, product_low = _two_product(d, e)
    total, first = _two_sum(e, -product)
    total, second = _two_sum(d, total)
    low = (first + second) + ((d_low + e_low - product_low) - (d * e_low + d_low * e))
    return TwoFloat(*_fast_two_sum(total, low))


@_differentiable(lambda _, a: 1 / jnp.where(a < 1, 1 - a, 1))
def rate(a):
    """``-log(1 - a)`` for a in [0, 1]: float32, then one step of Newton on `one_minus_exp`."""
    guess = jnp.minimum(-jnp.log1p(-a.hi), 2 * LARGEST)
    # From here on b**t is far below the digits of 1 at t = 1 already; the step would overflow.
    vanishing = guess > 16.0
    error = (a - one_minus_exp(TwoFloat(guess, jnp.zeros_like(guess)))).hi
    step = jnp.where(vanishing, 0, error / jnp.where(vanishing, 1, 1 - a.hi))
    return TwoFloat(*_fast_two_sum(guess, step))


def _by_time(complement, b, t):
    rest = 1 - complement
    return -rest * jnp.log(jnp.where(rest > 0, b, 1))


# By the chain of its parts the derivative at b = 0 would be 0, and near it a wrong one.
@_differentiable(lambda _, b, t: -t * b ** (t - 1), _by_time)
def one_minus_power(b, t):
    """``1 - b**t`` for b in [0, 1) and t >= 0."""
    return one_minus_exp(t * rate(1 - b))
