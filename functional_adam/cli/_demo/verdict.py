"""When parity is broken: the bounds, where they come from, and what exceeds them.

Measured with float32 and float64, ten seeds, 1 to 10,000 steps. On the same gradients the bridge is
bit-equal, JAX's moments are bit-equal and its parameters within 3 ulp of max|p| (5 after 10,000
steps). With its own gradients JAX was at most 15 times as far from torch.optim as a torch.optim run
from weights one ulp away, in validation loss at most 13 times. Each bound is about 4 times the
worst.
"""

from __future__ import annotations

import numpy as np

from .compare import Comparison
from .ways import BRIDGE, JAX, YARDSTICK

SAME_ULPS = 12.0
OWN_YARDSTICKS = 64.0


def own_bounds(comparison: Comparison) -> tuple[float, float]:
    """Largest allowed difference of JAX with its own gradients: ulp of max|p|, nats."""
    yardstick, losses = comparison.own[YARDSTICK], comparison.curves[YARDSTICK]
    assert yardstick.validation_loss is not None
    # Losses are computed in float64: below its own rounding nothing can be said.
    loss = max(yardstick.validation_loss, float(np.finfo(np.float64).eps) * max(losses))
    return OWN_YARDSTICKS * yardstick.ulp, OWN_YARDSTICKS * loss


def broken(comparison: Comparison) -> list[str]:
    """One line for each figure beyond its bound; none where parity holds."""
    same, own = comparison.same, comparison.own
    own_bound, loss_bound = own_bounds(comparison)
    figures = [
        ("same gradients, torch bridge, parameters", "ulp of max|p|", same[BRIDGE].ulp, 0.0),
        ("same gradients, torch bridge, moments", "ulp of max|m|", same[BRIDGE].moments_ulp, 0.0),
        ("same gradients, JAX, parameters", "ulp of max|p|", same[JAX].ulp, SAME_ULPS),
        ("same gradients, JAX, moments", "ulp of max|m|", same[JAX].moments_ulp, SAME_ULPS),
        ("own gradients, torch bridge, parameters", "ulp of max|p|", own[BRIDGE].ulp, 0.0),
        ("own gradients, JAX, parameters", "ulp of max|p|", own[JAX].ulp, own_bound),
        ("own gradients, JAX, validation loss", "nats", own[JAX].validation_loss, loss_bound),
    ]
    return [
        f"{comparison.algorithm.name}: {what}: {_with_unit(figure, unit)}, "
        f"bound {_with_unit(limit, unit)}"
        for what, unit, figure, limit in figures
        # Not "figure > limit": NaN is broken too.
        if figure is None or not figure <= limit
    ]


def _with_unit(figure: float | None, unit: str) -> str:
    return "not measured" if figure is None else f"{figure:.3g} {unit}"
