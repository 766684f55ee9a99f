"""The core's primitives of rounding, for torch tensors: 32-bit words, kept as int32.

torch has little arithmetic for unsigned integers. Sums, products and left shifts of int32 wrap
around to the same bits; a shift to the right is freed of the sign that it repeats. Functional: an
eager step and a compiled one round by the same text.
"""

from __future__ import annotations

import torch
from torch import Tensor

BFLOAT16 = torch.bfloat16


def constant(n):
    """A word of 2**31 or more, as the negative number of the same bits."""
    return n - (1 << 32) if n >= 1 << 31 else n


def word(x):
    """Integers, or the whole part of numbers >= 0, as words."""
    return x.to(torch.int32)


def integer(x):
    """Words below 2**31, or narrow integers, as int32."""
    return x.to(torch.int32)


def shr(x, places):
    """Shift right; zeros come in."""
    return (x >> places) & (0xFFFF_FFFF >> places)


def signed(x):
    """The int32 of the same bits."""
    return x


def to_bits(x):
    """Bits of a float32 tensor."""
    return x.view(torch.int32)


def from_bits(bits):
    """Float32 tensor of these bits."""
    return bits.view(torch.float32)


def upper_half(x, dtype):
    """Half-precision tensor of the upper 16 bits."""
    return (x >> 16).to(torch.int16).view(dtype)


def of_half(x):
    """Words whose upper 16 bits are those of a half-precision tensor."""
    return x.view(torch.int16).to(torch.int32) << 16


def float32(x):
    """As float32 numbers."""
    return x.to(torch.float32)


def uint8(x):
    """Words below 256 in a byte."""
    return x.to(torch.uint8)


def narrow(x, bits):
    """Integers in 16 or 8 bits, which they fit in."""
    return x.to({16: torch.int16, 8: torch.int8}[bits])


def where(condition, a, b):
    """`a` where the condition holds, else `b`."""
    return torch.where(condition, a, b)


def minimum(a, b):
    """The smaller of words below 2**31; `b` a number or words."""
    return torch.minimum(a, b) if isinstance(b, Tensor) else a.clamp(max=b)


def maximum(a, b):
    """The larger of words below 2**31; `b` a number or words."""
    return torch.maximum(a, b) if isinstance(b, Tensor) else a.clamp(min=b)


def clip(x, low, high):
    """`x` within bounds that are numbers."""
    return x.clamp(low, high)


def nearest(x):
    """Rounded to a whole number, half to even."""
    return x.round()


def largest(x):
    """Largest element of the last axis; words below 2**31."""
    return x.amax(-1)
