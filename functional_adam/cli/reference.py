"""The float64 oracle: every algorithm as its paper and torch's documentation write it, in NumPy.

It imports nothing of the package and shares no code with it, so an error there cannot hide here.
Each function takes one array and its state and returns the new ones; `t` counts from 1 and `h` is
`Hyperparameters`. Nothing is fused, reordered or approximated, but three scalars are computed so
that float64 does not cancel, where torch's own formula loses digits:

- ``1 - b**t`` as ``-expm1(t * log(b))``: right to 1e-15; at b = 0.99999 and t = 1 the difference
  itself is off by 1e-11,
- RAdam's rho_t as the centre of mass that it is derived from, a quotient of sums of positive
  terms; ``rho_inf - 2 t b2**t / (1 - b2**t)`` is off by 1e-6 at b2 = 0.99999 and t = 6,
- ``(rho_inf - 4) (rho_inf - 2)`` is left alone: rho_inf is far from both where it is used.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """What the formulas are given; the names of the papers are lr = alpha, b = beta."""

    lr: float
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    b3: float = 0.9999
    alpha: float = 5.0
    maximize: bool = False


def adam(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """Adam with L2 decay: `torch.optim.Adam`.

    Kingma and Ba 2015, Algorithm 1, https://arxiv.org/abs/1412.6980.
    """
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m_hat = m / _correction(h.b1, t)
    v_hat = v / _correction(h.b2, t)
    return p - h.lr * m_hat / (np.sqrt(v_hat) + h.eps), m, v


def adamw(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """Adam with decoupled decay: `torch.optim.AdamW`.

    Loshchilov and Hutter 2019, Algorithm 2 with eta_t * alpha as the rate,
    https://arxiv.org/abs/1711.05101.
    """
    p = p - h.lr * h.weight_decay * p
    return adam(p, g, m, v, t, _without_decay(h))


def adam_nesterov(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """Adam that looks ahead with constant momentum, and L2 decay: `optax.adam(nesterov=True)`.

    Dozat 2016, Algorithm 2 with a constant momentum and without its factor b2 of v_hat,
    https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m_hat = h.b1 * m / _correction(h.b1, t + 1) + (1 - h.b1) * g / _correction(h.b1, t)
    v_hat = v / _correction(h.b2, t)
    return p - h.lr * m_hat / (np.sqrt(v_hat) + h.eps), m, v


