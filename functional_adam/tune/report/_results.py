"""What tuning has brought, and whether more of it would bring more."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..enough import growth
from ._axes import OTHER, TUNED, UNTUNED, number_losses, scale_losses

WIDE = 10  # times the lowest loss, from which bars on a linear axis do not show


def default_and_tuned(study: Any) -> tuple[Any, str] | None:
    """Losses on fresh seeds of untuned Adam and of all that were confirmed."""
    from matplotlib.figure import Figure

    found = [c for c in study.contenders if not c.diverged]
    if not found:
        return None
    try:
        best = study.best.config
    except ValueError:
        best = None
    figure = Figure(figsize=(7.5, 0.9 + 0.5 * len(found)))
    axes = figure.add_subplot()
    for i, c in enumerate(found):
        color = UNTUNED if c.config == study.baseline else OTHER
        color = TUNED if c.config == best else color
        error = 2 * c.error if np.isfinite(c.error) else 0.0
        axes.barh(i, c.mean, xerr=error, color=color, height=0.6, error_kw=dict(lw=1.2, capsize=3))
        axes.plot(list(c.losses.values()), [i] * len(c.losses), "k.", ms=4, alpha=0.6)
    axes.set_yticks(range(len(found)), [_name(study, c, best) for c in found])
    axes.invert_yaxis()
    losses = [loss for c in found for loss in c.losses.values()]
    if min(losses) > 0 and max(losses) > WIDE * min(losses):
        axes.set_xscale("log")
        number_losses(axes.xaxis, 2 * max(losses) / min(losses))
        axes.set_xlim(left=min(losses) / 2)
    axes.set_xlabel("validation loss on fresh seeds")
    return figure, (
        "Untuned Adam and the finalists on seeds the search had not seen (points), their means "
        "(bars) and two standard errors. Of what cannot be told apart the nearest to the defaults "
        "is chosen."
    )


def sampled_enough(study: Any) -> tuple[Any, str] | None:
    """How the best would have grown with the number of full trainings."""
    from matplotlib.figure import Figure

    full = [o.validation for o in study.searched if o.trial.steps == study.plan.steps]
    if len(full) < 4:
        return None
    found = growth(np.array(full))
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.add_subplot()
    axes.fill_between(found.counts, found.low, found.high, color=OTHER, alpha=0.4, lw=0)
    axes.plot(found.counts, found.median, color=TUNED)
    scale_losses(axes, list(found.median))
    axes.set_xlabel("full trainings of the search")
    axes.set_ylabel("best validation loss")
    return figure, (
        "Sampled enough? The best of so many of the search's full trainings, drawn at random: "
        "median and the middle three fifths. A curve that still falls at its right end says that "
        f"more trainings would find better; from half of them to all it fell by {found.gain:.1%}."
    )


def _name(study: Any, contender: Any, best: Any) -> str:
    if contender.config == study.baseline:
        return "untuned Adam" + (" (chosen)" if contender.config == best else "")
    rate = f"learning rate {contender.config['learning_rate']:.3g}"
    return rate + (" (chosen)" if contender.config == best else "")
