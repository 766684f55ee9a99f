"""Lion: the sign of a look-ahead average; one moment, and every step as long as the rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift


class LionState(NamedTuple):
    """State of Lion."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: average of gradients, float32 or wider unless mu_dtype or moments
    seed: Any = None  # uint32 (), of the rounding of coded moments


class LionCoefficients(NamedTuple):
    """Lion's scalars of one step: the same in each."""

    b1: Any
    one_minus_b1: Any
    one_minus_b2: Any
    neg_step: Any


def coefficients(t, h, _):
    """Scalars of any step."""
    del t
    return LionCoefficients(h.b1, 1 - h.b1, 1 - h.b2, -h.learning_rate)


def step(ops, u, g, m, k):
    """One array, one step; `u` is what the step is added to."""
    c = ops.add_scaled_(ops.mul(m, k.b1), g, k.one_minus_b1)
    u = ops.add_scaled_(u, ops.sign_(c), k.neg_step)
    return u, *ops.kept(ops.lerp_(m, g, k.one_minus_b2))


def limit(k: Any, t: Any) -> Any:
    """Largest step, and the only one but zero: the learning rate."""
    del t
    return abs(k.neg_step)


LION = Rule(LionState, ("mu",), coefficients, step, rates=("b2",), limit=limit)


def scale_by_lion(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    moments: Moments = "float32",
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Lion's direction, -1, 0 or 1; see `lion`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_lion(), optax.scale(-0.1))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.1], dtype=float32)
    """
    return lift(LION, dict(b1=b1, b2=b2), moments=moments, dtypes=(mu_dtype,))


def lion(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Lion with decoupled decay, as its paper, `optax.lion` and the authors' class in torch.

        p <- p - learning_rate * weight_decay * p
        p <- p - learning_rate * sign(b1 * m + (1 - b1) * g)
        m <- b2 * m + (1 - b2) * g

    There is no correction and no eps. Every element moves by the learning rate, so Lion's rate is 3
    to 10 times smaller than Adam's, and its decay as much larger (the paper's advice). The
    default decay is that of the authors' class, 0; optax has 1e-3. Where the average is near zero
    its sign is a matter of rounding: frameworks then differ by two steps in that element.
    Arguments, result and errors as in `adam`; `mu` decays with b2, and `moments` codes `mu` alone.

    Reference: Chen et al. 2023, Algorithm 2, https://arxiv.org/abs/2302.06675.

    Examples:
        >>> tx = fa.lion(0.1)
        >>> params = jnp.zeros(1)
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.1], dtype=float32)
    """
    return lift(
        LION,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype,),
    )
