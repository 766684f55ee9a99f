"""Adam: first and second moments of the gradient, both corrected for their start at zero."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, sqrt
from ..bounds import adam_limit


class AdamState(NamedTuple):
    """State of Adam and of everything that keeps two moments."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype or moments
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype or moments
    seed: Any = None  # uint32 (), of the rounding of coded moments


class AdamCoefficients(NamedTuple):
    """Adam's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    sqrt_c2: Any
    eps: Any
    neg_step: Any
    neg_step_g: Any = None  # share of the gradient itself: Nesterov's look-ahead


def coefficients(t, h, _):
    """Scalars of step t = 1, 2, ...: the bias corrections belong to the scalars, not to arrays."""
    c1 = one_minus_power(h.b1, t)
    c2 = one_minus_power(h.b2, t)
    return AdamCoefficients(1 - h.b1, h.b2, 1 - h.b2, sqrt(c2), h.eps, -(h.learning_rate / c1))


def nesterov_coefficients(t, h, _):
    """Scalars of step t that look ahead with constant momentum, as optax does."""
    return coefficients(t, h, _)._replace(
        neg_step=-h.learning_rate * h.b1 / one_minus_power(h.b1, t + 1),
        neg_step_g=-h.learning_rate * (1 - h.b1) / one_minus_power(h.b1, t),
    )


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    denominator = ops.add_(ops.div_(ops.sqrt(v), k.sqrt_c2), k.eps)
    if k.neg_step_g is not None:
        u = ops.addcdiv_(u, g, denominator, k.neg_step_g)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, v


ADAM = Rule(AdamState, ("mu", "nu"), coefficients, step, limit=adam_limit)
NESTEROV = Rule(AdamState, ("mu", "nu"), nesterov_coefficients, step, limit=adam_limit)


def scale_by_adam(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam's direction without rate and sign, `m_hat / (sqrt(v_hat) + eps)`; see `adam`."""
    rule = NESTEROV if nesterov else ADAM
    return lift(rule, dict(b1=b1, b2=b2, eps=eps), moments=moments, dtypes=(mu_dtype, nu_dtype))


def adam(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam, with torch's coupled L2 decay: `torch.optim.Adam`, `optax.adam`.

        g <- g + weight_decay * p
        m <- b1 * m + (1 - b1) * g
        v <- b2 * v + (1 - b2) * g**2
        p <- p - learning_rate * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)

    Args:
        learning_rate: step size; like every hyperparameter a number, a scalar array (traced or
            not), a `TwoFloat` or a schedule `count -> value`, overridden by an argument of the
            same name in a call: `tx.update(grads, state, params, learning_rate=1e-4)`.
        b1: decay rate of the first moment, in [0, 1).
        b2: decay rate of the second moment, in [0, 1).
        eps: added to the denominator, after the root and its correction; in float32 at least.
        weight_decay: L2 coefficient, added to the gradient before the moments see it.
        mask: which leaves decay: a tree of bools, a prefix of one, or params -> such a tree.
        maximize: ascend instead of descend.
        nesterov: look ahead, `m_hat = b1 * m / (1 - b1**(t + 1)) + (1 - b1) * g / (1 - b1**t)`,
            as `optax.adam(nesterov=True)`.
        moments: how `mu` and `nu` are stored: "float32", "bfloat16" (4 bytes a parameter for both)
            or "int8" (2.02 bytes; leaves under 4096 elements, or whose last axis has no divisor
            from 16 to 128, stay float32), rounded so that they still forget; or a pair of `Codec`.
            A step never exceeds `update_bound`. Vmapped replicas round alike unless the `seed` in
            their states differs: `optax.tree.set(state, seed=...)`.
        mu_dtype: dtype `mu` is kept in, rounded to nearest; None: the parameter's, at least
            float32.
        nu_dtype: dtype `nu` is kept in, as `mu_dtype`; in 16 bits it cannot decay.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `AdamState`. Updates have the promoted
        dtype of gradient and parameter; arithmetic is in float32 or wider.

    Raises:
        ValueError: a number is out of range, or gradients, state and parameters do not match.
        TypeError: a dtype cannot be trained or kept.

    Reference: Kingma and Ba 2015, Algorithm 1 (with eps after the corrections),
    https://arxiv.org/abs/1412.6980.
    """
    return lift(
        NESTEROV if nesterov else ADAM,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
