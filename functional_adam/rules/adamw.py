"""AdamW: Adam whose weight decay acts on the parameter, not through the gradient."""

from __future__ import annotations

from typing import Any

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._lift import Mask, lift
from ..dialects import TORCH, Dialect
from .adam import rule


def adamw(
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
    """Adam with decoupled weight decay, by default as `torch.optim.AdamW`.

        p <- p * (1 - learning_rate * weight_decay)
        p <- p - learning_rate * m_hat / (sqrt(v_hat) + eps)

    Args:
        learning_rate: step size; this and what is not listed here as in `adam`.
        weight_decay: multiplied by the learning rate, or in dialects where `decay_rate` is
            "schedule" by `learning_rate / base_learning_rate`. None: the dialect's, torch 1e-2,
            optax 1e-4, Keras 4e-3; PAPER has none.
        base_learning_rate: what the schedule of `learning_rate` multiplies, its peak; only in those
            dialects. None: `learning_rate`, where that is a number.
        dialect: whose AdamW; it also says when the parameter decays, see `Dialect.decay_form`.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `AdamState`. In torch's form the update
        is the difference of torch's new parameter and the old one; `update` needs the parameters.

    Raises:
        ValueError, TypeError: as `adam`.

    Reference: Loshchilov and Hutter 2019, Algorithm 2, in TORCH with eta_t * alpha as the learning
    rate, https://arxiv.org/abs/1711.05101.

    Examples:
        >>> tx = fa.adamw(0.1, weight_decay=0.5)  # 2 shrinks by 5%, then steps
        >>> params = jnp.array([2.0])
        >>> updates, state = tx.update(jnp.array([4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.2], dtype=float32)
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
