"""The cases: a schedule with its settings, ours, torch's, optax's and exactly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from functional_adam import schedules as s

from .exact import exact
from .in_torch import make_torch, run_torch
from .settings import SETTINGS, STEPS

OURS: dict[str, Callable[..., s.Schedule]] = {
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


@dataclass(frozen=True)
class Case:
    """One schedule with its settings; `lr` is None where torch ignores the optimizer's own."""

    name: str
    lr: float | None
    settings: dict[str, Any]

    @property
    def _base(self) -> tuple[float, ...]:
        return () if self.lr is None else (self.lr,)

    def ours(self) -> s.Schedule:
        """Our function of the count."""
        if self.name == "SequentialLR":
            parts = [OURS[name](*self._base, **options) for name, options in self.settings["parts"]]
            return s.sequential_lr(parts, milestones=self.settings["milestones"])
        if self.name == "ChainedScheduler":
            factors = [OURS[name](1.0, **options) for name, options in self.settings["parts"]]
            return s.chained_lr(*self._base, factors=factors)
        return OURS[self.name](*self._base, **self.settings)

    def theirs(self, opt: torch.optim.Optimizer) -> LRScheduler:
        """Make the scheduler of torch for an optimizer."""
        return make_torch(opt, self.name, self.settings)

    def run_torch(self, steps: int) -> list[float]:
        """Values of torch at the first updates."""
        return run_torch(self.name, self.lr, self.settings, steps)

    def exact(self, t: int) -> Decimal:
        """The value at count t, in 80 digits."""
        return exact(self.name, t, *self._base, **self.settings)


OWN_RANGE = ("CyclicLR", "OneCycleLR")
LEARNING_RATES = (1e-3, 0.1, 3e-4, 1.0, 0.05)
CASES = [
    Case(name, None if name.startswith(OWN_RANGE) else LEARNING_RATES[i % 5], settings)
    for name, rows in SETTINGS.items()
    for i, settings in enumerate(rows)
]
