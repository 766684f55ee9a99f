"""The settings in which every schedule is compared: five sets and more of each, by torch's names.

Chosen for the corners: lengths of one step, lengths beyond the end, minima that are not zero,
milestones at 0 and repeated, factors of one, phases of no length.
"""

from __future__ import annotations

from typing import Any

STEPS = 10_000


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