def adamw_nesterov(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """`adam_nesterov` with decoupled decay: `optax.adamw(nesterov=True)`."""
    p = p - h.lr * h.weight_decay * p
    return adam_nesterov(p, g, m, v, t, _without_decay(h))


def amsgrad(p: Array, g: Array, m: Array, v: Array, v_max: Array, t: int, h: Hyperparameters):
    """AMSGrad with L2 decay: `torch.optim.Adam(amsgrad=True)`.

    Reddi, Kale and Kumar 2018, Algorithm 2, https://arxiv.org/abs/1904.09237, which has no
    corrections; torch takes the maximum of the uncorrected v and corrects it afterwards.
    """
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    v_max = np.maximum(v_max, v)
    m_hat = m / _correction(h.b1, t)
    v_hat = v_max / _correction(h.b2, t)
    return p - h.lr * m_hat / (np.sqrt(v_hat) + h.eps), m, v, v_max


def amsgradw(p: Array, g: Array, m: Array, v: Array, v_max: Array, t: int, h: Hyperparameters):
    """AMSGrad with decoupled decay: `torch.optim.AdamW(amsgrad=True)`; papers as above."""
    p = p - h.lr * h.weight_decay * p
    return amsgrad(p, g, m, v, v_max, t, _without_decay(h))


def nadam(p: Array, g: Array, m: Array, v: Array, product: float, t: int, h: Hyperparameters):
    """NAdam with L2 decay: `torch.optim.NAdam`; `product` is mu_1 * ... * mu_{t-1}.

    Dozat 2016, Algorithm 2, https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ, with torch's
    schedule https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html.
    """
    g = _ascent(g, h) + h.weight_decay * p
    mu = h.b1 * (1 - 0.5 * 0.96 ** (t * h.momentum_decay))
    mu_next = h.b1 * (1 - 0.5 * 0.96 ** ((t + 1) * h.momentum_decay))
    product = product * mu
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    v_hat = v / _correction(h.b2, t)
    return p - h.lr * m_hat / (np.sqrt(v_hat) + h.eps), m, v, product


def nadamw(p: Array, g: Array, m: Array, v: Array, product: float, t: int, h: Hyperparameters):
    """NAdam with decoupled decay: `torch.optim.NAdam(decoupled_weight_decay=True)`."""
    p = p - h.lr * h.weight_decay * p
    return nadam(p, g, m, v, product, t, _without_decay(h))


def radam(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """RAdam with L2 decay: `torch.optim.RAdam`.

    Liu et al. 2020, Algorithm 2, https://arxiv.org/abs/1908.03265, with torch's threshold 5 and
    eps before the correction,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html.
    """
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m_hat = m / _correction(h.b1, t)
    return p - h.lr * m_hat * _rectified(v, t, h), m, v


def radamw(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """RAdam with decoupled decay: `torch.optim.RAdam(decoupled_weight_decay=True)`."""
    p = p - h.lr * h.weight_decay * p
    return radam(p, g, m, v, t, _without_decay(h))


def radam_nesterov(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """`radam` that looks ahead as `adam_nesterov` does: `optax.radam(nesterov=True)`."""
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m_hat = h.b1 * m / _correction(h.b1, t + 1) + (1 - h.b1) * g / _correction(h.b1, t)
    return p - h.lr * m_hat * _rectified(v, t, h), m, v


def radamw_nesterov(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """`radam_nesterov` with decoupled decay."""
    p = p - h.lr * h.weight_decay * p
    return radam_nesterov(p, g, m, v, t, _without_decay(h))


def adamax(p: Array, g: Array, m: Array, u: Array, t: int, h: Hyperparameters):
    """Adamax with L2 decay: `torch.optim.Adamax`.

    Kingma and Ba 2015, Algorithm 2, https://arxiv.org/abs/1412.6980, with torch's eps beside |g|.
    """
    g = _ascent(g, h) + h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    u = np.maximum(h.b2 * u, np.abs(g) + h.eps)
    return p - h.lr / _correction(h.b1, t) * m / u, m, u


def adabelief(p: Array, g: Array, m: Array, s: Array, t: int, h: Hyperparameters):
    """AdaBelief with decoupled decay.

    Zhuang et al. 2020, Algorithm 2, https://arxiv.org/abs/2010.07468: eps is added to s in every
    step, and to the root.
    """
    g = _ascent(g, h)
    p = p - h.lr * h.weight_decay * p
    m = h.b1 * m + (1 - h.b1) * g
    s = h.b2 * s + (1 - h.b2) * (g - m) ** 2 + h.eps
    m_hat = m / _correction(h.b1, t)
    s_hat = s / _correction(h.b2, t)
    return p - h.lr * m_hat / (np.sqrt(s_hat) + h.eps), m, s


def lion(p: Array, g: Array, m: Array, t: int, h: Hyperparameters):
    """Lion: Chen et al. 2023, Algorithm 2, https://arxiv.org/abs/2302.06675."""
    g = _ascent(g, h)
    c = h.b1 * m + (1 - h.b1) * g
    p = p - h.lr * (np.sign(c) + h.weight_decay * p)
    return p, h.b2 * m + (1 - h.b2) * g


def adopt(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """ADOPT with decoupled decay, clipped.

    Taniguchi et al. 2024, Algorithm 2, https://arxiv.org/abs/2411.02853, whose step 0, which only
    sets v, is t = 1 here; its step t is t + 1, and its c_t = t**(1/4).
    """
    g = _ascent(g, h)
    p = p - h.lr * h.weight_decay * p
    if t == 1:
        return p, m, g**2
    c = (t - 1) ** 0.25
    m = h.b1 * m + (1 - h.b1) * np.clip(g / np.maximum(np.sqrt(v), h.eps), -c, c)
    return p - h.lr * m, m, h.b2 * v + (1 - h.b2) * g**2


def ademamix(p: Array, g: Array, m1: Array, m2: Array, v: Array, t: int, h: Hyperparameters):
    """AdEMAMix with constant alpha and b3.

    Pagliardini, Ablin and Grangier 2024, Algorithm 1, https://arxiv.org/abs/2409.03137.
    """
    g = _ascent(g, h)
    m1 = h.b1 * m1 + (1 - h.b1) * g
    m2 = h.b3 * m2 + (1 - h.b3) * g
    v = h.b2 * v + (1 - h.b2) * g**2
    m1_hat = m1 / _correction(h.b1, t)
    v_hat = v / _correction(h.b2, t)
    update = (m1_hat + h.alpha * m2) / (np.sqrt(v_hat) + h.eps) + h.weight_decay * p
    return p - h.lr * update, m1, m2, v


def laprop(p: Array, g: Array, m: Array, v: Array, t: int, h: Hyperparameters):
    """LaProp with decoupled decay: Ziyin et al. 2020, https://arxiv.org/abs/2002.04839."""
    g = _ascent(g, h)
    p = p - h.lr * h.weight_decay * p
    v = h.b2 * v + (1 - h.b2) * g**2
    m = h.b1 * m + (1 - h.b1) * g / (np.sqrt(v / _correction(h.b2, t)) + h.eps)
    return p - h.lr * m / _correction(h.b1, t), m, v


def _ascent(g: Array, h: Hyperparameters) -> Array:
    return -g if h.maximize else g


def _without_decay(h: Hyperparameters) -> Hyperparameters:
    return dataclasses.replace(h, weight_decay=0.0)


def _correction(b: float, t: int) -> float:
    """``1 - b**t`` to the last digits."""
    return -math.expm1(t * math.log(b)) if b > 0 else 1.0


def _rectified(v: Array, t: int, h: Hyperparameters) -> Array | float:
    """What multiplies RAdam's corrected moment."""
    rho_inf = 2 / (1 - h.b2) - 1
    rho = _average_length(h.b2, t)
    if rho <= 5:
        return 1.0
    r = math.sqrt(((rho - 4) * (rho - 2) * rho_inf) / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return r * math.sqrt(_correction(h.b2, t)) / (np.sqrt(v) + h.eps)


@functools.cache
def _average_length(b2: float, t: int) -> float:
    """Length rho_t of the simple average with the exponential one's centre of mass at step t.

    Liu et al. 2020, section 4.1: (rho + 1) / 2 = sum(i * b2**(i-1)) / sum(b2**(i-1)), i = 1..t.
    """
    i = np.arange(1, t + 1)
    weights = b2 ** (i - 1.0)
    return 2 * math.fsum(i * weights) / math.fsum(weights) - 1
