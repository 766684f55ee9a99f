"""HeavyBall's AdamW in float64: eps is a floor of the denominator."""

from __future__ import annotations

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
    b2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, Array, Array]:
    """One step of `AdamW`; moments are uncorrected here, the source keeps corrected ones.

    Source: heavyball/utils.py of heavyball 3.2.1, beta_debias, eps_sqrt, _compilable_adam_ and
    _compilable_update_,
    https://github.com/HomebrewML/HeavyBall/blob/main/heavyball/utils.py
    """
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    denominator = np.maximum(np.sqrt(v / (1 - b2**t)), eps)
    return p * (1 - lr * weight_decay) - lr * (m / (1 - b1**t)) / denominator, m, v
