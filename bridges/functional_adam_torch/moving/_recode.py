"""8-bit moments of a run that is being moved: kept as they are wherever blocks stay blocks."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from functional_adam._bits import leaf_id, random_bits
from functional_adam._int8 import MIN_SIZE, Int8, block_of, decode, encode, init
from functional_adam._leaf import is_signed

from ._layouts import permute


def permute_moment(x: Any, axes: tuple[int, ...] | None, field: str) -> Any:
    """A moment with its axes in another order; float32 where the last axis, which has the blocks,
    becomes another.
    """
    if not isinstance(x, Int8):
        return permute(x, axes)
    if axes is None or axes[-1] == len(axes) - 1:
        return Int8(permute(x.code, axes), permute(x.exponent, axes))
    return permute(as_float32(x, field), axes)


def as_float32(x: Any, field: str) -> np.ndarray:
    """A moment as an array, decoded if it is a code."""
    return np.asarray(decode(x, x.shape, is_signed(field)) if isinstance(x, Int8) else x)


def as_int8(x: Any, field: str, count: Any, name: str) -> Any:
    """A moment as it is kept with ``moments="int8"``: an 8-bit code, or float32.

    Args:
        x: array or code.
        field: of the state.
        count, name: of the leaf, for the random bits.
    """
    if isinstance(x, Int8) == (block_of(x.shape) is not None):
        return x if isinstance(x, Int8) else np.asarray(x, np.float32)
    if isinstance(x, Int8):
        return as_float32(x, field)
    bits = random_bits(0, count, leaf_id((), f"moved {field} of {name}"), x.shape)
    empty = zeros(x.shape)
    return Int8(
        *map(np.asarray, encode(jnp.asarray(x, jnp.float32), empty, bits, is_signed(field)))
    )


def zeros(shape: tuple[int, ...]) -> Any:
    """A moment of zeros as it is kept with ``moments="int8"``."""
    code = init(np.zeros(shape, np.float32), MIN_SIZE)
    return Int8(*map(np.asarray, code)) if isinstance(code, Int8) else np.asarray(code)
