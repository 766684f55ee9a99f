"""What is asked of the engine, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .space import Config


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training run.

    Attributes:
        config: hyperparameters; see `Config`.
        seed: of the initial weights, the batches and the loss's keys; trials with the same seed
            have the same of all.
        steps: how many are trained now.
        of: length of the run that the schedule is laid out for, at least `steps`.

    Examples:
        >>> tune.Trial({"learning_rate": 1e-3}, seed=0, steps=30, of=100).steps
        30
    """

    config: Config
    seed: int
    steps: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= self.of:
            raise ValueError(
                f"a Trial must have 1 <= steps <= of, got steps={self.steps}, of={self.of}"
            )
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed of a Trial must be in [0, 2**31), got {self.seed}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        trial: what was asked.
        validation: mean loss on validation data after the last step; of a diverged run half as
            much again as the loss before the first step, so that it is finite and ranks last.
        diverged: NaN, infinity or explosion.
        curve: (steps, validation loss), from step 0; not finite where the run was not.
        metrics: the task's metrics after the last step.
        seconds: its share of the time that was computed.
        steps: how many were trained: fewer than asked where it diverged or was stopped.
        stopped: whether a stop rule ended it early.
        params: final parameters, as NumPy arrays, where they were asked for.
    """

    trial: Trial
    validation: float
    diverged: bool
    curve: list[tuple[int, float]]
    metrics: Mapping[str, float]
    seconds: float
    steps: int
    stopped: bool = False
    params: Any = None


@dataclasses.dataclass(frozen=True)
class StopRule:
    """Successive halving: after each rung, only the best go on.

    Attributes:
        rungs: steps after which the trials of a call are compared, ascending.
        keep: share that goes on, in (0, 1); at least one does.

    Reference: Jamieson and Talwalkar 2016, Algorithm 1, https://arxiv.org/abs/1502.07943
    """

    rungs: tuple[int, ...]
    keep: float = 1 / 3

    def __post_init__(self) -> None:
        if list(self.rungs) != sorted(set(self.rungs)) or not self.rungs or self.rungs[0] < 1:
            raise ValueError(f"rungs must be ascending steps >= 1, got {self.rungs}")
        if not 0 < self.keep < 1:
            raise ValueError(f"keep must be in (0, 1), got {self.keep}")
