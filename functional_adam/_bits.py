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

MAGNITUDE = np.uint32(0x7FFF_FFFF)
INFINITY = np.uint32(0x7F80_0000)

_GOLDEN = np.uint32(0x9E3779B9)
_FIRST, _SECOND = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


def leaf_id(path: Any, purpose: str = "") -> np.uint32:
    """Number of a leaf, from its path: the same under masks, partitions and added leaves."""
    return np.uint32(zlib.crc32((purpose + jax.tree_util.keystr(path)).encode()))


def random_bits(seed: Any, step: Any, leaf: Any, shape: tuple[int, ...]) -> jax.Array:
    """uint32 of the given shape, uniform and independent between elements, leaves and steps.

    Args:
        seed, step, leaf: integer scalars, traced or not.
        shape: of the array whose elements are to be rounded.
    """
    key = _mix(_word(seed) ^ _mix(_word(leaf) ^ _mix(_word(step) + _GOLDEN)))
    x = _index(shape) ^ key
    x = (x ^ (x >> 16)) * _FIRST
    # Without a second word of the key, two leaves could only differ by a permutation of bits.
    x = ((x ^ (x >> 15)) + _mix(key + _GOLDEN)) * _SECOND
    return x ^ (x >> 16)


def rotated(bits: jax.Array, places: int) -> jax.Array:
    """Rotate left, so that the leading bits of several roundings are different bits of one hash."""
    places %= 32
    if places == 0:
        return bits
    return (bits << np.uint32(places)) | (bits >> np.uint32(32 - places))


def to_bits(x: jax.Array) -> jax.Array:
    """Bits of a float32 array, as uint32."""
    return lax.bitcast_convert_type(x, jnp.uint32)


def from_bits(bits: jax.Array) -> jax.Array:
    """Float32 array of these uint32 bits."""
    return lax.bitcast_convert_type(bits, jnp.float32)


def _word(x: Any) -> jax.Array:
    return jnp.asarray(x).astype(jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * _FIRST
    x = (x ^ (x >> 15)) * _SECOND
    return x ^ (x >> 16)


def _index(shape: tuple[int, ...]) -> jax.Array:
    index, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index += lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return index
