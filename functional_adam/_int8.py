"""Moments in 8 bits: tiny floating-point numbers in blocks with a common scale.

A float's bits, taken as an integer, count the numbers of its format; so rounding to fewer bits is
an integer addition of random bits and a shift, and decoding a shift back: no table, no roots.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._bits import MAGNITUDE, from_bits, to_bits
from ._placement import full_blocks, zeros_like

MIN_SIZE = 4096  # elements; smaller leaves cost little and are often the ones that matter
BLOCK = 128  # elements that share a scale, at most
MIN_BLOCK = 16

_DROPPED = np.uint32(20)  # bits of the 23 after the leading one
_TWO = 128 << 23  # bits of 2.0: scaled magnitudes are below


class Int8(NamedTuple):
    """A moment in 8 bits: tiny floating-point numbers in blocks with a common scale."""

    code: Any  # uint8, like the leaf
    exponent: Any  # int8 (..., blocks): of the power of two that is the scale of a block


def _grid(signed: bool) -> tuple[np.uint32, np.uint32, np.float32]:
    """Largest code; bits and value of the constant that code 0 stands for."""
    top = 127 if signed else 255
    zero = np.uint32(_TWO - (top << int(_DROPPED)))
    return np.uint32(top), zero, zero.view(np.float32)


def _block(shape: tuple[int, ...], min_size: int, most: int) -> int | None:
    """Elements of a block of a leaf of this shape; None where it stays float32."""
    if not shape or math.prod(shape) < min_size:
        return None
    sizes = range(min(most, shape[-1]), MIN_BLOCK - 1, -1)
    return next((size for size in sizes if shape[-1] % size == 0), None)


def init(like: Any, min_size: int, most: int) -> Any:
    """Code of zeros; a float32 array where the leaf is small or cannot be cut into blocks."""
    shape = jnp.shape(like)
    block = _block(shape, min_size, most)
    if block is None:
        return zeros_like(like, jnp.float32)
    blocks = (*shape[:-1], shape[-1] // block)
    return Int8(zeros_like(like, jnp.uint8), full_blocks(like, blocks, -127, jnp.int8))


def decode(code: Any, shape: tuple[int, ...], signed: bool) -> jax.Array:
    """Float32 array of the leaf's shape."""
    if not isinstance(code, Int8):
        return code
    top, zero, offset = _grid(signed)
    word = code.code.reshape(*code.exponent.shape, -1).astype(jnp.uint32)
    y = from_bits(((word & top) << _DROPPED) + zero) - offset
    if signed:
        y = from_bits(to_bits(y) | ((word >> 7) << 31))
    scale = from_bits((code.exponent.astype(jnp.int32) + 128).astype(jnp.uint32) << 23)
    return (y * scale[..., None]).reshape(shape)


def encode(x: jax.Array, old: Any, bits: jax.Array, signed: bool) -> Any:
    """Code whose decoded mean over the random bits is x."""
    if not isinstance(old, Int8):
        return x.astype(old.dtype)
    top, zero, offset = _grid(signed)
    blocked = (*old.exponent.shape, x.shape[-1] // old.exponent.shape[-1])
    word, bits = to_bits(x.astype(jnp.float32)).reshape(blocked), bits.reshape(blocked)
    magnitude = word & MAGNITUDE
    exponent = _largest(magnitude) >> 23
    # Above 253 the reciprocal is no normal number; 255 makes an infinite scale. Without a sign the
    # smallest code must be a normal number, for code 1 is what keeps a divisor from zero.
    exponent = jnp.where(exponent == 255, exponent, jnp.clip(exponent, 1 if signed else 35, 253))
    y = from_bits(magnitude) * from_bits((np.uint32(254) - exponent) << 23)[..., None] + offset
    code = jnp.minimum((to_bits(y) - zero + (bits >> np.uint32(12))) >> _DROPPED, top)
    if signed:
        code |= (word >> 31) << 7
    else:
        code = jnp.maximum(code, (magnitude > 0).astype(jnp.uint32))
    return Int8(
        code.astype(jnp.uint8).reshape(x.shape), (exponent.astype(jnp.int32) - 128).astype(jnp.int8)
    )


def _largest(x: jax.Array) -> jax.Array:
    """Largest element of the last axis.

    Halves are compared until few are left: XLA on CPU fuses and vectorises that, while a reduction
    of a long last axis runs element by element (a step takes half the time).
    """
    while x.shape[-1] > MIN_BLOCK and x.shape[-1] % 2 == 0:
        half = x.shape[-1] // 2
        x = jnp.maximum(x[..., :half], x[..., half:])
    return jnp.max(x, axis=-1)
