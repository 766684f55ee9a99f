"""AdamW: Adam whose weight decay acts on the parameter, not through the gradient."""

from __future__ import annotations

from typing import Any

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._lift import Mask, lift
from .adam import ADAM, NESTEROV


def adamw(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    mask: Mask = None,
    maximize: bool = False,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam with decoupled weight decay: `torch.optim.AdamW` (`optax.adamw` decays by 1e-4).

        p <- p * (1 - learning_rate * weight_decay)
        p <- p - learning_rate * m_hat / (sqrt(v_hat) + eps)

    Args and errors as in `adam`; `weight_decay` is multiplied by the learning rate.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `AdamState`. The update is the difference
        of torch's new parameter and the old one, so `update` needs the parameters.

    Reference: Loshchilov and Hutter 2019, Algorithm 2, with eta_t * alpha as the learning rate,
    https://arxiv.org/abs/1711.05101.
    """
    return lift(
        NESTEROV if nesterov else ADAM,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
    )
