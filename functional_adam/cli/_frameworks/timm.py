"""timm's own optimizers, where they are not torch's: NAdamW and RAdamLegacy."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def nadamw(
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
    weight_decay: float = 1e-2,
) -> tuple[Array, Array, Array]:
    """One step of `NAdamW`: the first moment moved twice towards the gradient, one correction.

    Source: timm/optim/nadamw.py of timm 1.0.31, _single_tensor_nadamw,
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/nadamw.py
    """
    p = p * (1 - lr * weight_decay)
    m = m + (1 - b1) * (g - m)
    v = b2 * v + (1 - b2) * g * g
    ahead = m + (1 - b1) * (g - m)
    denominator = np.sqrt(v) / math.sqrt(1 - b2**t) + eps
    return p - lr / (1 - b1**t) * ahead / denominator, m, v


def radamw(
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
) -> tuple[Array, Array, Array]:
    """One step of `RAdamLegacy`: decay on the parameter, rectified from a length of 5 on.

    Source: timm/optim/radam.py of timm 1.0.31, RAdamLegacy.step,
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/radam.py
    """
    v = b2 * v + (1 - b2) * g * g
    m = b1 * m + (1 - b1) * g
    beta2_t = b2**t
    longest = 2 / (1 - b2) - 1
    length = longest - 2 * t * beta2_t / (1 - beta2_t)
    p = p - weight_decay * lr * p
    step_size = lr / (1 - b1**t)
    if length < 5:
        return p - step_size * m, m, v
    rectifier = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
    step_size *= math.sqrt((1 - beta2_t) * rectifier)
    return p - step_size * m / (np.sqrt(v) + eps), m, v
