"""AMSGrad and AMSGradW: Adam whose second moment never shrinks."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter
from .._leaf import Rule
from .._lift import Mask, lift
from ..bounds import adam_limit
from .adam import coefficients


class AMSGradState(NamedTuple):
    """State of AMSGrad."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype
    nu_max: Any  # like params: largest second moment so far, kept as nu
    seed: Any = None  # uint32 (), of the rounding of coded moments


def step(ops, u, g, m, v, v_max, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    v_max = ops.maximum_(v_max, v)
    denominator = ops.add_(ops.div_(ops.sqrt(v_max), k.sqrt_c2), k.eps)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, v, v_max


AMSGRAD = Rule(AMSGradState, ("mu", "nu", "nu_max"), coefficients, step, limit=adam_limit)


def scale_by_amsgrad(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad's direction, without rate and sign; see `amsgrad`."""
    return lift(
        AMSGRAD, dict(b1=b1, b2=b2, eps=eps), moments=moments, dtypes=(mu_dtype, nu_dtype, nu_dtype)
    )


def amsgrad(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad in torch's order, with coupled decay: `torch.optim.Adam(amsgrad=True)`.

        g <- g + weight_decay * p;  m, v as in Adam
        V <- max(V, v)
        p <- p - learning_rate * (m / (1 - b1**t)) / (sqrt(V / (1 - b2**t)) + eps)

    The maximum is taken first and corrected afterwards; `optax.amsgrad` corrects first, or never,
    and follows another path from the first steps on.

    Arguments, result and errors as in `adam`; the state is `AMSGradState`.

    Reference: Reddi, Kale and Kumar 2018, Algorithm 2 (which has no corrections),
    https://arxiv.org/abs/1904.09237; order as in torch/optim/adam.py.
    """
    return lift(
        AMSGRAD,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype, nu_dtype),
    )


def amsgradw(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad with decoupled decay: `torch.optim.AdamW(amsgrad=True)`.

    Arguments, result and errors as in `amsgrad`; decay as in `adamw`.

    Reference: as `amsgrad`, with the decay of Loshchilov and Hutter 2019, Algorithm 2,
    https://arxiv.org/abs/1711.05101.
    """
    return lift(
        AMSGRAD,
        dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay),
        decay="decoupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype, nu_dtype),
    )
