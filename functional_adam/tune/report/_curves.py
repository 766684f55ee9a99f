"""Validation loss over the steps of the best trainings."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._axes import TUNED, UNTUNED, scale_losses

BEST = 5


def curves(study: Any) -> tuple[Any, str] | None:
    """The best five full trainings of the search beside untuned Adam."""
    from matplotlib.figure import Figure

    full = [o for o in study.trained if o.trial.steps == study.plan.steps and not o.diverged]
    tuned = [o for o in full if o.trial.config != study.baseline]
    best = _different(sorted(tuned, key=lambda o: o.validation))[:BEST]
    untuned = [o for o in full if o.trial.config == study.baseline]
    if not best or len(best[0].curve) < 2:
        return None
    figure = Figure(figsize=(7.5, 4))
    axes = figure.add_subplot()
    for i, outcome in enumerate(best):
        rate = outcome.trial.config["learning_rate"]
        label = f"learning rate {rate:.3g}, loss {outcome.validation:.4g}"
        _line(axes, outcome, color=TUNED, alpha=1 - 0.16 * i, lw=1.8, label=label)
    for i, outcome in enumerate(untuned):
        label = "" if i else "untuned Adam, each seed"
        _line(axes, outcome, color=UNTUNED, alpha=0.8, lw=1.0, ls="--", label=label)
    losses = [x for o in (*best, *untuned) for _, x in o.curve]
    scale_losses(axes, losses)
    axes.set_xlabel("steps")
    axes.legend(fontsize=8)
    return figure, (
        f"Validation loss over training: the best {len(best)} configurations, by their best "
        "training, and untuned Adam."
    )


def _different(outcomes: list[Any]) -> list[Any]:
    """The first training of each configuration."""
    kept: list[Any] = []
    for outcome in outcomes:
        if all(outcome.trial.config != other.trial.config for other in kept):
            kept.append(outcome)
    return kept


def _line(axes: Any, outcome: Any, **style: Any) -> None:
    points = np.array(outcome.curve)
    axes.plot(points[:, 0], points[:, 1], **style)
