"""Random bits that belong to an element, not to a device: a hash of (seed, step, leaf, index).

The same bits whatever the sharding, since the row-major index is a sum of iotas that partition
without a reshape; the same after a restore, since nothing but the step count is kept; and no key
to thread through. A generator with a state costs 6 to 13 times as much on a CPU.

Reference: the two rounds are Wellons' `lowbias32`, https://nullprogram.com/blog/2018/07/31.
"""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import _words

MAGNITUDE = 0x7FFF_FFFF
INFINITY = 0x7F80_0000

_GOLDEN = 0x9E3779B9
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B


def leaf_id(path: Any, purpose: str = "") -> np.uint32:
    """Number of a leaf, from its path: the same under masks, partitions and added leaves."""
    return np.uint32(zlib.crc32((purpose + jax.tree_util.keystr(path)).encode()))


def random_bits(seed: Any, step: Any, leaf: Any, shape: tuple[int, ...]) -> jax.Array:
    """uint32 of the given shape, uniform and independent between elements, leaves and steps.

    Args:
        seed, step, leaf: integer scalars, traced or not.
        shape: of the array whose elements are to be rounded.
    """
    return hashed(_index(shape), *keys(seed, step, leaf))


def keys(seed: Any, step: Any, leaf: Any, ops: Any = _words) -> tuple[Any, Any]:
    """Two words that the elements of a leaf share in a step."""
    key = _mix(ops.word(leaf) ^ _mix(ops.word(step) + ops.constant(_GOLDEN), ops), ops)
    key = _mix(ops.word(seed) ^ key, ops)
    return key, _mix(key + ops.constant(_GOLDEN), ops)


def hashed(index: Any, key: Any, second: Any, ops: Any = _words) -> Any:
    """Random bits of the elements with these row-major indices, words."""
    x = index ^ key
    x = (x ^ ops.shr(x, 16)) * _FIRST
    # Without a second word of the key, two leaves could only differ by a permutation of bits.
    x = ((x ^ ops.shr(x, 15)) + second) * ops.constant(_SECOND)
    return x ^ ops.shr(x, 16)


def of_moment(bits: Any, i: int, ops: Any = _words) -> Any:
    """Bits for the i-th moment: eleven places apart, no two share their leading bits."""
    return rotated(bits, 11 * i, ops)


def rotated(bits: Any, places: int, ops: Any = _words) -> Any:
    """Rotate left, so that the leading bits of several roundings are different bits of one hash."""
    places %= 32
    if places == 0:
        return bits
    return (bits << places) | ops.shr(bits, 32 - places)


def _mix(x: Any, ops: Any) -> Any:
    x = (x ^ ops.shr(x, 16)) * _FIRST
    x = (x ^ ops.shr(x, 15)) * ops.constant(_SECOND)
    return x ^ ops.shr(x, 16)


def _index(shape: tuple[int, ...]) -> jax.Array:
    index, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index += lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return index
