"""The table of schedules: ours, torch's, settings, and the formula in 80 decimal digits.

torch's own formulas are written here a second time, literally, in `decimal`: torch computes by
recursions in double, which drift, and differences that cancel. The result is exact for our purpose.
"""

from __future__ import annotations

import decimal
import functools
import math
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedulers

from functional_adam import schedules as s

decimal.getcontext().prec = 80  # doubles and their products fit
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
D = Decimal


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


def optimizer(*learning_rates: float, momentum: bool = False) -> torch.optim.Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in learning_rates]
    if momentum:
        return torch.optim.SGD(groups, momentum=0.5)
    return torch.optim.Adam(groups)


# --- the formulas, exactly ----------------------------------------------------------------------


def exact_lambda(t, lr, lr_lambda):
    return D(lr) * D(lr_lambda(t))


def exact_multiplicative(t, lr, lr_lambda):
    return D(lr) * math.prod((D(lr_lambda(i)) for i in range(1, t + 1)), start=D(1))


def exact_step(t, lr, step_size, gamma=0.1):
    return D(lr) * D(gamma) ** (t // step_size)


def exact_multi_step(t, lr, milestones, gamma=0.1):
    return D(lr) * D(gamma) ** sum(m <= t for m in milestones)


def exact_constant(t, lr, factor=1 / 3, total_iters=5):
    return D(lr) * (D(factor) if t < total_iters else 1)


def exact_linear(t, lr, start_factor=1 / 3, end_factor=1.0, total_iters=5):
    start, end = D(start_factor), D(end_factor)
    return D(lr) * (start + (end - start) * min(t, total_iters) / total_iters)


def exact_exponential(t, lr, gamma):
    return D(lr) * D(gamma) ** t


def exact_polynomial(t, lr, total_iters=5, power=1.0):
    rest = 1 - D(min(t, total_iters)) / total_iters
    return D(lr) * (D(1) if power == 0 else rest ** D(power))


def exact_cosine(t, lr, T_max, eta_min=0.0):
    return D(eta_min) + (D(lr) - D(eta_min)) * (1 + cos(PI * (t % (2 * T_max)) / T_max)) / 2


def exact_cosine_decay(t, lr, T_max, eta_min=0.0):
    return exact_cosine(min(t, T_max), lr, T_max, eta_min)


def exact_warm_restarts(t, lr, T_0, T_mult=1, eta_min=0.0):
    length = T_0
    if T_mult == 1:
        t %= T_0
    while t >= length:
        t, length = t - length, length * T_mult
    return exact_cosine(t, lr, length, eta_min)


def exact_cyclic(t, base_lr, max_lr, step_size_up=2000, step_size_down=None, **options):
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


def exact_cyclic_momentum(t, base_momentum=0.8, max_momentum=0.9, **options):
    return exact_cyclic(t, max_momentum, base_momentum, **options)


def exact_phases(t, levels, total_steps, pct_start=0.3, anneal_strategy="cos"):
    t, rise = min(t, total_steps - 1), float(pct_start * total_steps)
    ends = [rise - 1, 2 * rise - 2, total_steps - 1] if len(levels) == 4 else None
    ends = ends or [rise - 1, total_steps - 1]
    i = next((i for i, end in enumerate(ends) if t <= end), len(ends) - 1)
    start = D(ends[i - 1]) if i else D(0)
    pct = (t - start) / (D(ends[i]) - start)
    weight = (1 + cos(PI * pct)) / 2 if anneal_strategy == "cos" else 1 - pct
    return levels[i + 1] + (levels[i] - levels[i + 1]) * weight


def exact_one_cycle(t, max_lr, div_factor=25.0, final_div_factor=1e4, three_phase=False, **options):
    peak, initial = D(max_lr), D(max_lr) / D(div_factor)
    final = initial / D(final_div_factor)
    levels = [initial, peak, initial, final] if three_phase else [initial, peak, final]
    return exact_phases(t, levels, **options)


def exact_one_cycle_momentum(
    t, base_momentum=0.85, max_momentum=0.95, three_phase=False, **options
):
    low, high = D(base_momentum), D(max_momentum)
    return exact_phases(t, [high, low, high, high] if three_phase else [high, low, high], **options)


def exact_sequential(t, lr, parts, milestones):
    i = bisect_right(milestones, t)
    name, options = parts[i]
    return EXACT[name](t - (milestones[i - 1] if i else 0), lr, **options)


def exact_chained(t, lr, parts):
    return D(lr) * math.prod((EXACT[name](t, 1, **options) for name, options in parts), start=D(1))


EXACT = {
    "LambdaLR": exact_lambda,
    "MultiplicativeLR": exact_multiplicative,
    "StepLR": exact_step,
    "MultiStepLR": exact_multi_step,
    "ConstantLR": exact_constant,
    "LinearLR": exact_linear,
    "ExponentialLR": exact_exponential,
    "PolynomialLR": exact_polynomial,
    "CosineAnnealingLR": exact_cosine,
    "CosineAnnealingWarmRestarts": exact_warm_restarts,
    "CyclicLR": exact_cyclic,
    "CyclicLR momentum": exact_cyclic_momentum,
    "OneCycleLR": exact_one_cycle,
    "OneCycleLR momentum": exact_one_cycle_momentum,
    "SequentialLR": exact_sequential,
    "ChainedScheduler": exact_chained,
}

# --- ours and torch's, from the same settings ---------------------------------------------------

STEPS = 10_000
OURS = {
    "LambdaLR": s.lambda_lr,
    "MultiplicativeLR": functools.partial(s.multiplicative_lr, total_steps=STEPS),
    "StepLR": s.step_lr,
    "MultiStepLR": s.multi_step_lr,
    "ConstantLR": s.constant_lr,
    "LinearLR": s.linear_lr,
    "ExponentialLR": s.exponential_lr,
    "PolynomialLR": s.polynomial_lr,
    "CosineAnnealingLR": s.cosine_annealing_lr,
    "CosineAnnealingWarmRestarts": s.cosine_annealing_warm_restarts,
    "CyclicLR": s.cyclic_lr,
    "CyclicLR momentum": s.cyclic_momentum,
    "OneCycleLR": s.one_cycle_lr,
    "OneCycleLR momentum": s.one_cycle_momentum,
}
RANGES = {"CyclicLR": {"base_lr": 1e-3, "max_lr": 6e-3}, "OneCycleLR": {"max_lr": 6e-3}}


@dataclass(frozen=True)
class Case:
    """One schedule with its settings; `lr` is None where torch ignores the optimizer's own."""

    name: str
    lr: float | None
    settings: dict[str, Any]

    def ours(self) -> s.Schedule:
        if self.name == "SequentialLR":
            parts = [OURS[name](self.lr, **options) for name, options in self.settings["parts"]]
            return s.sequential_lr(parts, milestones=self.settings["milestones"])
        if self.name == "ChainedScheduler":
            factors = [OURS[name](1.0, **options) for name, options in self.settings["parts"]]
            return s.chained_lr(self.lr, factors=factors)
        base = () if self.lr is None else (self.lr,)
        return OURS[self.name](*base, **self.settings)

    def theirs(self, opt: torch.optim.Optimizer) -> torch_schedulers.LRScheduler:
        return make_torch(opt, self.name, self.settings)

    def exact(self, t: int) -> Decimal:
        base = () if self.lr is None else (self.lr,)
        return EXACT[self.name](t, *base, **self.settings)


def make_torch(opt, name: str, settings: dict[str, Any]) -> torch_schedulers.LRScheduler:
    """Make a torch scheduler, and call optimizer.step() as torch wants before scheduler.step()."""
    class_name, _, momentum = name.partition(" ")
    kind = getattr(torch_schedulers, class_name)
    if "parts" in settings:
        parts = [make_torch(opt, part, options) for part, options in settings["parts"]]
        marks = {"milestones": settings["milestones"]} if "milestones" in settings else {}
        made = kind(opt, parts, **marks) if marks else kind(parts, opt)
    elif class_name in RANGES:
        options = {**RANGES[class_name], "cycle_momentum": bool(momentum), **settings}
        made = kind(opt, **options)
    else:
        made = kind(opt, **settings)
    opt.step()
    return made


def run_torch(case: Case, steps: int) -> list[float]:
    """The learning rate, or b1, of each of the first updates."""
    opt = optimizer(case.lr or 1.0)
    scheduler, group = case.theirs(opt), opt.param_groups[0]
    values = []
    for _ in range(steps - 1):
        values.append(group["betas"][0] if "momentum" in case.name else group["lr"])
        scheduler.step()
    values.append(group["betas"][0] if "momentum" in case.name else group["lr"])
    return values


def _inverse(t):
    return 1 / (1 + 0.05 * t)


def _inverse_square(t):
    return 1 / (1 + t) ** 2


def _waves(t):
    return 2.0 - (t % 7) / 8


def _staircase(t):
    return 1.0 / (1 + t // 100)


def _same(t):
    return 1.0


LAMBDAS = [_inverse, _waves, _staircase, _same, lambda t: 0.5 + 0.25 * (t % 2)]
FACTORS = [
    lambda t: 0.9995,
    lambda t: 1 - 1 / (t + 1) ** 2,
    lambda t: 1.0 if t % 1000 else 0.5,
    lambda t: (t + 1) / (t + 2),
    lambda t: 1.001 if t % 2 else 0.999,
]

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "LambdaLR": [{"lr_lambda": function} for function in LAMBDAS],
    "MultiplicativeLR": [{"lr_lambda": function} for function in FACTORS],
    "StepLR": [
        {"step_size": 30},
        {"step_size": 1, "gamma": 0.999},
        {"step_size": 7, "gamma": 1.003},
        {"step_size": 3000, "gamma": 0.5},
        {"step_size": 20_000},
        {"step_size": 11, "gamma": 0.97},
    ],
    "MultiStepLR": [
        {"milestones": [30, 80]},
        {"milestones": [0, 1, 9999], "gamma": 0.7},
        {"milestones": [500, 500, 500, 4000], "gamma": 0.3},
        {"milestones": [8000, 20, 300, 20], "gamma": 0.9},
        {"milestones": [], "gamma": 0.5},
        {"milestones": list(range(100, 10_000, 250)), "gamma": 0.93},
    ],
    "ConstantLR": [
        {},
        {"factor": 0.1, "total_iters": 1},
        {"factor": 1.0, "total_iters": 50},
        {"factor": 0.7, "total_iters": 9999},
        {"factor": 0.25, "total_iters": 20_000},
    ],
    "LinearLR": [
        {},
        {"start_factor": 1e-6, "total_iters": 2000},
        {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 9000},
        {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 1},
        {"start_factor": 0.5, "end_factor": 0.5, "total_iters": 10},
        {"start_factor": 1.0, "end_factor": 1e-5, "total_iters": 30_000},
    ],
    "ExponentialLR": [
        {"gamma": 0.9},
        {"gamma": 0.999},
        {"gamma": 0.99997},
        {"gamma": 1.0},
        {"gamma": 1.0005},
    ],
    "PolynomialLR": [
        {},
        {"total_iters": 9000, "power": 1.0},
        {"total_iters": 3000, "power": 2.0},
        {"total_iters": 20_000, "power": 0.9},
        {"total_iters": 1, "power": 0.5},
        {"total_iters": 700, "power": 0.0},
        {"total_iters": 9999, "power": 3.5},
    ],
    "CosineAnnealingLR": [
        {"T_max": 9999},
        {"T_max": 1000},
        {"T_max": 3000, "eta_min": 1e-5},
        {"T_max": 1, "eta_min": 1e-4},
        {"T_max": 7, "eta_min": 0.5},
        {"T_max": 50_000, "eta_min": 1e-6},
        {"T_max": 2},
    ],
    "CosineAnnealingWarmRestarts": [
        {"T_0": 10},
        {"T_0": 1},
        {"T_0": 1, "T_mult": 2, "eta_min": 1e-5},
        {"T_0": 30, "T_mult": 3},
        {"T_0": 7, "T_mult": 10, "eta_min": 1e-3},
        {"T_0": 20_000, "T_mult": 2},
    ],
    "CyclicLR": [
        {"base_lr": 1e-4, "max_lr": 1e-2},
        {"base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 10, "step_size_down": 30},
        {"base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 300, "mode": "triangular2"},
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 17, "mode": "exp_range", "gamma": 0.9995},
        {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 1, "step_size_down": 6},
        {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 99, "scale_fn": _inverse_square},
        {
            "base_lr": 1e-3,
            "max_lr": 1e-2,
            "step_size_up": 50,
            "scale_fn": _inverse,
            "scale_mode": "iterations",
        },
    ],
    "CyclicLR momentum": [
        {},
        {"base_momentum": 0.85, "max_momentum": 0.95, "step_size_up": 10, "step_size_down": 30},
        {"step_size_up": 300, "mode": "triangular2"},
        {"step_size_up": 17, "mode": "exp_range", "gamma": 0.9995},
        {"base_momentum": 0.0, "max_momentum": 0.99, "step_size_up": 1},
    ],
    "OneCycleLR": [
        {"max_lr": 1e-2, "total_steps": STEPS},
        {"max_lr": 1e-2, "total_steps": STEPS, "three_phase": True},
        {"max_lr": 0.1, "total_steps": STEPS, "pct_start": 0.123, "anneal_strategy": "linear"},
        {
            "max_lr": 0.1,
            "total_steps": 10_001,
            "pct_start": 0.4321,
            "anneal_strategy": "linear",
            "three_phase": True,
            "div_factor": 3.0,
            "final_div_factor": 10.0,
        },
        {"max_lr": 1.0, "total_steps": 12_345, "pct_start": 0.0, "final_div_factor": 1e6},
        {"max_lr": 1.0, "total_steps": STEPS, "pct_start": 1.0, "div_factor": 1.0},
        {"max_lr": 1.0, "total_steps": STEPS, "pct_start": 0.7, "three_phase": True},
    ],
    "OneCycleLR momentum": [
        {"total_steps": STEPS},
        {"total_steps": STEPS, "three_phase": True},
        {"total_steps": STEPS, "pct_start": 0.123, "anneal_strategy": "linear"},
        {"total_steps": STEPS, "base_momentum": 0.0, "max_momentum": 0.9, "pct_start": 0.5},
        {"total_steps": 12_345, "three_phase": True, "anneal_strategy": "linear"},
    ],
    "SequentialLR": [
        {
            "parts": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 20}),
                ("ExponentialLR", {"gamma": 0.999}),
            ],
            "milestones": [20],
        },
        {
            "parts": [
                ("LinearLR", {"start_factor": 0.01, "total_iters": 500}),
                ("CosineAnnealingLR", {"T_max": 9500, "eta_min": 1e-5}),
            ],
            "milestones": [500],
        },
        {
            "parts": [
                ("LinearLR", {}),
                ("MultiStepLR", {"milestones": [0, 100], "gamma": 0.5}),
                ("PolynomialLR", {"total_iters": 3000, "power": 2.0}),
                ("StepLR", {"step_size": 300, "gamma": 0.8}),
            ],
            "milestones": [3, 400, 5000],
        },
        {
            "parts": [
                ("ExponentialLR", {"gamma": 0.5}),
                ("ConstantLR", {"total_iters": 3}),
                ("LinearLR", {}),
            ],
            "milestones": [0, 10],
        },
        {
            "parts": [
                ("StepLR", {"step_size": 2}),
                ("LinearLR", {}),
                ("CosineAnnealingWarmRestarts", {"T_0": 9, "T_mult": 2}),
            ],
            "milestones": [5, 5],
        },
        {
            "parts": [
                ("CosineAnnealingWarmRestarts", {"T_0": 40}),
                ("LambdaLR", {"lr_lambda": _inverse}),
            ],
            "milestones": [130],
        },
    ],
    "ChainedScheduler": [
        {
            "parts": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 20}),
                ("ExponentialLR", {"gamma": 0.999}),
            ]
        },
        {"parts": [("LinearLR", {"total_iters": 100}), ("ExponentialLR", {"gamma": 0.9995})]},
        {
            "parts": [
                ("StepLR", {"step_size": 500, "gamma": 0.9}),
                ("MultiStepLR", {"milestones": [0, 100, 100], "gamma": 0.5}),
                ("MultiplicativeLR", {"lr_lambda": FACTORS[1]}),
            ]
        },
        {"parts": [("LinearLR", {"total_iters": 2000}), ("PolynomialLR", {"total_iters": 9000})]},
        {"parts": [("LinearLR", {"total_iters": 500}), ("CosineAnnealingLR", {"T_max": 20_000})]},
    ],
}
OWN_RANGE = ("CyclicLR", "OneCycleLR")
LEARNING_RATES = (1e-3, 0.1, 3e-4, 1.0, 0.05)
CASES = [
    Case(name, None if name.startswith(OWN_RANGE) else LEARNING_RATES[i % 5], settings)
    for name, rows in SETTINGS.items()
    for i, settings in enumerate(rows)
]
