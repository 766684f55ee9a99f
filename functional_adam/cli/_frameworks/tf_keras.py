"""Keras 2, tf.keras: Adam with `adaptive_epsilon`, which Keras 3 has not, and without it."""

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
    eps: float = 1e-7,
    weight_decay: float = 0.0,
    adaptive_epsilon: bool = False,
) -> tuple[Array, Array, Array]:
    """One step of `Adam(weight_decay=...)`, which decouples, as does its AdamW.

    Source: tf_keras/src/optimizers/adam.py of tf-keras 2.21, Adam.update_step, and
    Optimizer._apply_weight_decay in optimizer.py,
    https://github.com/keras-team/tf-keras/blob/master/tf_keras/src/optimizers/adam.py
    """
    p = p - p * weight_decay * lr
    c1, root_c2 = 1 - b1**t, math.sqrt(1 - b2**t)
    m = m + (g - m) * (1 - b1)
    v = v + (g * g - v) * (1 - b2)
    hat = eps * root_c2 if adaptive_epsilon else eps
    return p - m * (lr * root_c2 / c1) / (np.sqrt(v) + hat), m, v


def amsgradw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-7,
    weight_decay: float = 0.0,
) -> tuple[Array, Array, Array, Array]:
    """One step of `Adam(amsgrad=True)`; see `adamw`."""
    p = p - p * weight_decay * lr
    m = m + (g - m) * (1 - b1)
    v = v + (g * g - v) * (1 - b2)
    v_max = np.maximum(v_max, v)
    alpha = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
    return p - m * alpha / (np.sqrt(v_max) + eps), m, v, v_max
