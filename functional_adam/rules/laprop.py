"""LaProp: Adam that divides each gradient by its second moment first, and then averages."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, sqrt
from ..bounds import SLACK, geometric, numpy_of


class LaPropState(NamedTuple):
    """Adam's fields under a name of its own: `mu` averages what is already divided."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, of gradients divided by their root mean square
    nu: Any  # like params: second moment
    seed: Any = None  # uint32 (), of the rounding of coded moments


class LaPropCoefficients(NamedTuple):
    """LaProp's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    sqrt_c2: Any
    eps: Any
    neg_step: Any


def coefficients(t, h, _):
    """Scalars of step t = 1, 2, ..."""
    c1, c2 = one_minus_power(h.b1, t), one_minus_power(h.b2, t)
    neg_step = -(h.learning_rate / c1)
    return LaPropCoefficients(1 - h.b1, h.b2, 1 - h.b2, sqrt(c2), h.eps, neg_step)


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    denominator = ops.add_(ops.div_(ops.sqrt(v), k.sqrt_c2), k.eps)
    m = ops.lerp_(m, ops.quotient(g, denominator), k.one_minus_b1)
    m, v = ops.kept(m, v)
    return ops.add_scaled_(u, m, k.neg_step), m, v


def limit(k: Any, t: Any) -> Any:
    """Largest step: m_hat averages numbers within ``sqrt((1 - b2**k) / (1 - b2))``, k = 1 ... t.

    For ``v >= (1 - b2) * g**2`` in every step; the last of these bounds is the largest.
    """
    c1 = k.one_minus_b1 * geometric(1 - k.one_minus_b1, t)
    return SLACK * abs(k.neg_step) * c1 * k.sqrt_c2 / numpy_of(t).sqrt(k.one_minus_b2)


LAPROP = Rule(LaPropState, ("mu", "nu"), coefficients, step, limit=limit)


def scale_by_laprop(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-15,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """LaProp's direction, without rate and sign; see `laprop`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_laprop(), optax.scale(-0.1))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.1], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, eps=eps)
    return lift(LAPROP, values, moments=moments, dtypes=(mu_dtype, nu_dtype))


def laprop(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-15,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """LaProp with decoupled decay.

        p <- p - learning_rate * weight_decay * p
        v <- b2 * v + (1 - b2) * g**2
        m <- b1 * m + (1 - b1) * g / (sqrt(v / (1 - b2**t)) + eps)
        p <- p - learning_rate * m / (1 - b1**t)

    A step never exceeds ``learning_rate / sqrt(1 - b2)``, whatever b1 is: an old gradient was
    divided by the moment of its own time. `eps` is the authors'. Their class differs in two things:
    it keeps the learning rate within the average, which is the same where the rate is constant, and
    takes ``weight_decay * p`` off after the step, without the rate. Arguments, result and errors as
    in `adam`.

    Reference: Ziyin et al. 2020, https://arxiv.org/abs/2002.04839; the authors'
    https://github.com/Z-T-WANG/LaProp-Optimizer.

    Examples:
        >>> tx = fa.laprop(0.1)
        >>> params = jnp.zeros(1)
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.1], dtype=float32)
    """
    return lift(
        LAPROP,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
