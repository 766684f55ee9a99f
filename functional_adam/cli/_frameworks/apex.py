"""NVIDIA apex's FusedAdam: `adam` is its mode 0 and `adamw` its mode 1, the default."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    bias_correction: bool = True,
) -> tuple[Array, Array, Array]:
    """One step of `FusedAdam(adam_w_mode=False)`: L2 in the gradient.

    Source: csrc/multi_tensor_adam.cu, AdamFunctor with ADAM_MODE_0,
    https://github.com/NVIDIA/apex/blob/master/csrc/multi_tensor_adam.cu
    """
    return _step(p, g + weight_decay * p, m, v, t, (lr, b1, b2, eps, 0.0), bias_correction)


def adamw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    bias_correction: bool = True,
) -> tuple[Array, Array, Array]:
    """One step of `FusedAdam(adam_w_mode=True)`: decay is a summand of the update.

    Source: csrc/multi_tensor_adam.cu, AdamFunctor with ADAM_MODE_1; see `adam`.
    """
    return _step(p, g, m, v, t, (lr, b1, b2, eps, weight_decay), bias_correction)


def _step(p, g, m, v, t, numbers, bias_correction):
    lr, b1, b2, eps, decay = numbers
    c1, c2 = (1 - b1**t, 1 - b2**t) if bias_correction else (1.0, 1.0)
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    update = (m / c1) / (np.sqrt(v / c2) + eps) + decay * p
    return p - lr * update, m, v
