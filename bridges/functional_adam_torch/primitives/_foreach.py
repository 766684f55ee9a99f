"""The primitives of the rules for lists of torch tensors, in place where the name ends in "_".

Each is the call that torch's foreach optimizers make. A scalar argument is a number for all
tensors or a list with one for each; what torch divides by is always a list, since on a GPU a
division by one number is rounded otherwise.
"""

from __future__ import annotations

import torch

from functional_adam._ops import kept as kept

from . import _single


def neg(a):
    """``-a``."""
    return torch._foreach_neg(a)


def abs(a):
    """``|a|``."""
    return torch._foreach_abs(a)


def sqrt(a):
    """Square root, as torch's kernel rounds it."""
    return torch._foreach_sqrt(a)


def sign_(a):
    """-1, 0 or 1; NaN stays NaN."""
    return [_single.sign_(x) for x in a]


def maximum_(a, b):
    """The larger; NaN where either is NaN."""
    torch._foreach_maximum_(a, b)
    return a


def mul(a, s):
    """``a * s``; `a` stays alive."""
    return torch._foreach_mul(a, s)


def mul_(a, s):
    """``a * s``."""
    torch._foreach_mul_(a, s)
    return a


def div_(a, s):
    """``a / s``."""
    torch._foreach_div_(a, _each(s, a))
    return a


def add(a, s):
    """``a + s``; `a` stays alive."""
    return torch._foreach_add(a, s)


def add_(a, s):
    """``a + s``."""
    torch._foreach_add_(a, s)
    return a


def floor_(a, s):
    """The larger of a and a scalar s; NaN where a is NaN."""
    torch._foreach_maximum_(a, s)
    return a


def clip_(a, s):
    """`a` within +-s for a scalar s >= 0; NaN stays NaN."""
    low = [-x for x in s] if isinstance(s, list) else -s
    torch._foreach_clamp_min_(a, low)
    torch._foreach_clamp_max_(a, s)
    return a


def add_scaled(a, b, s):
    """``a + s * b``; `a` stays alive."""
    if isinstance(s, list):
        return torch._foreach_add(a, torch._foreach_mul(b, s))
    return torch._foreach_add(a, b, alpha=s)


def add_scaled_(a, b, s):
    """``a + s * b``."""
    if isinstance(s, list):
        torch._foreach_add_(a, torch._foreach_mul(b, s))
    else:
        torch._foreach_add_(a, b, alpha=s)
    return a


def quotient(a, b):
    """``a / b`` for tensors; both stay alive."""
    return torch._foreach_div(a, b)


def lerp_(a, b, w):
    """``a + w * (b - a)``."""
    torch._foreach_lerp_(a, b, w)
    return a


def addcmul_(a, b, c, s):
    """``a + s * b * c``."""
    torch._foreach_addcmul_(a, b, c, s)
    return a


def addcdiv_(a, b, c, s):
    """``a + s * b / c``."""
    torch._foreach_addcdiv_(a, b, c, s)
    return a


def root_ratio(v, c, sqrt_c):
    """``sqrt(v / c)``, as ``sqrt(v) / sqrt(c)``; `v` stays alive."""
    del c
    return div_(sqrt(v), sqrt_c)


def add_rectified_(a, m, denominator, k):
    """RAdam's step, with the factors gathered as in torch's foreach loop."""
    plain = [
        step * (not rectified)
        for rectified, step in zip(*(_each(x, a) for x in (k.rectified, k.neg_plain)), strict=True)
    ]
    torch._foreach_div_(denominator, _each(k.neg_rectified, a))
    torch._foreach_reciprocal_(denominator)
    torch._foreach_add_(denominator, plain)
    torch._foreach_addcmul_(a, m, denominator)
    return a


def _each(scalar, tensors):
    return scalar if isinstance(scalar, list) else [scalar] * len(tensors)
