"""What an engine is given: a formula, fixed, and a batch of parameters to step by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from functional_adam import Algorithm
from functional_adam._leaf import Decay


@dataclasses.dataclass(frozen=True)
class Formula:
    """A rule with decay and direction: all that is decided before numbers are known.

    Hashable: an engine that compiles makes one program of each.

    Attributes:
        algorithm: row of the core's table; its rule is the arithmetic.
        decay: how `weight_decay` acts; "none" where it is zero.
        maximize: ascend.
    """

    algorithm: Algorithm
    decay: Decay
    maximize: bool

    def __hash__(self) -> int:
        return hash((self.algorithm.name, self.decay, self.maximize))

    def directed(self, ops: Any, g: Any) -> Any:
        """The gradient of what is minimized."""
        return ops.neg(g) if self.maximize else g

    def decayed(self, ops: Any, p: Any, g: Any, shrink: Any) -> tuple[Any, Any]:
        """Parameter and directed gradient as the rule is to see them."""
        if self.decay == "coupled":
            g = ops.add_scaled(g, p, shrink)
        if self.decay == "decoupled":
            p = ops.mul_(p, shrink)
        return p, g

    def __call__(
        self, ops: Any, p: Any, g: Any, moments: Any, k: Any, shrink: Any
    ) -> tuple[Any, ...]:
        """One step: the new parameter and moments. `shrink` as in `Batch`."""
        p, g = self.decayed(ops, p, self.directed(ops, g), shrink)
        return self.algorithm.rule.step(ops, p, g, *moments, k)

    def clipped(
        self, ops: Any, p: Any, g: Any, moments: Any, k: Any, shrink: Any, limit: Any
    ) -> tuple[Any, ...]:
        """As a call, the step kept within +-`limit`, as the core does with coded moments.

        Decoupled decay is added to the clipped step, and `shrink` is minus the share it takes.
        """
        u, *moments = self.update(ops, p, g, moments, k, shrink, limit)
        return p + u, *moments

    def update(
        self, ops: Any, p: Any, g: Any, moments: Any, k: Any, shrink: Any, limit: Any
    ) -> tuple[Any, ...]:
        """As `clipped`, what is added to the parameter in place of the sum; limit None: none."""
        g = self.directed(ops, g)
        if self.decay == "coupled":
            g = ops.add_scaled(g, p, shrink)
        u, *moments = self.algorithm.rule.step(ops, torch.zeros_like(g), g, *moments, k)
        u = u if limit is None else _clip(u, limit)
        if self.decay == "decoupled":
            u = ops.add_scaled(u, p, shrink)
        return u, *moments


def _clip(u: Tensor, limit: Any) -> Tensor:
    if isinstance(limit, Tensor):
        return torch.minimum(torch.maximum(u, -limit), limit)
    return u.clamp(-limit, limit)


@dataclasses.dataclass
class Batch:
    """Parameters of one group that have gradients, with what the group says of them.

    Attributes:
        formula: what to compute.
        h: hyperparameters by the core's names: numbers, or 0-d tensors where the user gave such.
        shrink: coefficient of coupled decay, or factor of decoupled decay.
        decays_complex: whether L2 decay sees complex numbers, not their two real parts.
        params: tensors to step, in place.
        grads: their gradients, of the same shapes.
        steps: 0-d float tensors, updates made so far.
        moments: a list like `params` for each of the rule's moments, in its order.
        scalars: name -> 0-d tensors, for each of the rule's scalars.
    """

    formula: Formula
    h: SimpleNamespace
    shrink: Any
    decays_complex: bool
    params: list[Tensor]
    grads: list[Tensor]
    steps: list[Tensor]
    moments: list[list[Tensor]]
    scalars: dict[str, list[Tensor]]

    def in_turn(self) -> list[Batch]:
        """The parts to be stepped one after another; see `turns`."""
        parts = turns(self.params)
        return [self] if len(parts) == 1 else [self.take(part) for part in parts]

    def check_shapes(self, i: int) -> None:
        """Raise ValueError where a moment has not the shape of its parameter."""
        algorithm, p = self.formula.algorithm, self.params[i]
        for field, column in zip(algorithm.rule.moments, self.moments, strict=True):
            if column[i].shape != p.shape:
                raise ValueError(
                    f"{algorithm.torch_state[field]!r} in the state of a parameter must have its "
                    f"shape, {tuple(p.shape)}, got {tuple(column[i].shape)}"
                )

    def take(self, members: Sequence[int]) -> Batch:
        """The part of the batch at these positions, in this order."""

        def pick(column: list[Tensor]) -> list[Tensor]:
            return [column[i] for i in members]

        return dataclasses.replace(
            self,
            params=pick(self.params),
            grads=pick(self.grads),
            steps=pick(self.steps),
            moments=[pick(column) for column in self.moments],
            scalars={name: pick(column) for name, column in self.scalars.items()},
        )


def turns(params: Sequence[Tensor]) -> list[Sequence[int]]:
    """Positions that are stepped together, part after part: all at once, and each alone where a
    parameter is given more than once, which torch warns of.
    """
    every = range(len(params))
    return [[i] for i in every] if len(set(map(id, params))) < len(params) else [every]
