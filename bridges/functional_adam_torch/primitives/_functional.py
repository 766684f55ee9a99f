"""The primitives of the rules for one torch tensor, out of place: nothing given is written to.

For steps that autograd follows, that a compiler fuses or that a device graph captures. A scalar
argument is a number, which rounds as in `_single`, or a 0-d tensor, for which the operations stand
in the order of the core's own primitives: a compiler contracts the same products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from functional_adam._ops import kept as kept

from . import _single
from ._single import abs as abs
from ._single import neg as neg
from ._single import quotient as quotient
from ._single import sign_ as sign_
from ._single import sqrt as sqrt


def maximum_(a, b):
    """The larger; NaN where either is NaN."""
    return torch.maximum(a, b)


def mul(a, s):
    """``a * s``."""
    return a * s


mul_ = mul


def div_(a, s):
    """``a / s``."""
    return a / s


def add(a, s):
    """``a + s``."""
    return a + s


add_ = add


def floor_(a, s):
    """The larger of a and a scalar s; NaN where a is NaN."""
    return torch.maximum(a, s) if isinstance(s, Tensor) else a.clamp(min=s)


def clip_(a, s):
    """`a` within +-s for a scalar s >= 0; NaN stays NaN."""
    return torch.clamp(a, -s, s)


def add_scaled(a, b, s):
    """``a + s * b``."""
    return s * b + a if isinstance(s, Tensor) else a.add(b, alpha=s)


add_scaled_ = add_scaled


def lerp_(a, b, w):
    """``a + w * (b - a)``, from the nearer end, as torch.lerp."""
    if not isinstance(w, Tensor):
        return a.lerp(b, w)
    near = w < 0.5
    return torch.where(near, w, w - 1) * (b - a) + torch.where(near, a, b)


def addcmul_(a, b, c, s):
    """``a + s * b * c``."""
    return (s * b) * c + a if isinstance(s, Tensor) else a.addcmul(b, c, value=s)


def addcdiv_(a, b, c, s):
    """``a + s * b / c``."""
    return (s * b) / c + a if isinstance(s, Tensor) else a.addcdiv(b, c, value=s)


def root_ratio(v, c, sqrt_c):
    """``sqrt(v / c)``."""
    del sqrt_c
    return v.div(c).sqrt()


def add_rectified_(a, m, denominator, k):
    """RAdam's step; a tensor that says whether it is rectified selects."""
    if not isinstance(k.rectified, Tensor):
        return a.add(_single.rectified(m, denominator, k), alpha=-1.0)
    return torch.where(k.rectified, k.neg_rectified / denominator, k.neg_plain) * m + a
