"""Which coordinates are looked at: a grid of every so many along each axis."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

LEAST, MOST, PART = 512, 4096, 32
"""Coordinates of a leaf without `every`: a 32nd, but not below or above these."""


def strides(shape: tuple[int, ...], every: int | None) -> tuple[int, ...]:
    """A stride for each axis, 1 in all of them for every=1; odd ones where none is asked for.

    An odd stride does not fall into step with heads and blocks, whose sizes are powers of two.
    """
    size = math.prod(shape)
    wanted = max(LEAST, min(MOST, size // PART)) if every is None else math.ceil(size / every)
    if size <= wanted or not shape:
        return (1,) * len(shape)
    left, found = size / wanted, []
    for axis, length in enumerate(shape):
        own = max(1, min(length, round(left ** (1 / (len(shape) - axis)))))
        own = own - 1 + own % 2 if every is None else own
        found.append(own)
        left = max(1.0, left / own)
    return tuple(found)


def take(x: Any, own: tuple[int, ...]) -> Any:
    """Those coordinates of an array or tensor."""
    return x if all(s == 1 for s in own) else x[tuple(slice(None, None, s) for s in own)]


def as_real(x: Any, *, twice: bool = False) -> Any:
    """Flat, real: a complex array's real parts, then its imaginary ones; `twice` the real ones."""
    if not jnp.iscomplexobj(x):
        return x.reshape(-1)
    real = jnp.real(x).reshape(-1)
    return jnp.concatenate([real, real if twice else jnp.imag(x).reshape(-1)])
