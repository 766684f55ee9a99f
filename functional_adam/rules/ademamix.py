"""AdEMAMix: Adam with a second, slow average of the gradient added to the first."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, sqrt
from ..bounds import SLACK, moment_bound


class AdEMAMixState(NamedTuple):
    """State of AdEMAMix."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: fast average, float32 or wider unless mu_dtype or moments
    mu_slow: Any  # like params: slow average, as mu
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype or moments
    seed: Any = None  # uint32 (), of the rounding of coded moments


class AdEMAMixCoefficients(NamedTuple):
    """AdEMAMix's scalars of one step."""

    one_minus_b1: Any
    one_minus_b3: Any
    b2: Any
    one_minus_b2: Any
    inverse_c1: Any
    sqrt_c2: Any
    eps: Any
    alpha: Any
    neg_step: Any


def coefficients(t, h, _):
    """Scalars of step t = 1, 2, ...; the slow average fills slowly: it is not corrected."""
    c1, c2 = one_minus_power(h.b1, t), one_minus_power(h.b2, t)
    rates = (1 - h.b1, 1 - h.b3, h.b2, 1 - h.b2)
    return AdEMAMixCoefficients(*rates, 1 / c1, sqrt(c2), h.eps, h.alpha, -h.learning_rate)


def step(ops, u, g, m1, m2, v, k):
    """One array, one step; `u` is what the step is added to, `m2` the slow average."""
    m1 = ops.lerp_(m1, g, k.one_minus_b1)
    m2 = ops.lerp_(m2, g, k.one_minus_b3)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    m1, m2, v = ops.kept(m1, m2, v)
    mixed = ops.add_scaled_(ops.mul(m1, k.inverse_c1), m2, k.alpha)
    denominator = ops.add_(ops.div_(ops.sqrt(v), k.sqrt_c2), k.eps)
    return ops.addcdiv_(u, mixed, denominator, k.neg_step), m1, m2, v


def limit(k: Any, t: Any) -> Any:
    """A bound of the step: that of both averages at once, each by Cauchy and Schwarz."""
    fast = k.inverse_c1 * moment_bound(k.one_minus_b1, k.b2, k.one_minus_b2, t)
    slow = k.alpha * moment_bound(k.one_minus_b3, k.b2, k.one_minus_b2, t)
    return SLACK * abs(k.neg_step) * k.sqrt_c2 * (fast + slow)


ADEMAMIX = Rule(
    AdEMAMixState,
    ("mu", "mu_slow", "nu"),
    coefficients,
    step,
    rates=("b1", "b3", "b2"),
    limit=limit,
)


def scale_by_ademamix(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 5.0,
    eps: Hyperparameter = 1e-8,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdEMAMix's direction, without rate and sign; see `ademamix`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_ademamix(), optax.scale(-0.1))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.10005], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, b3=b3, alpha=alpha, eps=eps)
    return lift(ADEMAMIX, values, moments=moments, dtypes=(mu_dtype, mu_dtype, nu_dtype))


def ademamix(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 5.0,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdEMAMix with decoupled decay, as its paper and `optax.contrib.ademamix`.

        p <- p - learning_rate * weight_decay * p
        m1 <- b1 * m1 + (1 - b1) * g
        m2 <- b3 * m2 + (1 - b3) * g
        v <- b2 * v + (1 - b2) * g**2
        p <- p - learning_rate * (m1 / (1 - b1**t) + alpha * m2) / (sqrt(v / (1 - b2**t)) + eps)

    The paper warms `alpha` and `b3` up in long runs: give schedules, which read the count of
    updates so far. Arguments, result and errors as in `adam`, and

    Args:
        b3: decay rate of the slow average, in [0, 1).
        alpha: weight of the slow average, at least 0; 5 as in optax, where the paper advises 4 to
            10 and the authors' class in torch has 2.

    `mu_dtype` is that of both averages. Steps from coded moments are kept at the sum of the bounds
    of both.

    Reference: Pagliardini, Ablin and Grangier 2024, Algorithm 1, https://arxiv.org/abs/2409.03137.

    Examples:
        >>> tx = fa.ademamix(0.1)
        >>> params = jnp.zeros(1)
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.10005], dtype=float32)
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, b3=b3, alpha=alpha, eps=eps)
    return lift(
        ADEMAMIX,
        values | {"weight_decay": weight_decay},
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, mu_dtype, nu_dtype),
    )
