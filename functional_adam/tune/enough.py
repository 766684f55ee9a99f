"""Was enough sampled? How the best of k trainings would have grown with k, by resampling."""

from __future__ import annotations

import dataclasses

import numpy as np

RESAMPLES = 1000
FLAT = 0.02  # relative gain from half of the trainings to all below which the search is at its end


@dataclasses.dataclass(frozen=True)
class Growth:
    """The best of k trainings drawn from those of a search, with replacement.

    Attributes:
        counts: k.
        median: of the best loss.
        low: its lower fifth.
        high: its upper fifth.
    """

    counts: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def gain(self) -> float:
        """Relative fall of the median from half of the trainings to all; NaN of fewer than four."""
        if len(self.counts) < 4:
            return float("nan")
        half, whole = self.median[len(self.counts) // 2 - 1], self.median[-1]
        return float((half - whole) / abs(half)) if half else 0.0


def growth(losses: np.ndarray, seed: int = 0) -> Growth:
    """Resample losses (n,) a thousand times for every k up to n."""
    drawn = np.random.default_rng(seed).choice(losses, (RESAMPLES, len(losses)))
    best = np.minimum.accumulate(drawn, axis=1)
    low, median, high = np.quantile(best, (0.2, 0.5, 0.8), axis=0)
    return Growth(np.arange(1, len(losses) + 1), median, low, high)
