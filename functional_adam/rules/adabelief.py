"""AdaBelief: Adam with the variance of the gradient around its average as second moment."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, sqrt
from ..bounds import SLACK, geometric, numpy_of, positive


class AdaBeliefState(NamedTuple):
    """State of AdaBelief; `nu_centered` is not Adam's `nu`, and neither goes on as the other."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype or moments
    nu_centered: Any  # like params: variance around mu, as mu, unless nu_dtype or moments
    seed: Any = None  # uint32 (), of the rounding of coded moments


class AdaBeliefCoefficients(NamedTuple):
    """AdaBelief's scalars of one step."""

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
    return AdaBeliefCoefficients(1 - h.b1, h.b2, 1 - h.b2, sqrt(c2), h.eps, neg_step)


def step(ops, u, g, m, s, k):
    """One array, one step; `u` is what the step is added to, `s` the variance."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    surprise = ops.add_scaled(g, m, -1.0)
    s = ops.addcmul_(ops.mul_(s, k.b2), surprise, surprise, k.one_minus_b2)
    s = ops.add_(s, k.eps)
    m, s = ops.kept(m, s)
    denominator = ops.add_(ops.div_(ops.sqrt(s), k.sqrt_c2), k.eps)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, s


def limit(k: Any, t: Any) -> Any:
    """Largest step, by Cauchy and Schwarz: ``m = sum((1 - b1) / b1 * (g_k - m_k))``.

    It grows as ``b2**(-t / 2)``: a gradient that becomes ever more certain is followed ever faster.
    """
    weight = k.one_minus_b1 / positive(1 - k.one_minus_b1)
    series = geometric(1 / positive(k.b2), t) / k.one_minus_b2
    return SLACK * abs(k.neg_step) * k.sqrt_c2 * weight * numpy_of(t).sqrt(series)


ADABELIEF = Rule(AdaBeliefState, ("mu", "nu_centered"), coefficients, step, limit=limit)


def scale_by_adabelief(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdaBelief's direction, without rate and sign; see `adabelief`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_adabelief(), optax.scale(-0.1))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.111111], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, eps=eps)
    return lift(ADABELIEF, values, moments=moments, dtypes=(mu_dtype, nu_dtype))


def adabelief(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdaBelief with decoupled decay, as its paper and `optax.adabelief(eps_root=eps)`.

        p <- p - learning_rate * weight_decay * p
        m <- b1 * m + (1 - b1) * g
        s <- b2 * s + (1 - b2) * (g - m)**2 + eps
        p <- p - learning_rate * (m / (1 - b1**t)) / (sqrt(s / (1 - b2**t)) + eps)

    `eps` stands in two places, and the first stays in the state, as in the paper. Its default is
    that of optax and of the authors' code since version 0.1; the paper has 1e-8, which the authors
    advise where SGD beats Adam. The rectification that the authors' class adds by default, RAdam's,
    is not in the paper's algorithm nor here. Arguments, result and errors as in `adam`. Steps from
    coded moments are kept at their bound, which is that of this sum of squares: it grows with t,
    so that it guards the first steps only.

    Reference: Zhuang et al. 2020, Algorithm 2, https://arxiv.org/abs/2010.07468; decay as in the
    authors' https://github.com/juntang-zhuang/Adabelief-Optimizer.

    Examples:
        >>> tx = fa.adabelief(0.1)
        >>> params = jnp.zeros(1)
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.111111], dtype=float32)
    """
    return lift(
        ADABELIEF,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
