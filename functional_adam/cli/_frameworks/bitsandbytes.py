"""bitsandbytes with 32-bit state, in float64: its class Adam decouples decay as its AdamW does."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


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
    weight_decay: float = 1e-2,
) -> tuple[Array, Array, Array]:
    """One step of `Adam32bit` and `AdamW32bit`.

    Source: bitsandbytes/backends/default/ops.py of bitsandbytes 0.50.2, _optimizer_update_32bit
    with optimizer_id 3,
    https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/backends/default/ops.py
    """
    m = m * b1 + (1 - b1) * g
    v = v * b2 + (1 - b2) * g * g
    correction1, correction2 = 1 - b1**t, math.sqrt(1 - b2**t)
    p = p * (1 - lr * weight_decay)
    return p - lr * correction2 / correction1 * (m / (np.sqrt(v) + eps * correction2)), m, v
