"""The few curves that schedules are made of, each without a difference of nearly equal numbers."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import real


def ratio(part: Any, whole: Any) -> jax.Array:
    """``part / whole``: both are integers until here, so no digit is lost before the division."""
    return real(part) / real(whole)


def linear(start: Any, end: Any, remaining: jax.Array, elapsed: jax.Array) -> jax.Array:
    """From `start` to `end` along a line; ``remaining + elapsed = 1``, each from its own integer.

    ``start + (end - start) * elapsed`` would lose the digits of an `end` much below `start`.
    """
    return start * remaining + end * elapsed


def cosine(start: Any, end: Any, remaining: jax.Array, elapsed: jax.Array) -> jax.Array:
    """From `start` to `end` along half a cosine: ``(1 + cos(pi * elapsed)) / 2`` of the way back.

    That weight is ``sin(pi/2 * remaining)**2``, which keeps its digits where the cosine nears -1.
    """
    return start * _half_cosine(remaining) + end * _half_cosine(elapsed)


def power(base: Any, exponent: jax.Array) -> jax.Array:
    """``base**exponent`` for a whole exponent, with the digits of a Python `base` in float32.

    Rounding 0.999 to float32 alone would move its 10,000th power by 1.3e-4 of itself.
    """
    exponent = real(exponent)
    if not isinstance(base, float):
        return jnp.power(real(base), exponent)
    rounded = float(np.asarray(base, exponent.dtype))
    rest = math.log1p((base - rounded) / rounded) if rounded else 0.0
    return jnp.power(real(rounded), exponent) * jnp.exp(rest * exponent)


def since(origin: Any, count: jax.Array) -> jax.Array:
    """``count - origin`` for an origin that need not be whole, subtracted as integers if known."""
    if isinstance(origin, float):
        whole = math.floor(origin)
        return real(count - whole) - (origin - whole)
    return real(count - origin)


def reached(milestones: list[Any], count: jax.Array) -> jax.Array:
    """How many milestones, in any order, are at or before `count`."""
    zero = jnp.zeros_like(count, dtype=int)
    return sum(((count >= milestone).astype(int) for milestone in milestones), zero)


def at_least_one(value: Any) -> Any:
    """``max(value, 1)``, a divisor for spans that may be empty."""
    return max(value, 1) if isinstance(value, int) else jnp.maximum(value, 1)


def _half_cosine(fraction: jax.Array) -> jax.Array:
    return jnp.square(jnp.sin(math.pi / 2 * fraction))
