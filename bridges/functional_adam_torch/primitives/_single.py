"""The primitives of the rules for one torch tensor, in place where the name ends in "_".

Each is the call that torch's single-tensor optimizers make, so it rounds where they round.
"""

from __future__ import annotations

import torch

from functional_adam._ops import kept as kept


def neg(a):
    """``-a``."""
    return -a


def abs(a):
    """``|a|``."""
    return a.abs()


def sqrt(a):
    """Square root, as torch's kernel rounds it, or a compiler's."""
    return a.sqrt()


def sign_(a):
    """-1, 0 or 1; NaN stays NaN."""
    return torch.where(a.isnan(), a, a.sign())


def maximum_(a, b):
    """The larger; NaN where either is NaN."""
    return torch.maximum(a, b, out=a)


def mul(a, s):
    """``a * s``; `a` stays alive."""
    return a * s


def mul_(a, s):
    """``a * s``."""
    return a.mul_(s)


def div_(a, s):
    """``a / s``."""
    return a.div_(s)


def add(a, s):
    """``a + s``; `a` stays alive."""
    return a.add(s)


def add_(a, s):
    """``a + s``."""
    return a.add_(s)


def floor_(a, s):
    """The larger of a and a scalar s; NaN where a is NaN."""
    return a.clamp_(min=s)


def clip_(a, s):
    """`a` within +-s for a scalar s >= 0; NaN stays NaN."""
    return a.clamp_(-s, s)


def add_scaled(a, b, s):
    """``a + s * b``; `a` stays alive."""
    return a.add(b, alpha=s)


def add_scaled_(a, b, s):
    """``a + s * b``."""
    return a.add_(b, alpha=s)


def quotient(a, b):
    """``a / b`` for tensors; both stay alive."""
    return a / b


def lerp_(a, b, w):
    """``a + w * (b - a)``."""
    if isinstance(w, torch.Tensor) and w.dtype != a.dtype:
        # torch rounds a tensor b1 to the dtype of the moments before it forms 1 - b1.
        w = 1 - (1 - w).to(a.dtype)
    return a.lerp_(b, w)


def addcmul_(a, b, c, s):
    """``a + s * b * c``."""
    return a.addcmul_(b, c, value=s)


def addcdiv_(a, b, c, s):
    """``a + s * b / c``."""
    return a.addcdiv_(b, c, value=s)


def root_ratio(v, c, sqrt_c):
    """``sqrt(v / c)``; `v` stays alive."""
    del sqrt_c
    return v.div(c).sqrt_()


def add_rectified_(a, m, denominator, k):
    """RAdam's step, the factors in the order of torch's single-tensor loop."""
    return a.add_(rectified(m, denominator, k), alpha=-1.0)


def rectified(m, denominator, k):
    """What RAdam subtracts; all operands stay alive."""
    direction = m / k.c1 * k.learning_rate
    return direction * (k.sqrt_c2 / denominator) * k.rect if k.rectified else direction
