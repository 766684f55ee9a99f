"""The primitives of the rules, for JAX arrays: each rounds once or twice, where torch rounds.

Order matters: a compiler contracts ``a * b + c`` into one fused multiply-add, as torch's kernels
do, when the product stands first and has no other use. Where torch rounds a product or divides by
a scalar, `mul_` and `div_` keep XLA from contracting the product or from multiplying by a
reciprocal: a selection on ``x != x`` gives back the same value for every input, infinities and
NaN included, and no simplifier looks through it.

A trailing underscore says that the first operand is dead afterwards; other namespaces (torch)
reuse its storage. A scalar argument is a 0-d array of the operands' dtype.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def spread(s, a):
    """A scalar s in every place of a; on a mesh with explicit axes, sharded as a."""
    return lax.full_like(a, s, dtype=s.dtype)


def neg(a):
    """``-a``."""
    return -a


def abs(a):
    """``|a|``."""
    return lax.abs(a)


@jax.custom_jvp
def sqrt(a):
    """Square root, correctly rounded; its derivative at zero is zero, not infinite."""
    return lax.sqrt(a)


@sqrt.defjvp
def _sqrt_jvp(primals, tangents):
    root = sqrt(primals[0])
    positive = root > 0
    slope = jnp.where(positive, 0.5 / jnp.where(positive, root, 1), 0)
    return root, slope * tangents[0]


def maximum_(a, b):
    """The larger; NaN where either is NaN."""
    return lax.max(a, b)


def mul(a, s):
    """``a * s`` for a scalar s, rounded; `a` stays alive."""
    return lax.select(a != a, a, a * s)


mul_ = mul


def div_(a, s):
    """``a / s`` for a scalar s, a true division."""
    one, divisor = lax.full_like(a, 1), spread(s, a)
    return a / lax.select(a != a, one, divisor)


def add(a, s):
    """``a + s`` for a scalar s; `a` stays alive."""
    return a + s


add_ = add


def floor_(a, s):
    """The larger of a and a scalar s; NaN where a is NaN."""
    return lax.max(a, spread(s, a))


def add_scaled(a, b, s):
    """``a + s * b``, rounded once."""
    return s * b + a


def lerp_(a, b, w):
    """``a + w * (b - a)``, from the nearer end, as torch.lerp."""
    near = w < 0.5
    if isinstance(w, np.floating):
        return w * (b - a) + a if near else (w - 1) * (b - a) + b
    weight = lax.select(near, w, w - 1)
    start = lax.select(spread(near, a), a, b)
    return weight * (b - a) + start


def addcmul_(a, b, c, s):
    """``a + s * b * c``; for complex b and c the real part of ``b * conj(c)``, as of moduli."""
    if jnp.iscomplexobj(b):
        return s * (b * jnp.conj(c)).real + a
    return (s * b) * c + a


def addcdiv_(a, b, c, s):
    """``a + s * b / c``."""
    return (s * b) / c + a


def kept(*moments):
    """New moments, as the step is to see them: rounded where they are stored in few bits."""
    return moments


class Keeping:
    """A namespace of primitives whose `kept` is another function."""

    def __init__(self, ops, kept):
        self._ops = ops
        self.kept = kept

    def __getattr__(self, name):
        return getattr(self._ops, name)


def root_ratio(v, c, sqrt_c):
    """``sqrt(v / c)``, as ``sqrt(v) / sqrt(c)``; `v` stays alive."""
    del c
    return div_(sqrt(v), sqrt_c)


def add_rectified_(a, m, denominator, k):
    """RAdam's step, ``a + m * (k.neg_rectified / denominator)``, or ``a + m * k.neg_plain``."""
    rectified = spread(k.rectified, a)
    plain = spread(k.neg_plain, a)
    return lax.select(rectified, k.neg_rectified / denominator, plain) * m + a
