"""A float32 weight in 16 bits of a half-precision leaf and 16, 8 or no bits beside it.

A weight's *word* is its place among the numbers of a format that has 16 bits more than the leaf's:
sign, and a magnitude that grows with the number. For bfloat16 it is the float32 itself, bit by bit.
For float16 it has 26 bits after the leading one, and below 2**-14 steps of 2**-40. Splitting and
joining a word is integer arithmetic, which no compiler shortens: XLA may take a rounding to half
precision and back for nothing.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from . import _words
from ._bits import INFINITY, MAGNITUDE

HALF = (jnp.bfloat16, jnp.float16)

_SIGN = 0x8000_0000
_UPPER = 0xFFFF_0000
_REBIAS = 112 << 23  # between the exponents of float32 and float16
_SMALLEST = 113 << 23  # of the normal numbers of float16, as float32 bits: 2**-14
_OVERFLOW = 143 << 23  # 2**16, beyond float16
_NORMAL = 1 << 26  # the same 2**-14 as a word
_STEPS = 2.0**40


def is_half(x: Any) -> bool:
    """Whether a leaf is bfloat16 or float16."""
    return jnp.result_type(x) in HALF


def split(x: Any, dtype: Any, extra: int, bits: Any, ops: Any = _words) -> tuple[Any, Any]:
    """Leaf of `dtype` and signed remainder of `extra` bits (16, 8 or 0) of a float32 x.

    The leaf is the nearest number, half away from zero; with `extra` below 16 the sum of leaf and
    remainder is x rounded up or down at random by the words `bits`, and a finite x stays finite.
    """
    word = _word(x, dtype, ops)
    if not extra:
        return upper_or_next(word, bits & 0xFFFF, dtype, ops), None
    if extra < 16:
        word = _dithered(word, bits, dtype, 2 ** (16 - extra) - 1, ops)
    leaf = (word + 0x8000) & ops.constant(_UPPER)
    return ops.upper_half(leaf, dtype), _remainder(word, leaf, extra, ops)


def upper_or_next(word: Any, low: Any, dtype: Any, ops: Any = _words) -> Any:
    """Upper half of a word, or the next one from zero where `low`, of 16 bits, carries that far.

    A finite number stays finite and NaN stays NaN, of any payload: a GPU's has every bit set. The
    halves are chosen from last, as in `_int8.completed`.
    """
    rises = word & MAGNITUDE < _infinity(dtype, ops) - low
    return ops.where(rises, *(ops.upper_half(x, dtype) for x in (word + low, word)))


def remainder(x: Any, leaf: Any, extra: int, ops: Any = _words) -> Any:
    """The remainder that brings this leaf nearest to x."""
    word, leaf = _word(x, leaf.dtype, ops), ops.of_half(leaf)
    sign = ops.constant(_SIGN)
    # Updates that are added land on +0, also where the nearest leaf is -0. No further than the
    # remainders of zero go: where subnormal numbers are flushed, the nearest leaf is not zero.
    other = (leaf & MAGNITUDE) + ((word ^ leaf) & sign) == sign
    below = ops.minimum(word & MAGNITUDE, 0x8000 - (1 << (16 - extra)))
    return _remainder(ops.where(other, leaf - below, word), leaf, extra, ops)


def join(leaf: Any, rest: Any, ops: Any = _words) -> Any:
    """Float32 weight of a leaf and its remainder, or None."""
    word = ops.of_half(leaf)
    if rest is not None:
        magnitude = ops.integer(word & MAGNITUDE)
        magnitude = magnitude + (ops.integer(rest) << (16 - 8 * rest.dtype.itemsize))
        # Below zero only where the leaf is zero: the weight has the other sign.
        sign = word & ops.constant(_SIGN)
        sign = ops.where(magnitude < 0, sign ^ ops.constant(_SIGN), sign)
        word = sign | ops.word(ops.maximum(magnitude, -magnitude))
    return _value(word, leaf.dtype, ops)


def remainder_dtype(extra: int) -> Any:
    """Of the remainder's array; None for no bits."""
    return {16: jnp.int16, 8: jnp.int8, 0: None}[extra]


def _word(x, dtype, ops):
    word, sign = ops.to_bits(x), ops.constant(_SIGN)
    if dtype == ops.BFLOAT16:
        return ops.where(x != x, (word & sign) | 0x7FC0_0000, word)
    magnitude = word & MAGNITUDE
    small = ops.word(ops.nearest(ops.from_bits(ops.minimum(magnitude, _SMALLEST)) * _STEPS))
    place = ops.where(magnitude < _SMALLEST, small, (magnitude - _REBIAS) << 3)
    place = ops.where(magnitude >= _OVERFLOW, _infinity(dtype, ops), place)
    place = ops.where(x != x, 0x7E00_0000, place)
    return (word & sign) | place


def _value(word, dtype, ops):
    if dtype == ops.BFLOAT16:
        return ops.from_bits(word)
    magnitude = word & MAGNITUDE
    small = ops.to_bits(ops.float32(ops.minimum(magnitude, _NORMAL)) / _STEPS)
    value = ops.where(magnitude < _NORMAL, small, ops.shr(magnitude, 3) + _REBIAS)
    # Infinity and NaN, in the range of exponents that float32 has left for them.
    beyond = ops.shr(magnitude & 0x3FF_FFFF, 3) | INFINITY
    value = ops.where(magnitude >= 0x7C00_0000, beyond, value)
    return ops.from_bits((word & ops.constant(_SIGN)) | value)


def _dithered(word, bits, dtype, mask, ops):
    infinity = _infinity(dtype, ops)
    magnitude = word & MAGNITUDE
    # Rounded up, the largest numbers would be nearest to infinity.
    most = infinity - 0x8001
    up = ops.minimum(magnitude + (bits & mask), most) & (MAGNITUDE ^ mask)
    return ops.where(magnitude < infinity, (word & ops.constant(_SIGN)) | up, word)


def _infinity(dtype, ops):
    return INFINITY if dtype == ops.BFLOAT16 else 0x7C00_0000


def _remainder(word, leaf, extra, ops):
    rest = ops.signed(word - leaf) >> (16 - extra)
    limit = 1 << (extra - 1)
    return ops.narrow(ops.clip(rest, -limit, limit - 1), extra)
