"""NAdam and NAdamW: Adam with Nesterov's momentum on torch's schedule."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import accumulate, one_minus_power, power, sqrt
from ..bounds import adam_limit


class NAdamState(NamedTuple):
    """State of NAdam."""

    count: Any  # int32 (), updates made so far
    mu_product: Any  # float32 (), product of the momenta so far; float64 where x64 is enabled
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype
    seed: Any = None  # uint32 (), of the rounding of coded moments


class NAdamCoefficients(NamedTuple):
    """NAdam's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    c2: Any
    sqrt_c2: Any
    eps: Any
    neg_step_g: Any
    neg_step_m: Any
    mu_product: Any


def coefficients(t, h, scalars):
    """Scalars of step t = 1, 2, ...; the momentum rises from b1 / 2 to b1."""
    c2 = one_minus_power(h.b2, t)
    mu = h.b1 * (1 - 0.5 * power(0.96, t * h.momentum_decay))
    mu_next = h.b1 * (1 - 0.5 * power(0.96, (t + 1) * h.momentum_decay))
    mu_product = accumulate(scalars["mu_product"], mu)
    return NAdamCoefficients(
        *(1 - h.b1, h.b2, 1 - h.b2, c2, sqrt(c2), h.eps),
        neg_step_g=-h.learning_rate * (1 - mu) / (1 - mu_product),
        neg_step_m=-h.learning_rate * mu_next / (1 - mu_product * mu_next),
        mu_product=mu_product,
    )


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    denominator = ops.add_(ops.root_ratio(v, k.c2, k.sqrt_c2), k.eps)
    u = ops.addcdiv_(u, g, denominator, k.neg_step_g)
    return ops.addcdiv_(u, m, denominator, k.neg_step_m), m, v


NADAM = Rule(
    NAdamState,
    ("mu", "nu"),
    coefficients,
    step,
    scalars=(("mu_product", 1.0),),
    adds_twice=True,
    limit=adam_limit,
)


def scale_by_nadam(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    momentum_decay: Hyperparameter = 4e-3,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam's direction, without rate and sign; see `nadam`."""
    values = dict(b1=b1, b2=b2, eps=eps, momentum_decay=momentum_decay)
    return lift(NADAM, values, moments=moments, dtypes=(mu_dtype, nu_dtype))


def nadam(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum_decay: Hyperparameter = 4e-3,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam with torch's momentum schedule and coupled decay: `torch.optim.NAdam`.

        g <- g + weight_decay * p
        mu_t = b1 * (1 - 0.5 * 0.96**(t * momentum_decay)),   M_t = mu_1 * ... * mu_t
        p <- p - learning_rate * (mu_{t+1} * m / (1 - M_{t+1}) + (1 - mu_t) * g / (1 - M_t))
                 / (sqrt(v / (1 - b2**t)) + eps)

    `optax.nadam` keeps the momentum at b1: that is `adam(..., nesterov=True)`.

    Args:
        learning_rate: step size; this and what is not listed here as in `adam`.
        momentum_decay: psi, how fast the momentum rises with the step, >= 0 (Keras: 1).

    Returns:
        `optax.GradientTransformationExtraArgs` with state `NAdamState`. Given the parameters, the
        update is the difference of torch's new parameter, rounded twice, and the old one.

    Raises:
        ValueError, TypeError: as `adam`.

    Reference: Dozat 2016, Algorithm 2, https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ;
    schedule and product as in torch/optim/nadam.py.
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return lift(
        NADAM,
        values | {"momentum_decay": momentum_decay},
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )


def nadamw(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    momentum_decay: Hyperparameter = 4e-3,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam with decoupled decay: `torch.optim.NAdam(decoupled_weight_decay=True)`.

    Arguments, result and errors as in `nadam`; decay as in `adamw`.

    Reference: Dozat 2016 with the decay of Loshchilov and Hutter 2019, Algorithm 2,
    https://arxiv.org/abs/1711.05101.
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return lift(
        NADAM,
        values | {"momentum_decay": momentum_decay},
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
