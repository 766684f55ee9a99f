"""ADOPT: Adam that divides a gradient by the second moment of those before it, then averages."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import sqrt, when
from ..bounds import SLACK


class ADOPTState(NamedTuple):
    """Adam's fields under a name of its own: the step that they make is another one."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, of gradients divided by what was known before them
    nu: Any  # like params: second moment
    seed: Any = None  # uint32 (), of the rounding of coded moments


class ADOPTCoefficients(NamedTuple):
    """ADOPT's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    eps: Any
    clip: Any
    neg_step: Any


def coefficients(t, h, _):
    """Scalars of step t = 1, 2, ..., of which the first only starts v: it clips at zero."""
    later = t > 1.5
    one_minus_b2 = when(later, lambda: t * 0 + (1 - h.b2), 1.0)
    clip = sqrt(sqrt(when(later, lambda: t - 1, 0.0)))
    return ADOPTCoefficients(1 - h.b1, h.b2, one_minus_b2, h.eps, clip, -h.learning_rate)


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to, `v` that of the gradients before."""
    normed = ops.clip_(ops.quotient(g, ops.floor_(ops.sqrt(v), k.eps)), k.clip)
    m = ops.lerp_(m, normed, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    m, v = ops.kept(m, v)
    return ops.add_scaled_(u, m, k.neg_step), m, v


def limit(k: Any, t: Any) -> Any:
    """Largest step: m averages numbers within +-clip, which never falls."""
    del t
    return SLACK * abs(k.neg_step) * k.clip


ADOPT = Rule(ADOPTState, ("mu", "nu"), coefficients, step, limit=limit)


def scale_by_adopt(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """ADOPT's direction, without rate and sign; see `adopt`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_adopt(), optax.scale(-0.1))
        >>> state = tx.init(jnp.zeros(1))
        >>> for _ in range(2):  # the first gradient only starts the second moment
        ...     updates, state = tx.update(jnp.array([4.0]), state)
        >>> updates.round(6)
        Array([-0.01], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, eps=eps)
    return lift(ADOPT, values, moments=moments, dtypes=(mu_dtype, nu_dtype))


def adopt(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """ADOPT, clipped, with decoupled decay: the paper's and `optax.contrib.adopt`'s default.

        p <- p - learning_rate * weight_decay * p
        m <- b1 * m + (1 - b1) * clip(g / max(sqrt(v), eps), (t - 1)**0.25)    t > 1
        p <- p - learning_rate * m                                             t > 1
        v <- b2 * v + (1 - b2) * g**2                                          t > 1
        v <- g**2                                                              t = 1

    v is that of the gradients before this one, m and v are not corrected, and `eps` is a floor. The
    first call only starts v. Decay is decoupled, and acts in the first call too; optax has none,
    and the authors' class couples it unless it is told not to. That class has lately replaced the
    clipping by a floor that falls, `max(eps, b3**(t - 2))`, which the paper has not. Arguments,
    result and errors as in `adam`.

    Reference: Taniguchi et al. 2024, Algorithm 2, https://arxiv.org/abs/2411.02853; counted as in
    the authors' https://github.com/iShohei220/adopt.

    Examples:
        >>> tx = fa.adopt(0.1)
        >>> params = jnp.zeros(1)
        >>> state = tx.init(params)
        >>> for _ in range(2):  # the first gradient only starts the second moment
        ...     updates, state = tx.update(jnp.array([4.0]), state, params)
        >>> updates.round(6)
        Array([-0.01], dtype=float32)
    """
    return lift(
        ADOPT,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
