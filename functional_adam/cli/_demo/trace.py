"""What a run leaves behind for each chunk of steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Trace(NamedTuple):
    """Recorded after each step of a chunk."""

    parameters: np.ndarray  # (steps, weights)
    seconds: float
    gradients: np.ndarray | None = None  # (steps, weights)
