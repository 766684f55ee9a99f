"""The figures of all optimizers: as a table for the terminal and as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from rich.table import Table

from functional_adam import __version__

from .compare import Comparison
from .gap import Gap
from .verdict import SAME_ULPS, broken, own_bounds
from .ways import BRIDGE, JAX, TORCH, YARDSTICK

TITLE = "The same network, trained three ways"
CAPTION = (
    "Differences are those of the parameters from torch.optim's, the largest at any step: in ulp "
    "of max|p|, and as a share of the longest way any parameter went. Same gradients: those of "
    "the torch.optim run. The last row of each optimizer is the yardstick for own gradients: what "
    "one ulp in the initial weights does."
)
KEYS = {TORCH: "torch_optim", BRIDGE: "torch_bridge", JAX: "jax", YARDSTICK: "one_ulp_away"}


def _difference(gap: Gap | None) -> str:
    if gap is None:
        return ""
    return "0" if gap.ulp == 0 else f"{gap.ulp:.1f} ({gap.relative:.0e})"


Column = tuple[str, Callable[[Comparison, str], str]]
LOSSES: list[Column] = [
    ("train\nloss", lambda c, way: f"{c.endings[way].train_loss:.6f}"),
    ("validation\nloss", lambda c, way: f"{c.endings[way].validation_loss:.6f}"),
    ("test\naccuracy", lambda c, way: f"{c.endings[way].test_accuracy:.2%}"),
]
DIFFERENCES: list[Column] = [
    ("same gradients\nulp (relative)", lambda c, way: _difference(c.same.get(way))),
    ("own gradients\nulp (relative)", lambda c, way: _difference(c.own.get(way))),
]
SPEED: Column = ("steps/s", lambda c, way: f"{c.endings[way].steps_per_second:,.0f}")


def table(comparisons: Sequence[Comparison]) -> list[Table]:
    """Four rows for each optimizer: the three ways to train, and the yardstick."""
    whole = _table(comparisons, [*LOSSES, *DIFFERENCES, SPEED])
    whole.title = TITLE
    whole.caption = f"{CAPTION} Steps per second are those of this run, not a benchmark."
    return [whole]


def narrow_tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """The same in two, without the speeds."""
    parts = [_table(comparisons, LOSSES), _table(comparisons, DIFFERENCES)]
    parts[0].title, parts[1].caption = TITLE, f"{CAPTION} Steps per second are in demo.json."
    return parts


def _table(comparisons: Sequence[Comparison], columns: Sequence[Column]) -> Table:
    grid = Table(caption_justify="left")
    for heading in ("optimizer", "trained by"):
        grid.add_column(heading, no_wrap=True)
    for heading, _ in columns:
        grid.add_column(heading, justify="right", no_wrap=True)
    for comparison in comparisons:
        name = comparison.algorithm.name
        failed = bool(broken(comparison))
        for way in comparison.endings:
            grid.add_row(
                f"{name} [red]BROKEN[/red]" if failed and way == TORCH else name,
                way,
                *(cell(comparison, way) for _, cell in columns),
                style="dim" if way == YARDSTICK else None,
                end_section=way == YARDSTICK,
            )
            name, failed = "", False
    return grid


def as_json(comparisons: Sequence[Comparison], *, dtype: str, seed: int) -> bytes:
    """Everything in the table, the bounds, and what it was measured with."""
    content = {
        "steps": comparisons[0].steps,
        "dtype": dtype,
        "seed": seed,
        "versions": {
            "functional_adam": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("jax", "torch", "numpy", "scikit-learn")},
        },
        "machine": platform.machine(),
        "optimizers": {row.algorithm.name: _row(row) for row in comparisons},
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _row(comparison: Comparison) -> dict[str, Any]:
    own_bound, loss_bound = own_bounds(comparison)
    failures = broken(comparison)
    return {
        "torch": f"torch.optim.{comparison.algorithm.torch_class}",
        "hyperparameters": dict(comparison.hyperparameters),
        "runs": {
            KEYS[way]: {
                "train_loss": _finite(ending.train_loss),
                "validation_loss": _finite(ending.validation_loss),
                "test_accuracy": ending.test_accuracy,
                "steps_per_second": ending.steps_per_second,
            }
            for way, ending in comparison.endings.items()
        },
        "same_gradients": {
            KEYS[way]: _gap(gap) | {"moments_ulp": _finite(gap.moments_ulp)}
            for way, gap in comparison.same.items()
        },
        "own_gradients": {
            KEYS[way]: _gap(gap) | {"validation_loss": _finite(gap.validation_loss)}
            for way, gap in comparison.own.items()
        },
        "bounds": {
            "same_gradients_ulp": SAME_ULPS,
            "own_gradients_ulp": _finite(own_bound),
            "own_gradients_validation_loss": _finite(loss_bound),
        },
        "parity": not failures,
        "broken": failures,
    }


def _gap(gap: Gap) -> dict[str, float | None]:
    return {"ulp": _finite(gap.ulp), "relative": _finite(gap.relative)}


def _finite(x: float | None) -> float | None:
    """JSON has neither NaN nor infinity: null."""
    return x if x is not None and math.isfinite(x) else None
