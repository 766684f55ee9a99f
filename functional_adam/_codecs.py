"""How moments are stored: float32, bfloat16 or 8-bit codes, rounded so that they still forget.

With b2 = 0.999 a second moment moves by 0.1% a step, less than half of what separates two numbers
of bfloat16 or of any 8-bit code: rounded to nearest, it never decays. Rounded up or down at random
with the right odds, the mean of what is decoded is what was to be stored.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from . import _int8, _words
from ._halves import upper_or_next
from ._numerics import like_a_cast
from ._placement import zeros_like


@dataclasses.dataclass(frozen=True)
class Codec:
    """How a moment of one leaf is stored: three pure functions.

    Attributes:
        init: `(like) -> code` of a moment of zeros; `like` has the leaf's shape.
        decode: `(code, shape) -> x`, float32 or wider.
        encode: `(x, old, bits) -> code` with the structure, shapes and dtypes of the code `old`;
            `bits` are uint32 of the shape of x, uniform, new in every step.
    """

    init: Callable[[Any], Any]
    decode: Callable[[Any, tuple[int, ...]], jax.Array]
    encode: Callable[[jax.Array, Any, jax.Array], Any]


def float32_codec() -> Codec:
    """As it is, in float32: for one of a pair."""
    return Codec(
        lambda like: zeros_like(like, jnp.float32),
        lambda code, shape: code,
        lambda x, old, bits: x.astype(jnp.float32),
    )


def bfloat16_codec() -> Codec:
    """The upper half of a float32, stochastically rounded; every leaf.

    Derivatives pass as through casts.
    """
    return Codec(
        lambda like: zeros_like(like, jnp.bfloat16),
        lambda code, shape: _widened(code),
        lambda x, old, bits: _narrowed(x.astype(jnp.float32), bits),
    )


@like_a_cast
def _widened(code):
    return _words.from_bits(_words.of_half(code))


@like_a_cast
def _narrowed(x, bits):
    return as_bfloat16(x, bits)


def as_bfloat16(x: Any, bits: Any, ops: Any = _words) -> Any:
    """Float32 numbers rounded to bfloat16, up or down by words of random bits."""
    return upper_or_next(ops.to_bits(x), ops.shr(bits, 16), ops.BFLOAT16, ops)


def int8_codec(*, signed: bool, min_size: int = _int8.MIN_SIZE, block: int = _int8.BLOCK) -> Codec:
    """8-bit floating point in blocks of at most `block` elements along the last axis.

    An element is ``sign * scale * (y - y0)``, y with three bits after the leading one: 127
    magnitudes over 2**18 beside a sign, 255 over 2**34 without one. The constant y0 is added before
    the rounding, so that the spacing is even near zero and rounding unbiased there too. Without a
    sign, a positive number never becomes zero.

    Leaves under `min_size` elements, or whose last axis has no divisor from 16 to `block`, stay
    float32. A block with an element that is not finite decodes to no finite number. Codes are
    integers, through which no derivatives pass: an update has none by the gradients.

    On a mesh, a last axis that is sharded into pieces that are no multiple of the block needs
    smaller ones: 768 over 8 devices, 96 each, takes `block=96`. Otherwise a step communicates, and
    on mesh axes of the explicit type `init` raises.

    Raises:
        ValueError: `block` is below 16.
    """
    if block < _int8.MIN_BLOCK:
        raise ValueError(f"block must be at least {_int8.MIN_BLOCK}, got {block}")
    return Codec(
        functools.partial(_int8.init, min_size=min_size, most=block),
        functools.partial(_int8.decode, signed=signed),
        functools.partial(_int8.encode, signed=signed),
    )


_NAMED: dict[str, tuple[Codec, Codec] | None] = {
    "float32": None,
    "bfloat16": (bfloat16_codec(), bfloat16_codec()),
    "int8": (int8_codec(signed=True), int8_codec(signed=False)),
}

Moments = Literal["float32", "bfloat16", "int8"] | tuple[Codec, Codec]
"""How moments are stored: a name, or codecs of the first moment and of the others."""


def codecs(moments: Moments) -> tuple[Codec, Codec] | None:
    """Codecs of the first moment and of the others, which are >= 0; None for plain float32."""
    if isinstance(moments, str) and moments in _NAMED:
        return _NAMED[moments]
    if (
        isinstance(moments, tuple)
        and len(moments) == 2
        and all(isinstance(codec, Codec) for codec in moments)
    ):
        return moments
    raise ValueError(
        f"moments must be {', '.join(map(repr, _NAMED))} or a pair of Codec, got {moments!r}"
    )


def decoded_second_moment(code: Any, shape: tuple[int, ...]) -> jax.Array:
    """Float32 second moment of a leaf, of one of the named ways to store it."""
    if isinstance(code, _int8.Int8):
        return _int8.decode(code, shape, signed=False)
    return jnp.asarray(code).astype(jnp.float32)
