"""NAdam and NAdamW: Adam with Nesterov's momentum on torch's schedule."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter, is_zero
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import accumulate, one_minus_power, power, sqrt
from ..bounds import adam_limit
from ..dialects import TORCH, Dialect, by_dialect
from .adam import eps_cut


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
    eps_root: Any = None  # added to v


def coefficients(dialect, t, h, scalars):
    """Scalars of step t = 1, 2, ...; the momentum rises from b1 / 2 to b1."""
    c2 = one_minus_power(h.b2, t)
    mu = h.b1 * (1 - 0.5 * power(0.96, t * h.momentum_decay))
    mu_next = h.b1 * (1 - 0.5 * power(0.96, (t + 1) * h.momentum_decay))
    mu_product = accumulate(scalars["mu_product"], mu)
    paper = dialect.nadam == "dozat"
    if paper:
        c2 = c2 / h.b2
    return NAdamCoefficients(
        *(1 - mu if paper else 1 - h.b1, h.b2, 1 - h.b2, c2, sqrt(c2), h.eps),
        neg_step_g=-h.learning_rate * (1 - mu) / (1 - mu_product),
        neg_step_m=-h.learning_rate * mu_next / (1 - mu_product * mu_next),
        mu_product=mu_product,
        eps_root=_inside(dialect, h, c2),
    )


def constant_coefficients(dialect, t, h, scalars):
    """Scalars of step t = 1, 2, ... with the momentum b1: Adam that looks ahead."""
    c2 = one_minus_power(h.b2, t)
    now = one_minus_power(h.b1, t)
    ahead = now if dialect.nadam == "one_correction" else one_minus_power(h.b1, t + 1)
    return NAdamCoefficients(
        *(1 - h.b1, h.b2, 1 - h.b2, c2, sqrt(c2), h.eps),
        neg_step_g=-h.learning_rate * (1 - h.b1) / now,
        neg_step_m=-h.learning_rate * h.b1 / ahead,
        mu_product=accumulate(scalars["mu_product"], h.b1),
        eps_root=_inside(dialect, h, c2),
    )


def _inside(dialect, h, c2):
    return h.eps_root * c2 if dialect.eps_root and not is_zero(h.eps_root) else None


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    m, v = ops.kept(m, v)
    shifted = v if k.eps_root is None else ops.add(v, k.eps_root)
    denominator = ops.add_(ops.root_ratio(shifted, k.c2, k.sqrt_c2), k.eps)
    u = ops.addcdiv_(u, g, denominator, k.neg_step_g)
    return ops.addcdiv_(u, m, denominator, k.neg_step_m), m, v


@by_dialect
def rule(dialect: Dialect) -> Rule:
    """NAdam in a dialect; the same object each time."""
    dialect.require("nadam", "nadam")
    dialect.require_corrections("nadam")
    scheduled = dialect.schedules_nadam
    return Rule(
        NAdamState,
        ("mu", "nu"),
        functools.partial(coefficients if scheduled else constant_coefficients, dialect),
        step,
        scalars=(("mu_product", 1.0),),
        adds_twice=scheduled,
        # No bound is known where the rate of the first moment changes from step to step.
        limit=None if dialect.nadam == "dozat" else adam_limit,
        eps_cut=eps_cut,
    )


NADAM = rule(TORCH)


def scale_by_nadam(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    momentum_decay: Hyperparameter | None = None,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """NAdam's direction, without rate and sign; see `nadam`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_nadam(), optax.scale(-0.5))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> bool(updates[0] < 0)
        True
    """
    values = dict(b1=b1, b2=b2, eps=eps, eps_root=eps_root, momentum_decay=momentum_decay)
    return lift(
        rule(dialect), values, moments=moments, dtypes=(mu_dtype, nu_dtype), dialect=dialect
    )


def nadam(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    momentum_decay: Hyperparameter | None = None,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """NAdam with coupled decay, by default as `torch.optim.NAdam`.

        g <- g + weight_decay * p
        mu_t = b1 * (1 - 0.5 * 0.96**(t * momentum_decay)),   M_t = mu_1 * ... * mu_t
        p <- p - learning_rate * (mu_{t+1} * m / (1 - M_{t+1}) + (1 - mu_t) * g / (1 - M_t))
                 / (sqrt(v / (1 - b2**t)) + eps)

    OPTAX keeps the momentum at b1: that is also `adam(..., nesterov=True)`.

    Args:
        learning_rate: step size; this and what is not listed here as in `adam`.
        momentum_decay: psi, how fast the momentum rises with the step, >= 0. None: the dialect's,
            torch 4e-3, Keras 1. Refused where the dialect's momentum is constant.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `NAdamState`. Given the parameters, the
        update is the difference of torch's new parameter, rounded twice, and the old one.

    Raises:
        ValueError, TypeError: as `adam`.

    Reference: Dozat 2016, Algorithm 2, https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ;
    schedule and product as in torch/optim/nadam.py.

    Examples:
        >>> tx = fa.nadam(0.1)
        >>> params = jnp.array([1.0])
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> bool(updates[0] < 0), state._fields[:2]
        (True, ('count', 'mu_product'))
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect),
        values | dict(weight_decay=weight_decay, momentum_decay=momentum_decay),
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )


def nadamw(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter | None = None,
    base_learning_rate: Hyperparameter | None = None,
    momentum_decay: Hyperparameter | None = None,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """NAdam with decoupled decay: `torch.optim.NAdam(decoupled_weight_decay=True)`.

    Arguments, result and errors as in `nadam`; decay as in `adamw`.

    Reference: Dozat 2016 with the decay of Loshchilov and Hutter 2019, Algorithm 2,
    https://arxiv.org/abs/1711.05101.

    Examples:
        >>> tx = fa.nadamw(0.1, weight_decay=0.5)
        >>> params = jnp.array([2.0])
        >>> now, _ = tx.update(jnp.array([0.0]), tx.init(params), params)
        >>> now.round(6)  # no gradient: decay alone
        Array([-0.1], dtype=float32)
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    decay = dict(weight_decay=weight_decay, base_learning_rate=base_learning_rate)
    return lift(
        rule(dialect),
        values | decay | {"momentum_decay": momentum_decay},
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )
