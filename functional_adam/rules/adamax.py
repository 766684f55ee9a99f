"""Adamax: Adam with an exponentially weighted maximum in place of the second moment."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power
from ..bounds import adamax_limit
from .adam import AdamState


class AdamaxCoefficients(NamedTuple):
    """Adamax's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    eps: Any
    neg_step: Any


def coefficients(t, h, _):
    """Scalars of step t = 1, 2, ...; the maximum needs no correction."""
    c1 = one_minus_power(h.b1, t)
    return AdamaxCoefficients(1 - h.b1, h.b2, h.eps, -(h.learning_rate / c1))


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to, `v` the weighted maximum."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.maximum_(ops.mul_(v, k.b2), ops.add_(ops.abs(g), k.eps))
    return ops.addcdiv_(u, m, v, k.neg_step), m, v


ADAMAX = Rule(AdamState, ("mu", "nu"), coefficients, step, limit=adamax_limit)


def scale_by_adamax(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adamax's direction, without rate and sign; see `adamax`."""
    return lift(ADAMAX, dict(b1=b1, b2=b2, eps=eps), moments=moments, dtypes=(mu_dtype, nu_dtype))


def adamax(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adamax with coupled decay: `torch.optim.Adamax`, `optax.adamax`.

        g <- g + weight_decay * p
        m <- b1 * m + (1 - b1) * g
        v <- max(b2 * v, |g| + eps)
        p <- p - learning_rate * (m / (1 - b1**t)) / v

    `eps` stands inside the maximum, so a zero gradient divides by at least eps. Arguments, result
    and errors as in `adam`; `nu` holds the weighted maximum.

    Reference: Kingma and Ba 2015, Algorithm 2 (which has no eps), https://arxiv.org/abs/1412.6980.
    """
    return lift(
        ADAMAX,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
