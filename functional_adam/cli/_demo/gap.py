"""How far the parameters of a run are from those of torch.optim, step by step."""

from __future__ import annotations

import numpy as np


class Gap:
    """Differences of one run from torch.optim's: every figure is zero where the runs are equal."""

    def __init__(self) -> None:
        self._differences: list[np.ndarray] = []
        self._ulps: list[np.ndarray] = []
        self._reach = 0.0
        self.moments_ulp: float | None = None
        self.validation_loss: float | None = None

    def record(self, parameters: np.ndarray, reference: np.ndarray, start: np.ndarray) -> None:
        """Add the steps of a chunk; arrays are (steps, weights), `start` is (weights,)."""
        self._differences.append(_largest(parameters, reference))
        self._ulps.append(self._differences[-1] / ulp(reference))
        self._reach = max(self._reach, float(_largest(reference, start).max()))

    def record_moments(self, ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
        """Compare the moments after the last step."""
        ulps = [
            _largest(a[None], b[None]) / ulp(b[None]) for a, b in zip(ours, theirs, strict=True)
        ]
        self.moments_ulp = float(np.max(ulps))

    @property
    def differences(self) -> np.ndarray:
        """Largest difference of any parameter, after each step."""
        return np.concatenate(self._differences)

    @property
    def ulp(self) -> float:
        """Largest difference over the run, in ulp of the largest parameter of its step."""
        return float(np.max(np.concatenate(self._ulps)))

    @property
    def relative(self) -> float:
        """Largest difference over the run, as a share of the longest way of any parameter."""
        return float(np.max(self.differences)) / self._reach


def ulp(values: np.ndarray) -> np.ndarray:
    """Spacing of floating-point numbers at the largest |value| of each row."""
    return np.spacing(np.abs(values).max(axis=1)).astype(np.float64)


def _largest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # A broken rule may well overflow: that is for the verdict to say, not for a warning.
    with np.errstate(all="ignore"):
        return np.abs(a - b).max(axis=1).astype(np.float64)
