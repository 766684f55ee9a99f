"""AMSGrad and AMSGradW: Adam whose second moment never shrinks."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power
from ..bounds import adam_limit
from ..dialects import TORCH, Dialect, by_dialect
from .adam import coefficients as adam_coefficients
from .adam import denominator, eps_cut


class AMSGradState(NamedTuple):
    """State of AMSGrad."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype
    nu_max: Any  # like params: largest second moment so far, kept as nu
    seed: Any = None  # uint32 (), of the rounding of coded moments


def coefficients(dialect, early, t, h, _):
    """Adam's scalars; `early` where the maximum is of corrected moments, its root then is."""
    k = adam_coefficients(dialect, t, h, _)
    return k._replace(inverse_c2=1 / one_minus_power(h.b2, t)) if early else k


def step(ops, u, g, m, v, v_max, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    v_max = ops.maximum_(v_max, v if k.inverse_c2 is None else ops.mul(v, k.inverse_c2))
    m, v, v_max = ops.kept(m, v, v_max)
    return ops.addcdiv_(u, m, denominator(ops, v_max, k), k.neg_step), m, v, v_max


@by_dialect
def rule(dialect: Dialect) -> Rule:
    """AMSGrad in a dialect; the same object each time."""
    order = dialect.require("amsgrad", "amsgrad")
    early = order == "correct_then_maximum" and dialect.corrects("second")
    if early and dialect.eps_place == "before_correction":
        raise ValueError(
            f"{dialect}: amsgrad='correct_then_maximum' keeps no uncorrected root for eps to be "
            "added to: use amsgrad='maximum_then_correct' or eps_place='after_correction'"
        )
    corrected = dialect.bias_correction
    if order == "uncorrected":
        corrected = "none"
    elif early:
        corrected = "first" if dialect.corrects("first") else "none"
    inner = dataclasses.replace(dialect, bias_correction=corrected)
    scalars = functools.partial(coefficients, inner, early)
    moments = ("mu", "nu", "nu_max")
    return Rule(AMSGradState, moments, scalars, step, limit=adam_limit, eps_cut=eps_cut)


AMSGRAD = rule(TORCH)


def scale_by_amsgrad(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad's direction, without rate and sign; see `amsgrad`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_amsgrad(), optax.scale(-0.5))
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(jnp.zeros(1)))
        >>> updates.round(6)
        Array([-0.5], dtype=float32)
    """
    values = dict(b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect),
        values,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype, nu_dtype),
        dialect=dialect,
    )


def amsgrad(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad with coupled decay, by default as `torch.optim.Adam(amsgrad=True)`.

        g <- g + weight_decay * p;  m, v as in Adam
        V <- max(V, v)
        p <- p - learning_rate * (m / (1 - b1**t)) / (sqrt(V / (1 - b2**t)) + eps)

    Here the maximum is taken first and corrected afterwards. In OPTAX it is of the corrected
    moments, another path from the first steps on; in PAPER there are no corrections. `nu_max` holds
    the maximum of the dialect.

    Arguments, result and errors as in `adam`; the state is `AMSGradState`.

    Reference: Reddi, Kale and Kumar 2018, Algorithm 2 (which has no corrections),
    https://arxiv.org/abs/1904.09237; order as in torch/optim/adam.py.

    Examples:
        >>> tx = fa.amsgrad(0.1)
        >>> params = jnp.array([1.0])
        >>> state = tx.init(params)
        >>> for g in (8.0, 0.0):
        ...     updates, state = tx.update(jnp.array([g]), state, params)
        >>> bool(state.nu_max[0] > state.nu[0])  # it remembers the largest
        True
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect),
        values | {"weight_decay": weight_decay},
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype, nu_dtype),
        dialect=dialect,
    )


def amsgradw(
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
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad with decoupled decay, by default as `torch.optim.AdamW(amsgrad=True)`.

    Arguments, result and errors as in `amsgrad`; decay as in `adamw`.

    Reference: as `amsgrad`, with the decay of Loshchilov and Hutter 2019, Algorithm 2,
    https://arxiv.org/abs/1711.05101.

    Examples:
        >>> tx = fa.amsgradw(0.1, weight_decay=0.5)
        >>> params = jnp.array([2.0])
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.2], dtype=float32)
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect),
        values | dict(weight_decay=weight_decay, base_learning_rate=base_learning_rate),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype, nu_dtype),
        dialect=dialect,
    )
