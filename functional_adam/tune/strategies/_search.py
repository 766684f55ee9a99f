"""What strategies share: a search under way, and positions around its best configuration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..budget import Budget
from ..space import Config, Space
from ..trial import Outcome, Trial

Rounds = Generator[list[Trial], list[Outcome], None]
Strategy = Callable[[Space, Budget, np.random.Generator], Rounds]
"""Yields rounds of trainings and is sent their outcomes.

It depends on nothing else: a study that is resumed runs it again over the outcomes in the log.
"""

DIGITS = 4  # of a proposed hyperparameter; what is lost is far below any noise


@dataclasses.dataclass
class Search:
    """A search under way.

    Attributes:
        space: what is searched; it may be widened.
        budget: what may be spent.
        spent: in full trainings.
        seen: trainings so far, with the validation losses that decide.
    """

    space: Space
    budget: Budget
    spent: float = 0.0
    seen: list[tuple[Trial, float]] = dataclasses.field(default_factory=list)

    def affordable(self, share: float = 1.0) -> int:
        """How many more trainings of this share of a full one the budget pays."""
        cost = self.budget.length(share) / self.budget.steps
        return max(0, math.floor((self.budget.runs - self.spent) / cost + 1e-9))

    def run(
        self, configs: Sequence[Config], share: float = 1.0
    ) -> Generator[list[Trial], list[Outcome], list[float]]:
        """One round, cut to what the budget pays; returns validation losses in this order."""
        steps = self.budget.length(share)
        kept = list(configs)[: self.affordable(share)]
        if not kept:
            return []
        trials = [Trial(config, self.budget.seed, steps, steps) for config in kept]
        outcomes = yield trials
        # Fewer digits than the noise of any kernel: who wins does not hang on the last bit.
        losses = [float(f"{outcome.validation:.5g}") for outcome in outcomes]
        self.seen += zip(trials, losses, strict=True)
        self.spent += len(trials) * steps / self.budget.steps
        return losses

    def best(self, count: int = 1) -> list[Config]:
        """The best configurations of the longest trainings, the default where there are none."""
        if not self.seen:
            return [self.space.default()]
        longest = max(trial.steps for trial, _ in self.seen)
        order = sorted(
            (loss, i) for i, (trial, loss) in enumerate(self.seen) if trial.steps == longest
        )
        return [self.seen[i][0].config for _, i in order[:count]]


def position(space: Space, config: Config) -> np.ndarray:
    """Where a configuration lies, moved to the border from outside."""
    return np.clip(space.to_unit(config)[0], 0, 1)


def at(space: Space, base: np.ndarray, moves: Mapping[str, float]) -> Config:
    """The configuration at a position whose named coordinates are replaced."""
    row = base.copy()
    for name, u in moves.items():
        row[space.names.index(name)] = u
    return configs_at(space, row[None])[0]


def configs_at(space: Space, positions: np.ndarray) -> list[Config]:
    """Configurations at positions (n, d), with a few digits."""
    return [tidy(space, config) for config in space.from_unit(np.clip(positions, 0, 1))]


def tidy(space: Space, config: Config) -> Config:
    """Searched numbers with four digits (of 1 - b where that is the scale)."""
    out: dict[str, Any] = dict(config)
    for d in space.dimensions:
        value = out[d.name]
        if d.scale == "log_one_minus":
            complement = float(f"{1 - value:.{DIGITS}g}")
            out[d.name] = d.within(float(f"{1 - complement:.12g}"))
        elif d.scale != "choice":
            out[d.name] = d.within(float(f"{value:.{DIGITS}g}"))
    return out


def halton(space: Space, count: int, rng: np.random.Generator) -> np.ndarray:
    """Scrambled quasi-random positions (count, d) in the whole space."""
    from scipy.stats import qmc

    return qmc.Halton(len(space), scramble=True, rng=rng).random(count)


def inside(space: Space, points: np.ndarray, around: np.ndarray, half: Mapping[str, float]):
    """Move points of the unit cube into a box, half[name] to each side; choices stay free."""
    low, high = np.zeros(len(space)), np.ones(len(space))
    for i, d in enumerate(space.dimensions):
        if d.name in half and d.scale != "choice":
            low[i] = max(0.0, around[i] - half[d.name])
            high[i] = min(1.0, around[i] + half[d.name])
    return low + points * (high - low)
