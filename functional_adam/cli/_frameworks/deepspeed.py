"""DeepSpeedCPUAdam: `adam` and `adamw` are its two modes; its GPU optimizer is apex's."""

from __future__ import annotations

import math

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
    adamw_mode: bool = False,
) -> tuple[Array, Array, Array]:
    """One step of `DeepSpeedCPUAdam(adamw_mode=False)`.

    Source: csrc/adam/cpu_adam_impl.cpp, Adam_Optimizer::Step_1, and update_state in
    csrc/includes/cpu_adam.h (whose _bias_correction2 is 1 / sqrt(1 - b2**t)),
    https://github.com/deepspeedai/DeepSpeed/blob/master/csrc/adam/cpu_adam_impl.cpp
    """
    if not adamw_mode:
        g = p * weight_decay + g
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    direction = m / (np.sqrt(v) * (1 / math.sqrt(1 - b2**t)) + eps)
    if adamw_mode:
        p = p - lr * weight_decay * p
    return p - lr / (1 - b1**t) * direction, m, v


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
) -> tuple[Array, Array, Array]:
    """One step of `DeepSpeedCPUAdam(adamw_mode=True)`, the default; see `adam`."""
    numbers = dict(lr=lr, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return adam(p, g, m, v, t, **numbers, adamw_mode=True)
