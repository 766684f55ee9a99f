"""torch's schedules in 80 decimal digits: what both sides are held against.

torch's own formulas are written here a second time, literally, in `decimal`: torch computes by
recursions in double, which drift, and by differences that cancel. The result is exact for our
purpose. Nothing of the package is imported. `exact` is the door; the functions beside it must run
within `digits`.
"""

from __future__ import annotations

import decimal
import functools
import math
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from typing import Any

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
D = Decimal


def digits() -> Any:
    """80 digits: doubles and their products fit."""
    return decimal.localcontext(prec=80)


def exact(name: str, t: int, *base: float, **settings: Any) -> Decimal:
    """Value of a schedule at count t, by the name of torch's class."""
    with digits():
        return EXACT[name](t, *base, **settings)


def cos(x: Decimal) -> Decimal:
    """Taylor's series of the cosine, to 45 digits: that of pi is -1."""
    x %= 2 * PI
    term = total = D(1)
    n = 0
    while abs(term) > D("1e-48"):
        n += 2
        term *= -x * x / (n * (n - 1))
        total += term
    return total.quantize(D("1e-45"))


def _lambda(t, lr, lr_lambda):
    return D(lr) * D(lr_lambda(t))


def _multiplicative(t, lr, lr_lambda):
    products = _products(lr_lambda)
    while len(products) <= t:
        products.append(products[-1] * D(lr_lambda(len(products))))
    return D(lr) * products[t]


@functools.lru_cache(maxsize=16)
def _products(lr_lambda: Callable[[int], float]) -> list[Decimal]:
    """Products of the first factors, as far as they were asked for: the caller appends."""
    return [D(1)]


def _step(t, lr, step_size, gamma=0.1):
    return D(lr) * D(gamma) ** (t // step_size)


def _multi_step(t, lr, milestones, gamma=0.1):
    return D(lr) * D(gamma) ** sum(m <= t for m in milestones)


def _constant(t, lr, factor=1 / 3, total_iters=5):
    return D(lr) * (D(factor) if t < total_iters else 1)


def _linear(t, lr, start_factor=1 / 3, end_factor=1.0, total_iters=5):
    start, end = D(start_factor), D(end_factor)
    return D(lr) * (start + (end - start) * min(t, total_iters) / total_iters)


def _exponential(t, lr, gamma):
    return D(lr) * D(gamma) ** t


def _polynomial(t, lr, total_iters=5, power=1.0):
    rest = 1 - D(min(t, total_iters)) / total_iters
    return D(lr) * (D(1) if power == 0 else rest ** D(power))


def _cosine(t, lr, T_max, eta_min=0.0):
    return D(eta_min) + (D(lr) - D(eta_min)) * (1 + cos(PI * (t % (2 * T_max)) / T_max)) / 2


def _cosine_decay(t, lr, T_max, eta_min=0.0):
    return _cosine(min(t, T_max), lr, T_max, eta_min)


def _warm_restarts(t, lr, T_0, T_mult=1, eta_min=0.0):
    length = T_0
    if T_mult == 1:
        t %= T_0
    while t >= length:
        t, length = t - length, length * T_mult
    return _cosine(t, lr, length, eta_min)


def _cyclic(t, base_lr, max_lr, step_size_up=2000, step_size_down=None, **options):
    mode, gamma = options.get("mode", "triangular"), options.get("gamma", 1.0)
    down = step_size_down or step_size_up
    cycle, position = t // (step_size_up + down) + 1, t % (step_size_up + down)
    if position <= step_size_up:
        height = D(position) / step_size_up
    else:
        height = D(step_size_up + down - position) / down
    scale = {"triangular": D(1), "triangular2": D(2) ** (1 - cycle), "exp_range": D(gamma) ** t}
    if "scale_fn" in options:
        by_cycle = options.get("scale_mode", "cycle") == "cycle"
        scale[mode] = D(float(options["scale_fn"](cycle if by_cycle else t)))
    return D(base_lr) + (D(max_lr) - D(base_lr)) * height * scale[mode]


def _cyclic_momentum(t, base_momentum=0.8, max_momentum=0.9, **options):
    return _cyclic(t, max_momentum, base_momentum, **options)


def _phases(t, levels, total_steps, pct_start=0.3, anneal_strategy="cos"):
    t, rise = min(t, total_steps - 1), float(pct_start * total_steps)
    ends = [rise - 1, 2 * rise - 2, total_steps - 1] if len(levels) == 4 else None
    ends = ends or [rise - 1, total_steps - 1]
    i = next((i for i, end in enumerate(ends) if t <= end), len(ends) - 1)
    start = D(ends[i - 1]) if i else D(0)
    pct = (t - start) / (D(ends[i]) - start)
    weight = (1 + cos(PI * pct)) / 2 if anneal_strategy == "cos" else 1 - pct
    return levels[i + 1] + (levels[i] - levels[i + 1]) * weight


def _one_cycle(t, max_lr, div_factor=25.0, final_div_factor=1e4, three_phase=False, **options):
    peak, initial = D(max_lr), D(max_lr) / D(div_factor)
    final = initial / D(final_div_factor)
    levels = [initial, peak, initial, final] if three_phase else [initial, peak, final]
    return _phases(t, levels, **options)


def _one_cycle_momentum(t, base_momentum=0.85, max_momentum=0.95, three_phase=False, **options):
    low, high = D(base_momentum), D(max_momentum)
    return _phases(t, [high, low, high, high] if three_phase else [high, low, high], **options)


def _sequential(t, lr, parts, milestones):
    i = bisect_right(milestones, t)
    name, options = parts[i]
    return EXACT[name](t - (milestones[i - 1] if i else 0), lr, **options)


def _chained(t, lr, parts):
    return D(lr) * math.prod((EXACT[name](t, 1, **options) for name, options in parts), start=D(1))


EXACT = {
    "LambdaLR": _lambda,
    "MultiplicativeLR": _multiplicative,
    "StepLR": _step,
    "MultiStepLR": _multi_step,
    "ConstantLR": _constant,
    "LinearLR": _linear,
    "ExponentialLR": _exponential,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "CyclicLR": _cyclic,
    "CyclicLR momentum": _cyclic_momentum,
    "OneCycleLR": _one_cycle,
    "OneCycleLR momentum": _one_cycle_momentum,
    "SequentialLR": _sequential,
    "ChainedScheduler": _chained,
}
