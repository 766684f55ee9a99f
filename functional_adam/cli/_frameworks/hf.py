"""Hugging Face's own AdamW, which transformers had until version 5: decay after the step."""

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
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    correct_bias: bool = True,
) -> tuple[Array, Array, Array]:
    """One step of `AdamW`: eps before the correction, and the new parameter is what decays.

    Source: pytorch_transformers/optimization.py of pytorch-transformers 1.2.0, class AdamW (the
    same as src/transformers/optimization.py until 4.x),
    https://github.com/huggingface/transformers/blob/v1.2.0/pytorch_transformers/optimization.py
    """
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    step_size = lr
    if correct_bias:
        step_size = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
    p = p - step_size * m / (np.sqrt(v) + eps)
    return p - lr * weight_decay * p, m, v
