"""Validation loss against one hyperparameter at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cautions import edges
from ._axes import BAD, OTHER, TUNED, ends_of, scale_axis, scale_losses, value_on_axis

SLICES = 8


def isolation(study: Any) -> tuple[Any, str] | None:
    """A panel for each hyperparameter, with the best of each slice of its range."""
    from matplotlib.figure import Figure

    outcomes = _longest(study)
    if len(outcomes) < 4:
        return None
    count = len(study.space.dimensions)
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows))
    for i, d in enumerate(study.space.dimensions):
        _panel(figure.add_subplot(rows, columns, i + 1), study, d, outcomes)
    steps, full = outcomes[0].trial.steps, study.plan.steps
    star = "" if steps == full else f" after {full} steps, so that it may lie below all points"
    return figure, (
        f"Each training of {steps} steps in the search against one hyperparameter, the others "
        "being what they were. The line joins the best of each slice of the range: a valley says "
        "where to look, a flat line that it matters little. Crosses diverged; the star was chosen, "
        f"at its loss on fresh seeds{star}; the shaded tenths at both ends are the edge of the "
        "range, beyond which the best may lie."
    )


def fan_picture(study: Any) -> tuple[Any, str] | None:
    """Short trainings at many learning rates, all else at the default."""
    from matplotlib.figure import Figure

    if "learning_rate" not in study.space.names:
        return None
    d = study.space["learning_rate"]
    default = study.space.default()
    fan = [o for o in study.searched if _differs_in_rate_only(o.trial.config, default, study)]
    shortest = min((o.trial.steps for o in fan), default=0)
    fan = sorted(
        (o for o in fan if o.trial.steps == shortest), key=lambda o: o.trial.config[d.name]
    )
    if len(fan) < 4:
        return None
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.add_subplot()
    good = [o for o in fan if not o.diverged]
    axes.plot([o.trial.config[d.name] for o in good], [o.validation for o in good], "o-", c=TUNED)
    _crosses(axes, d, [o for o in fan if o.diverged])
    scale_axis(axes, d)
    scale_losses(axes, [o.validation for o in fan])
    return figure, (
        f"{len(fan)} learning rates, each trained for {shortest} steps with its own schedule, all "
        "else at the defaults. Crosses diverged."
    )


def _panel(axes: Any, study: Any, d: Any, outcomes: list[Any]) -> None:
    good = [o for o in outcomes if not o.diverged]
    if d.scale != "choice":
        _shade(axes, d)  # first: of one point alone a log axis has no range
    xs = np.array([value_on_axis(d, o.trial.config) for o in good])
    ys = np.array([o.validation for o in good])
    axes.scatter(xs, ys, s=22, color=OTHER, zorder=2)
    _crosses(axes, d, [o for o in outcomes if o.diverged])
    best_x, best_y = _slices(d, xs, ys)
    axes.plot(best_x, best_y, color=TUNED, lw=1.4, zorder=3)
    scale_axis(axes, d)
    scale_losses(axes, [o.validation for o in outcomes])
    _mark_best(axes, study, d)


def _slices(d: Any, xs: np.ndarray, ys: np.ndarray) -> tuple[list[float], list[float]]:
    """The best point of each of equal slices of the axis, from left to right."""
    low, high = ends_of(d)
    log = d.scale in ("log", "log_one_minus")
    at = np.log(np.maximum(xs, 1e-300)) if log else xs
    ends = np.log([low, high]) if log else np.array([low, high])
    count = len(d.choices) if d.scale == "choice" else SLICES
    number = np.floor((at - ends[0]) / (ends[1] - ends[0]) * count)
    best = [np.flatnonzero(number == k)[np.argmin(ys[number == k])] for k in np.unique(number)]
    return [float(xs[i]) for i in best], [float(ys[i]) for i in best]


def _mark_best(axes: Any, study: Any, d: Any) -> None:
    try:
        best = study.best
    except ValueError:
        return
    if best.is_default:
        return
    x = value_on_axis(d, best.config)
    axes.plot([x], [best.validation], "*", color=TUNED, ms=15, mec="white", zorder=4)
    if d.name in edges(study.space, best.config):
        axes.set_title(f"{d.name}: chosen at the edge", color=BAD, fontsize=10)


def _shade(axes: Any, d: Any) -> None:
    """The outer tenths of the range."""
    low, high = ends_of(d)
    if d.scale == "linear":
        inner = low + 0.1 * (high - low), high - 0.1 * (high - low)
    else:
        inner = low * (high / low) ** 0.1, high * (low / high) ** 0.1
    for left, right in ((low, inner[0]), (inner[1], high)):
        axes.axvspan(left, right, color="#F4E9D8", zorder=0, lw=0)


def _crosses(axes: Any, d: Any, diverged: list[Any]) -> None:
    xs = [value_on_axis(d, o.trial.config) for o in diverged]
    axes.scatter(xs, [o.validation for o in diverged], marker="x", color=BAD, s=30, zorder=2)


def _longest(study: Any) -> list[Any]:
    """Trainings of the search at the greatest length of which there are a few."""
    for steps in sorted({o.trial.steps for o in study.searched}, reverse=True):
        found = [o for o in study.searched if o.trial.steps == steps]
        if len(found) >= 4:
            return found
    return []


def _differs_in_rate_only(config: Any, default: Any, study: Any) -> bool:
    """Whether all else is at its default; a decay that is searched as a product moves with it."""
    positions = np.clip(study.space.to_unit([config, default]), 0, 1)
    difference = np.abs(positions[0] - positions[1])
    difference[study.space.names.index("learning_rate")] = 0
    return bool((difference < 1e-3).all())
