"""Colours, and axes on the scales of hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TUNED, UNTUNED, OTHER, BAD = "#1F6FB4", "#8A8A8A", "#7FB2DB", "#C0392B"


def value_on_axis(d: Any, config: Any) -> float:
    """What a dimension's axis shows: 1 - b, a product with the rate, an index of a choice."""
    value = config[d.name]
    if d.scale == "choice":
        return float(d.choices.index(value)) if value in d.choices else float("nan")
    if d.scale == "log_one_minus":
        return 1 - value
    return value * config[d.per] if d.per else value


def label_of(d: Any) -> str:
    """Of that axis."""
    if d.scale == "log_one_minus":
        return f"1 - {d.name}"
    return f"{d.per} x {d.name}" if d.per else d.name


def ends_of(d: Any) -> tuple[float, float]:
    """Of the range, on that axis."""
    if d.scale == "choice":
        return -0.5, len(d.choices) - 0.5
    return (1 - d.high, 1 - d.low) if d.scale == "log_one_minus" else (d.low, d.high)


def scale_axis(axes: Any, d: Any) -> None:
    """Set up the horizontal axis."""
    if d.scale == "choice":
        axes.set_xticks(range(len(d.choices)), [str(c) for c in d.choices])
    elif d.scale != "linear":
        axes.set_xscale("log")
    axes.set_xlabel(label_of(d))


def scale_losses(axes: Any, losses: Sequence[float]) -> None:
    """A log axis for losses where they are positive, cut where only diverged ones are."""
    values = np.array([x for x in losses if np.isfinite(x)])
    if len(values) and (values > 0).all():
        axes.set_yscale("log")
        number_losses(axes.yaxis, values.max() / values.min())
    axes.set_ylabel("validation loss")


def number_losses(axis: Any, ratio: float) -> None:
    """Numbers on a log axis: of a narrow range the usual ticks leave one, or none."""
    axis.set_major_formatter(_plain())
    axis.set_minor_formatter(_none())
    if ratio < 12:
        axis.set_major_locator(_round())
    elif ratio < 300:
        axis.set_major_locator(_one_two_five())


def _plain() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda x, _: f"{x:g}")


def _round() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])


def _one_two_five() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 2, 5))


def _none() -> Any:
    from matplotlib.ticker import NullFormatter

    return NullFormatter()
