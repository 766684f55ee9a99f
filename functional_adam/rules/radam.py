"""RAdam and RAdamW: Adam that waits with its second moment until the variance is tractable."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter, is_zero
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, power, sqrt, when
from ..bounds import radam_limit
from ..dialects import TORCH, Dialect, by_dialect


class RAdamState(NamedTuple):
    """Adam's fields under a name of its own: the step that they make is another one."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment
    nu: Any  # like params: second moment
    seed: Any = None  # uint32 (), of the rounding of coded moments


class RAdamCoefficients(NamedTuple):
    """RAdam's scalars of one step; the last products are of those before."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    eps: Any
    rectified: Any  # whether the second moment is used
    learning_rate: Any
    c1: Any
    sqrt_c2: Any
    rect: Any
    neg_rectified: Any
    neg_plain: Any
    ahead_m: Any = None  # shares of moment and gradient in Nesterov's look-ahead
    ahead_g: Any = None
    eps_root: Any = None  # added to v


def coefficients(dialect, t, h, _):
    """Scalars of step t = 1, 2, ...; rho is the length of the approximated simple average."""
    c1 = one_minus_power(h.b1, t)
    c2 = one_minus_power(h.b2, t)
    rho_inf = 2 / (1 - h.b2) - 1
    rho = rho_inf - 2 * t * power(h.b2, t) / c2

    def rectifier():
        wide = (rho_inf - 4) * (rho_inf - 2) * rho
        return sqrt((rho - 4) * (rho - 2) * rho_inf / wide)

    rectified = _is_rectified(dialect, rho)
    rect = when(rectified, rectifier, 0.0)
    # The correction multiplies the quotient: an eps that comes after it is scaled back.
    after = dialect.radam_eps == "after_correction"
    inside = dialect.eps_root and not is_zero(h.eps_root)
    return RAdamCoefficients(
        *(1 - h.b1, h.b2, 1 - h.b2, h.eps * sqrt(c2) if after else h.eps),
        *(rectified, h.learning_rate, c1, sqrt(c2), rect),
        neg_rectified=-(sqrt(c2) * (h.learning_rate * rect / c1)),
        neg_plain=-(h.learning_rate / c1),
        eps_root=(h.eps_root * c2 if after else h.eps_root) if inside else None,
    )


def _is_rectified(dialect, rho):
    if dialect.radam_compare == ">":
        return rho > dialect.radam_threshold
    return rho >= dialect.radam_threshold


def nesterov_coefficients(dialect, t, h, _):
    """Scalars of step t that look ahead with constant momentum."""
    k = coefficients(dialect, t, h, _)
    ahead = one_minus_power(h.b1, t + 1) if dialect.nesterov == "constant" else k.c1
    return k._replace(
        c1=1.0,
        neg_rectified=-(k.sqrt_c2 * (h.learning_rate * k.rect)),
        neg_plain=-h.learning_rate,
        ahead_m=h.b1 / ahead,
        ahead_g=(1 - h.b1) / one_minus_power(h.b1, t),
    )


def eps_cut(k):
    """As Adam's, of an eps that is uncorrected already; nothing is divided before rectification."""
    inside = 0.0 if k.eps_root is None else k.eps_root
    root = (2 * k.eps + sqrt(k.eps * k.eps + 3 * inside)) / 3
    return when(k.rectified, lambda: root * root, 0.0)


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    m, v = ops.kept(m, v)
    ahead = m if k.ahead_m is None else ops.add_scaled(ops.mul(m, k.ahead_m), g, k.ahead_g)
    root = ops.sqrt(v if k.eps_root is None else ops.add(v, k.eps_root))
    return ops.add_rectified_(u, ahead, ops.add_(root, k.eps), k), m, v


@by_dialect
def rule(dialect: Dialect, nesterov: bool = False) -> Rule:
    """RAdam in a dialect; the same object each time."""
    dialect.require("radam_threshold", "radam")
    dialect.require_corrections("radam")
    if nesterov:
        dialect.require("nesterov", "radam(nesterov=True)")
    scalars = nesterov_coefficients if nesterov else coefficients
    made = functools.partial(scalars, dialect)
    return Rule(RAdamState, ("mu", "nu"), made, step, limit=radam_limit, eps_cut=eps_cut)


RADAM = rule(TORCH)


def scale_by_radam(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """RAdam's direction, without rate and sign; see `radam`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_radam(), optax.scale(-0.5))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-2.], dtype=float32)
    """
    return lift(
        rule(dialect, nesterov),
        dict(b1=b1, b2=b2, eps=eps, eps_root=eps_root),
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )


def radam(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """RAdam with coupled decay, by default as `torch.optim.RAdam`.

        g <- g + weight_decay * p;  m, v as in Adam
        rho_inf = 2 / (1 - b2) - 1,   rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        p <- p - learning_rate * m_hat * (r * sqrt(1 - b2**t) / (sqrt(v) + eps) if rho > 5 else 1)

    `eps` is added before the correction of `v`, so it weighs more than Adam's in the first steps;
    in OPTAX and PAPER after it. The paper's threshold is 4.

    Args:
        learning_rate: step size; this and what is not listed here as in `adam`.
        nesterov: look ahead, as `optax.radam(nesterov=True)` and `adam(nesterov=True)`.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `RAdamState`.

    Raises:
        ValueError, TypeError: as `adam`.

    Reference: Liu et al. 2020, Algorithm 2 (with the threshold 4), https://arxiv.org/abs/1908.03265;
    threshold and eps as in torch/optim/radam.py.

    Examples:
        >>> tx = fa.radam(0.1)
        >>> params = jnp.array([1.0])
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)  # not yet rectified: the gradient itself
        Array([-0.4], dtype=float32)
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect, nesterov),
        values | {"weight_decay": weight_decay},
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )


def radamw(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter | None = None,
    base_learning_rate: Hyperparameter | None = None,
    mask: Mask = None,
    maximize: bool = False,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """RAdam with decoupled decay: `torch.optim.RAdam(decoupled_weight_decay=True)`.

    Arguments, result and errors as in `radam`; decay as in `adamw`.

    Reference: as `radam`, with the decay of Loshchilov and Hutter 2019, Algorithm 2,
    https://arxiv.org/abs/1711.05101.

    Examples:
        >>> tx = fa.radamw(0.1, weight_decay=0.5)
        >>> params = jnp.array([2.0])
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.5], dtype=float32)
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect, nesterov),
        values | dict(weight_decay=weight_decay, base_learning_rate=base_learning_rate),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )
