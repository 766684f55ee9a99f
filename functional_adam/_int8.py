"""Moments in 8 bits: tiny floating-point numbers in blocks with a common scale.

A float's bits, taken as an integer, count the numbers of its format; so rounding to fewer bits is
an integer addition of random bits and a shift, and decoding a shift back: no table, no roots.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import _words
from ._bits import MAGNITUDE
from ._placement import full_blocks, zeros_like

MIN_SIZE = 4096  # elements; smaller leaves cost little and are often the ones that matter
BLOCK = 128  # elements that share a scale, at most
MIN_BLOCK = 16

_DROPPED = 20  # bits of the 23 after the leading one
_TWO = 128 << 23  # bits of 2.0: scaled magnitudes are below


class Int8(NamedTuple):
    """A moment in 8 bits: tiny floating-point numbers in blocks with a common scale."""

    code: Any  # uint8, like the leaf
    exponent: Any  # int8 (..., blocks): of the power of two that is the scale of a block

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the leaf."""
        return tuple(jnp.shape(self.code))


def _grid(top: int) -> tuple[int, int, float]:
    """Largest code; bits and value of the constant that code 0 stands for."""
    zero = _TWO - (top << _DROPPED)
    return top, zero, struct.unpack("f", struct.pack("I", zero))[0]


_GRIDS = {True: _grid(127), False: _grid(255)}  # beside a sign, or without one


def block_of(shape: tuple[int, ...], min_size: int = MIN_SIZE, most: int = BLOCK) -> int | None:
    """Elements of a block of a leaf of this shape; None where it stays float32."""
    if not shape or math.prod(shape) < min_size:
        return None
    sizes = range(min(most, shape[-1]), MIN_BLOCK - 1, -1)
    return next((size for size in sizes if shape[-1] % size == 0), None)


def init(like: Any, min_size: int, most: int = BLOCK) -> Any:
    """Code of zeros; a float32 array where the leaf is small or cannot be cut into blocks."""
    shape = jnp.shape(like)
    block = block_of(shape, min_size, most)
    if block is None:
        return zeros_like(like, jnp.float32)
    blocks = (*shape[:-1], shape[-1] // block)
    return Int8(zeros_like(like, jnp.uint8), full_blocks(like, blocks, ZERO_EXPONENT, jnp.int8))


ZERO_EXPONENT = -127  # of blocks of zeros


def decode(code: Any, shape: tuple[int, ...], signed: bool) -> jax.Array:
    """Float32 array of the leaf's shape."""
    if not isinstance(code, Int8):
        return code
    blocked = code.code.reshape(*code.exponent.shape, -1)
    return decoded(blocked, code.exponent, signed).reshape(shape)


def encode(x: jax.Array, old: Any, bits: jax.Array, signed: bool) -> Any:
    """Code whose decoded mean over the random bits is x."""
    if not isinstance(old, Int8):
        return x.astype(old.dtype)
    blocked = (*old.exponent.shape, x.shape[-1] // old.exponent.shape[-1])
    x = x.astype(jnp.float32)
    magnitudes, exponent = encoded(x.reshape(blocked), bits.reshape(blocked), signed)
    return Int8(completed(magnitudes.reshape(x.shape), x, signed), exponent)


def decoded(code: Any, exponent: Any, signed: bool, ops: Any = _words) -> Any:
    """Float32 numbers (..., block) of codes (..., block) and exponents (...)."""
    top, zero, offset = _GRIDS[signed]
    word = ops.word(code)
    y = ops.from_bits(((word & top) << _DROPPED) + zero) - offset
    if signed:
        y = ops.from_bits(ops.to_bits(y) | (ops.shr(word, 7) << 31))
    scale = ops.from_bits(ops.word(ops.integer(exponent) + 128) << 23)
    return y * scale[..., None]


def encoded(x: Any, bits: Any, signed: bool, ops: Any = _words) -> tuple[Any, Any]:
    """Magnitudes (..., block) and exponents (...) of float32 numbers, rounded by random bits."""
    top, zero, offset = _GRIDS[signed]
    word = ops.to_bits(x)
    magnitude = word & MAGNITUDE
    exponent = ops.shr(ops.largest(magnitude), 23)
    # Above 253 the reciprocal is no normal number; 255 makes an infinite scale. Without a sign the
    # smallest code must be a normal number, for code 1 is what keeps a divisor from zero.
    exponent = ops.where(exponent == 255, exponent, ops.clip(exponent, 1 if signed else 35, 253))
    y = ops.from_bits(magnitude) * ops.from_bits((254 - exponent) << 23)[..., None] + offset
    code = ops.minimum(ops.shr(ops.to_bits(y) - zero + ops.shr(bits, 12), _DROPPED), top)
    return ops.uint8(code), ops.narrow(ops.integer(exponent) - 128, 8)


def completed(magnitudes: Any, x: Any, signed: bool, ops: Any = _words) -> Any:
    """Codes of numbers x with these magnitudes, in the leaf's shape.

    The last operation has two operands, narrow ones: what is made of one array XLA computes anew
    in every loop that reads it, what is made of several it stores.
    """
    word = ops.to_bits(x)
    if signed:
        return magnitudes | ops.uint8(ops.shr(word, 31) << 7)
    return ops.maximum(magnitudes, ops.uint8(word & MAGNITUDE > 0))
