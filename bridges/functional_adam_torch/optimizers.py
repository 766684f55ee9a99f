"""The classes: torch.optim's constructors, options and state, with the core's arithmetic.

Each is a subclass of its namesake, so signature, defaults, checks, param groups, hooks and
state_dicts are torch's own; only `step` is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from functional_adam import ALGORITHMS, Algorithm

from ._step import step_group


class _RuleStep(torch.optim.Optimizer):
    """Replaces the arithmetic of a torch optimizer by a rule of functional_adam."""

    coupled: str
    decoupled: str

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore
        """Take one step and return the closure's loss, if one is given.

        Args:
            closure: re-evaluates the model and returns the loss; run with gradients enabled.

        Raises:
            RuntimeError: sparse gradients, or an option without an engine.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            step_group(self._algorithm(group), group, self.state)
        return loss

    def _algorithm(self, group: dict[str, Any]) -> Algorithm:
        return ALGORITHMS[self.decoupled if group["decoupled_weight_decay"] else self.coupled]


class Adam(_RuleStep, torch.optim.Adam):
    """`torch.optim.Adam`, and AMSGrad with `amsgrad=True`, by `functional_adam`'s rules."""

    coupled, decoupled = "adam", "adamw"

    def _algorithm(self, group: dict[str, Any]) -> Algorithm:
        if not group["amsgrad"]:
            return super()._algorithm(group)
        return ALGORITHMS["amsgradw" if group["decoupled_weight_decay"] else "amsgrad"]


class AdamW(Adam, torch.optim.AdamW):
    """`torch.optim.AdamW` by `functional_adam`'s rules."""


class NAdam(_RuleStep, torch.optim.NAdam):
    """`torch.optim.NAdam` by `functional_adam`'s rules."""

    coupled, decoupled = "nadam", "nadamw"


class RAdam(_RuleStep, torch.optim.RAdam):
    """`torch.optim.RAdam` by `functional_adam`'s rules."""

    coupled, decoupled = "radam", "radamw"


class Adamax(_RuleStep, torch.optim.Adamax):
    """`torch.optim.Adamax` by `functional_adam`'s rules."""

    coupled = "adamax"

    def _algorithm(self, group: dict[str, Any]) -> Algorithm:
        return ALGORITHMS[self.coupled]
