"""The papers' own algorithms, where eps is added to what divides if the paper has none."""

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
) -> tuple[Array, Array, Array]:
    """Kingma and Ba 2015, Algorithm 1, https://arxiv.org/abs/1412.6980."""
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


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
    weight_decay: float,
    multiplier: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Loshchilov and Hutter 2019, Algorithm 2, https://arxiv.org/abs/1711.05101.

    The schedule's multiplier eta_t scales both parts; the learning rate alpha only the first.
    """
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return p - multiplier * (lr * m_hat / (np.sqrt(v_hat) + eps) + weight_decay * p), m, v


def amsgrad(
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
    eps: float = 1e-8,
) -> tuple[Array, Array, Array, Array]:
    """Reddi, Kale and Kumar 2018, Algorithm 2, https://arxiv.org/abs/1904.09237."""
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    v_max = np.maximum(v_max, v)
    return p - lr * m / (np.sqrt(v_max) + eps), m, v, v_max


def nadam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    product: float,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> tuple[Array, Array, Array, float]:
    """Dozat 2016, Algorithm 2, https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ.

    With mu_t = b1 (1 - 0.96**(t psi) / 2), the schedule that the paper recommends.
    """
    mu = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = product * mu
    m = mu * m + (1 - mu) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    v_hat = b2 * v / (1 - b2**t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v, product


def radam(
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
) -> tuple[Array, Array, Array]:
    """Liu et al. 2020, Algorithm 2, https://arxiv.org/abs/1908.03265."""
    v = b2 * v + (1 - b2) * g**2
    m = b1 * m + (1 - b1) * g
    m_hat = m / (1 - b1**t)
    longest = 2 / (1 - b2) - 1
    length = longest - 2 * t * b2**t / (1 - b2**t)
    if length <= 4:
        return p - lr * m_hat, m, v
    r = math.sqrt(
        ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length)
    )
    return p - lr * r * m_hat / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def adamax(
    p: Array,
    g: Array,
    m: Array,
    u: Array,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """Kingma and Ba 2015, Algorithm 2, https://arxiv.org/abs/1412.6980."""
    m = b1 * m + (1 - b1) * g
    u = np.maximum(b2 * u, np.abs(g))
    return p - lr / (1 - b1**t) * m / (u + eps), m, u
