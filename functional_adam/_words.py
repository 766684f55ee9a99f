"""The primitives of rounding, for JAX arrays: 32-bit words, and numbers that are their bits.

What `_ops` is to the rules, this is to the formulas that keep moments and weights in few bits:
they are written once, and other namespaces (torch) round by the same text. ``+ - * & | ^ <<``
between words wrap around everywhere; what depends on the sign of a word, which torch's have, is a
function here. Constants below 2**31 are Python integers, others pass through `constant`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BFLOAT16 = jnp.bfloat16


def constant(n: int) -> Any:
    """A word of 2**31 or more."""
    return np.uint32(n)


def word(x: Any) -> jax.Array:
    """Integers, or the whole part of numbers >= 0, as words."""
    return jnp.asarray(x).astype(jnp.uint32)


def integer(x: jax.Array) -> jax.Array:
    """Words below 2**31, or narrow integers, as int32."""
    return x.astype(jnp.int32)


def shr(x: jax.Array, places: int) -> jax.Array:
    """Shift right; zeros come in."""
    return x >> np.uint32(places)


def signed(x: jax.Array) -> jax.Array:
    """The int32 of the same bits, whose ``>>`` repeats the sign."""
    return lax.bitcast_convert_type(x, jnp.int32)


def to_bits(x: jax.Array) -> jax.Array:
    """Bits of a float32 array."""
    return lax.bitcast_convert_type(x, jnp.uint32)


def from_bits(bits: jax.Array) -> jax.Array:
    """Float32 array of these bits."""
    return lax.bitcast_convert_type(bits, jnp.float32)


def upper_half(x: jax.Array, dtype: Any) -> jax.Array:
    """Half-precision array of the upper 16 bits."""
    return lax.bitcast_convert_type((x >> 16).astype(jnp.uint16), dtype)


def of_half(x: jax.Array) -> jax.Array:
    """Words whose upper 16 bits are those of a half-precision array."""
    return lax.bitcast_convert_type(x, jnp.uint16).astype(jnp.uint32) << 16


def float32(x: jax.Array) -> jax.Array:
    """As float32 numbers."""
    return x.astype(jnp.float32)


def uint8(x: jax.Array) -> jax.Array:
    """Words below 256 in a byte."""
    return x.astype(jnp.uint8)


def narrow(x: jax.Array, bits: int) -> jax.Array:
    """Integers in 16 or 8 bits, which they fit in."""
    return x.astype({16: jnp.int16, 8: jnp.int8}[bits])


def where(condition: Any, a: Any, b: Any) -> jax.Array:
    """`a` where the condition holds, else `b`."""
    return jnp.where(condition, a, b)


def minimum(a: Any, b: Any) -> jax.Array:
    """The smaller; words below 2**31."""
    return jnp.minimum(a, b)


def maximum(a: Any, b: Any) -> jax.Array:
    """The larger; words below 2**31."""
    return jnp.maximum(a, b)


def clip(x: Any, low: Any, high: Any) -> jax.Array:
    """`x` within bounds; NaN stays NaN."""
    return jnp.clip(x, low, high)


def nearest(x: jax.Array) -> jax.Array:
    """Rounded to a whole number, half to even."""
    return jnp.round(x)


def largest(x: jax.Array) -> jax.Array:
    """Largest element of the last axis; words below 2**31.

    Halves are compared until few are left: XLA on CPU fuses and vectorises that, while a reduction
    of a long last axis runs element by element (a step takes half the time).
    """
    while x.shape[-1] > 16 and x.shape[-1] % 2 == 0:
        half = x.shape[-1] // 2
        x = jnp.maximum(x[..., :half], x[..., half:])
    return jnp.max(x, axis=-1)
