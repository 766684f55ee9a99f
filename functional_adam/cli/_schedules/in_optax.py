"""What optax has in place of a scheduler of torch, for those settings that it can express."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import optax

_MANY = 16  # restarts; each is a schedule of its own in optax


def _step(lr: float, step_size: int, gamma: float = 0.1) -> Any:
    return optax.exponential_decay(lr, step_size, gamma, staircase=True)


def _multi_step(lr: float, milestones: list[int], gamma: float = 0.1) -> Any:
    scales = {m: gamma**times for m, times in Counter(milestones).items()}
    return optax.piecewise_constant_schedule(lr, scales)


def _constant(lr: float, factor: float = 1 / 3, total_iters: int = 5) -> Any:
    return optax.piecewise_constant_schedule(lr * factor, {total_iters: 1 / factor})


def _linear(
    lr: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Any:
    return optax.linear_schedule(lr * start_factor, lr * end_factor, total_iters)


def _exponential(lr: float, gamma: float) -> Any:
    return optax.exponential_decay(lr, 1, gamma)


def _polynomial(lr: float, total_iters: int = 5, power: float = 1.0) -> Any:
    return optax.polynomial_schedule(lr, 0.0, power, total_iters)


def _cosine(lr: float, T_max: int, eta_min: float = 0.0) -> Any:
    return optax.cosine_decay_schedule(lr, T_max, alpha=eta_min / lr)


def _warm_restarts(lr: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Any:
    lengths = [T_0]
    while sum(lengths) < 10_000 and len(lengths) <= _MANY:
        lengths.append(lengths[-1] * T_mult)
    if len(lengths) > _MANY:
        return None
    return optax.sgdr_schedule(
        [
            dict(init_value=lr, peak_value=lr, warmup_steps=0, decay_steps=n, end_value=eta_min)
            for n in lengths
        ]
    )


def _one_cycle(
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    three_phase: bool = False,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Any:
    # optax has the cosine in two phases and the line in three, none of them of no length.
    if three_phase != (anneal_strategy == "linear") or not 0 < pct_start < 1 - three_phase / 2:
        return None
    if three_phase:
        return optax.linear_onecycle_schedule(
            total_steps, max_lr, pct_start, 2 * pct_start, div_factor, final_div_factor
        )
    return optax.cosine_onecycle_schedule(
        total_steps, max_lr, pct_start, div_factor, final_div_factor
    )


def _sequential(lr: float, parts: list[tuple[str, dict[str, Any]]], milestones: list[int]) -> Any:
    pieces = [in_optax(name, lr, options) for name, options in parts]
    return None if None in pieces else optax.join_schedules(pieces, milestones)


_MAKERS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "LambdaLR": ("any function", lambda lr, lr_lambda: lambda count: lr * lr_lambda(count)),
    "StepLR": ("exponential_decay(staircase=True)", _step),
    "MultiStepLR": ("piecewise_constant_schedule", _multi_step),
    "ConstantLR": ("piecewise_constant_schedule", _constant),
    "LinearLR": ("linear_schedule", _linear),
    "ExponentialLR": ("exponential_decay", _exponential),
    "PolynomialLR": ("polynomial_schedule", _polynomial),
    "CosineAnnealingLR": ("cosine_decay_schedule", _cosine),
    "CosineAnnealingWarmRestarts": ("sgdr_schedule", _warm_restarts),
    "OneCycleLR": ("cosine_onecycle_schedule, linear_onecycle_schedule", _one_cycle),
    "SequentialLR": ("join_schedules", _sequential),
}

NAMES: Mapping[str, str] = {name: theirs for name, (theirs, _) in _MAKERS.items()}
"""The class in torch -> the function in optax."""


def in_optax(name: str, lr: float | None, settings: Mapping[str, Any]) -> Any:
    """Return optax's schedule, or None where it has none for these settings."""
    if name not in _MAKERS:
        return None
    base = () if lr is None else (lr,)
    return _MAKERS[name][1](*base, **settings)
