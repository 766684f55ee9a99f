"""Adamax: Adam with an exponentially weighted maximum in place of the second moment."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power
from ..bounds import adamax_limit
from ..dialects import TORCH, Dialect, by_dialect


class AdamaxState(NamedTuple):
    """Adam's fields under a name of its own: what `nu` means is another thing."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment
    nu: Any  # like params: weighted maximum of |g|
    seed: Any = None  # uint32 (), of the rounding of coded moments


class AdamaxCoefficients(NamedTuple):
    """Adamax's scalars of one step."""

    one_minus_b1: Any
    b2: Any
    eps: Any
    neg_step: Any
    eps_after: Any = None  # in place of eps: added to the maximum, not kept in it


def coefficients(dialect, t, h, _):
    """Scalars of step t = 1, 2, ...; the maximum needs no correction."""
    c1 = one_minus_power(h.b1, t) if dialect.corrects("first") else 1.0
    k = AdamaxCoefficients(1 - h.b1, h.b2, h.eps, -(h.learning_rate / c1))
    after = dialect.adamax_eps == "after_maximum"
    return k._replace(eps=None, eps_after=h.eps) if after else k


def eps_cut(k):
    """Eps inside the maximum is half of it where the rest is no larger."""
    return 2 * k.eps if k.eps_after is None else k.eps_after


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to, `v` the weighted maximum."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    size = ops.abs(g) if k.eps is None else ops.add_(ops.abs(g), k.eps)
    v = ops.maximum_(ops.mul_(v, k.b2), size)
    m, v = ops.kept(m, v)
    divisor = v if k.eps_after is None else ops.add(v, k.eps_after)
    return ops.addcdiv_(u, m, divisor, k.neg_step), m, v


@by_dialect
def rule(dialect: Dialect) -> Rule:
    """Adamax in a dialect; the same object each time."""
    dialect.require("adamax_eps", "adamax")
    made = functools.partial(coefficients, dialect)
    return Rule(
        AdamaxState,
        ("mu", "nu"),
        made,
        step,
        limit=adamax_limit,
        eps_cut=eps_cut,
        linear=True,
    )


ADAMAX = rule(TORCH)


def scale_by_adamax(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """Adamax's direction, without rate and sign; see `adamax`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_adamax(), optax.scale(-0.5))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.5], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, eps=eps)
    return lift(
        rule(dialect), values, moments=moments, dtypes=(mu_dtype, nu_dtype), dialect=dialect
    )


def adamax(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """Adamax with coupled decay: `torch.optim.Adamax`, `optax.adamax`.

        g <- g + weight_decay * p
        m <- b1 * m + (1 - b1) * g
        v <- max(b2 * v, |g| + eps)
        p <- p - learning_rate * (m / (1 - b1**t)) / v

    `eps` stands inside the maximum, so a zero gradient divides by at least eps; in KERAS it is
    added to the maximum instead. Arguments, result and errors as in `adam`; `nu` holds the weighted
    maximum.

    Reference: Kingma and Ba 2015, Algorithm 2 (which has no eps), https://arxiv.org/abs/1412.6980.

    Examples:
        >>> tx = fa.adamax(0.1)
        >>> params = jnp.array([1.0])
        >>> updates, state = tx.update(jnp.array([-4.0]), tx.init(params), params)
        >>> updates.round(6), state.nu.round(6)
        (Array([0.1], dtype=float32), Array([4.], dtype=float32))
    """
    return lift(
        rule(dialect),
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )
