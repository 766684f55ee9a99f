"""What a search may cost, and the seeds it trains with."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._dimension import plain

LEAST = 6  # full trainings: a fan of learning rates has at least six points
MOST = 10**6  # full trainings: a strategy draws the points of a stage at once
FRESH = 4  # seeds of the baseline and, from LARGE on, of the confirmation
LARGE = 32  # full trainings from which four configurations are confirmed on four seeds


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a strategy may spend.

    Attributes:
        runs: cost of all its trainings together, in full trainings.
        steps: of a full training.
        seed: of weights and batches, the same for every configuration.
        half: whether parameters are in 16 bits.
    """

    runs: float
    steps: int
    seed: int = 0
    half: bool = False

    def length(self, share: float) -> int:
        """Steps of a training of this share of a full one; at least one."""
        return max(1, round(share * self.steps))


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a study divides its budget between search and confirmation.

    Attributes:
        runs: all of it, in full trainings; the baseline and the held-out figure come on top.
        steps: of a full training.
        seed: of the study.
        half: whether parameters are in 16 bits.
    """

    runs: float
    steps: int
    seed: int
    half: bool = False

    def __post_init__(self) -> None:
        for field in ("runs", "steps", "seed"):  # a log holds numbers of Python
            object.__setattr__(self, field, plain(getattr(self, field)))
        if not (isinstance(self.runs, int | float) and LEAST <= self.runs <= MOST):
            raise ValueError(
                f"budget must be a number of full trainings in [{LEAST}, {MOST}], got {self.runs!r}"
            )
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {self.seed!r}")

    @property
    def finalists(self) -> int:
        """How many configurations are trained again."""
        return 4 if self.runs >= LARGE else 2

    @property
    def confirmations(self) -> int:
        """On how many fresh seeds they are."""
        return FRESH if self.runs >= LARGE else 2

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed of the search, then the fresh ones."""
        words = np.random.SeedSequence(self.seed).generate_state(1 + FRESH)
        return tuple(int(word) >> 1 for word in words)

    @property
    def fresh(self) -> tuple[int, ...]:
        """Seeds that the search has not seen, all of which the baseline is trained on."""
        return self.seeds[1:]

    @property
    def search(self) -> Budget:
        """What is left for the strategy."""
        runs = self.runs - self.finalists * self.confirmations
        return Budget(runs, self.steps, self.seeds[0], self.half)
