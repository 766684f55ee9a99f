"""A float32 weight in 16 bits of a half-precision leaf and 16, 8 or no bits beside it.

A weight's *word* is its place among the numbers of a format that has 16 bits more than the leaf's:
sign, and a magnitude that grows with the number. For bfloat16 it is the float32 itself, bit by bit.
For float16 it has 26 bits after the leading one, and below 2**-14 steps of 2**-40. Splitting and
joining a word is integer arithmetic, which no compiler shortens: XLA may take a rounding to half
precision and back for nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._bits import INFINITY, MAGNITUDE, from_bits, to_bits

HALF = (jnp.bfloat16, jnp.float16)

_SIGN = np.uint32(0x8000_0000)
_REBIAS = np.uint32(112 << 23)  # between the exponents of float32 and float16
_SMALLEST = np.uint32(113 << 23)  # of the normal numbers of float16, as float32 bits: 2**-14
_OVERFLOW = np.uint32(143 << 23)  # 2**16, beyond float16
_NORMAL = np.uint32(1 << 26)  # the same 2**-14 as a word
_STEPS = np.float32(2.0**40)


def is_half(x: Any) -> bool:
    """Whether a leaf is bfloat16 or float16."""
    return jnp.result_type(x) in HALF


def split(
    x: jax.Array, dtype: Any, extra: int, bits: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """Leaf of `dtype` and signed remainder of `extra` bits (16, 8 or 0) of a float32 x.

    The leaf is the nearest number, half away from zero; with `extra` below 16 the sum of leaf and
    remainder is x rounded up or down at random by `bits`, and a finite x stays finite.
    """
    word = _word(x, dtype)
    if extra < 16:
        word = _dithered(word, bits, dtype, np.uint32(2 ** (16 - extra) - 1))
    if not extra:
        return _leaf(word >> 16, dtype), None
    leaf = (word + np.uint32(0x8000)) >> 16
    return _leaf(leaf, dtype), _remainder(word, leaf, extra)


def remainder(x: jax.Array, leaf: jax.Array, extra: int) -> jax.Array:
    """The remainder that brings this leaf nearest to x."""
    return _remainder(_word(x, leaf.dtype), _leaf_bits(leaf), extra)


def join(leaf: jax.Array, rest: jax.Array | None) -> jax.Array:
    """Float32 weight of a leaf and its remainder."""
    word = _leaf_bits(leaf) << 16
    if rest is not None:
        magnitude = (word & MAGNITUDE).astype(jnp.int32)
        magnitude += rest.astype(jnp.int32) << (16 - 8 * rest.dtype.itemsize)
        # Below zero only where the leaf was set to zero from outside.
        word = (word & _SIGN) | jnp.maximum(magnitude, 0).astype(jnp.uint32)
    return _value(word, leaf.dtype)


def remainder_dtype(extra: int) -> Any:
    """Of the remainder's array; None for no bits."""
    return {16: jnp.int16, 8: jnp.int8, 0: None}[extra]


def _word(x, dtype):
    word = to_bits(x)
    if dtype == jnp.bfloat16:
        return jnp.where(x != x, (word & _SIGN) | np.uint32(0x7FC0_0000), word)
    magnitude = word & MAGNITUDE
    small = jnp.round(from_bits(jnp.minimum(magnitude, _SMALLEST)) * _STEPS).astype(jnp.uint32)
    place = jnp.where(magnitude < _SMALLEST, small, (magnitude - _REBIAS) << 3)
    place = jnp.where(magnitude >= _OVERFLOW, _infinity(dtype), place)
    place = jnp.where(x != x, np.uint32(0x7E00_0000), place)
    return (word & _SIGN) | place


def _value(word, dtype):
    if dtype == jnp.bfloat16:
        return from_bits(word)
    magnitude = word & MAGNITUDE
    small = to_bits(jnp.minimum(magnitude, _NORMAL).astype(jnp.float32) / _STEPS)
    value = jnp.where(magnitude < _NORMAL, small, (magnitude >> 3) + _REBIAS)
    # Infinity and NaN, in the range of exponents that float32 has left for them.
    beyond = magnitude >= np.uint32(0x7C00_0000)
    value = jnp.where(beyond, ((magnitude & np.uint32(0x3FF_FFFF)) >> 3) | INFINITY, value)
    return from_bits((word & _SIGN) | value)


def _dithered(word, bits, dtype, mask):
    up = (word + (bits & mask)) & ~mask
    finite = word & MAGNITUDE < _infinity(dtype)
    # Rounding up would make infinity of the largest numbers, and something else of infinity.
    stays = finite & (up & MAGNITUDE < _largest(dtype) + np.uint32(0x8000))
    return jnp.where(stays, up, jnp.where(finite, (word & _SIGN) | _largest(dtype), word))


def _infinity(dtype):
    return INFINITY if dtype == jnp.bfloat16 else np.uint32(0x7C00_0000)


def _largest(dtype):
    return _infinity(dtype) - np.uint32(0x1_0000)


def _remainder(word, leaf, extra):
    rest = lax.bitcast_convert_type(word - (leaf << 16), jnp.int32) >> (16 - extra)
    limit = 1 << (extra - 1)
    return jnp.clip(rest, -limit, limit - 1).astype(remainder_dtype(extra))


def _leaf(bits, dtype):
    return lax.bitcast_convert_type(bits.astype(jnp.uint16), dtype)


def _leaf_bits(leaf):
    return lax.bitcast_convert_type(leaf, jnp.uint16).astype(jnp.uint32)
