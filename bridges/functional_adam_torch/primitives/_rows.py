"""The primitives of the rules for a matrix whose rows have scalars of their own, in place.

A scalar argument is a column (rows, 1), or a number where all rows agree.
"""

from __future__ import annotations

import torch

from ._functional import add_rectified_ as add_rectified_
from ._functional import kept as kept
from ._functional import root_ratio as root_ratio
from ._single import abs as abs
from ._single import add as add
from ._single import add_ as add_
from ._single import div_ as div_
from ._single import floor_ as floor_
from ._single import lerp_ as lerp_
from ._single import maximum_ as maximum_
from ._single import mul as mul
from ._single import mul_ as mul_
from ._single import neg as neg
from ._single import quotient as quotient
from ._single import sign_ as sign_
from ._single import sqrt as sqrt


def add_scaled(a, b, s):
    """``a + s * b``; `a` stays alive."""
    return a + s * b


def add_scaled_(a, b, s):
    """``a + s * b``."""
    return a.add_(s * b)


def clip_(a, s):
    """`a` within +-s for a scalar s >= 0; NaN stays NaN."""
    return torch.clamp_(a, -s, s)


def addcmul_(a, b, c, s):
    """``a + s * b * c``."""
    return a.addcmul_(s * b, c)


def addcdiv_(a, b, c, s):
    """``a + s * b / c``."""
    return a.addcdiv_(s * b, c)
