"""What the tables of the report are made of: rows in groups, the worst of many, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from .figures import Figures
from .rows import Row


def groups(rows: Iterable[Row], key: Callable[[Row], tuple]) -> dict[tuple, list[Row]]:
    """Rows by their key, in the order in which keys come."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def worst(many: list[Figures]) -> Figures:
    """The largest of each figure; one that is no number is worse than all others."""
    names = dict.fromkeys(name for figures in many for name in figures)
    return {name: float(np.max([f[name] for f in many if name in f])) for name in names}


def of(figures: Figures, names: tuple[str, ...]) -> list[float]:
    """Those of the named figures that were measured."""
    return [figures[name] for name in names if name in figures]


def text(values: list[float]) -> str:
    """The largest, in at most seven characters; a dash where nothing was measured."""
    if not values:
        return "-"
    value = float(np.max(values))
    if not math.isfinite(value):
        return f"{value}"
    if value == 0 or 0.01 <= value < 1000:
        return f"{value:.3g}"
    return f"{value:.1e}"
