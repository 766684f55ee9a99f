"""What to keep in mind before a result is used, in words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .enough import FLAT, growth

MANY = 0.25  # share of trainings that diverged
WORSE = 0.05


def cautions(study: Any) -> list[str]:
    """Warnings about a study; empty where there is nothing to say."""
    found = _diverged(study) + _late(study) + _unreadable(study)
    if not study.finished:
        found.append("The study is not finished: call tune again to go on.")
    try:
        best = study.best
    except ValueError as error:
        return [*found, f"{str(error)[0].upper()}{str(error)[1:]}."]
    found = _luck(best) + _held_out(study, best) + found
    return _tie(study, best) + _edges(study, best) + _sampled(study, best) + found


def edges(space: Any, config: Any) -> dict[str, Any]:
    """As `Space.edge`, but for ranges from zero, below which there is nothing, their low ends."""
    found = space.edge(config)
    return {name: side for name, side in found.items() if side == "high" or space[name].low}


def _tie(study: Any, best: Any) -> list[str]:
    if not best.is_default:
        return []
    return [
        "Nothing that was tried could be told apart from untuned Adam, within two standard errors: "
        "keep the defaults, or give a larger budget."
    ]


def _edges(study: Any, best: Any) -> list[str]:
    if best.is_default:
        return []
    found = []
    space = _as_searched(study)
    for name, side in edges(space, best.config).items():
        d = space[name]
        end = d.low if side == "low" else d.high
        product = f" times {d.per}" if d.per else ""
        found.append(
            f"{name} {best.config[name]:.4g} lies at the {side} end of its range ({name}{product} "
            f"to {end:g}): the best may be beyond it."
        )
    return found


def _as_searched(study: Any) -> Any:
    """The space as far as the search went, which may have widened it."""

    def as_searched(d: Any) -> Any:
        if d.scale == "choice":
            return d
        configs = [o.trial.config for o in study.searched]
        tried = [c[d.name] * d.factor(c) for c in configs]
        return dataclasses.replace(d, low=min([d.low, *tried]), high=max([d.high, *tried]))

    dimensions = tuple(as_searched(d) for d in study.space.dimensions)
    return dataclasses.replace(study.space, dimensions=dimensions)


def _sampled(study: Any, best: Any) -> list[str]:
    """Whether the search was still getting better, by more than it can be measured."""
    full = [o.validation for o in study.searched if o.trial.steps == study.plan.steps]
    if len(full) < 4:
        return []
    gain = growth(np.array(full)).gain
    noise = best.error / abs(best.validation) if best.validation else 0.0
    if not gain > max(FLAT, noise if math.isfinite(noise) else 0.0):
        return []
    return [
        f"Too few samples: from half of the {len(full)} full trainings to all of them the best "
        f"fell by {gain:.0%}, so more of them may find better."
    ]


def _luck(best: Any) -> list[str]:
    worse = best.validation / best.as_seen - 1 if best.as_seen > 0 else 0.0
    if not worse > WORSE:
        return []
    return [
        f"The search saw {best.as_seen:.4g} for this configuration, fresh seeds "
        f"{best.validation:.4g}: the first was luck by {worse:.0%}."
    ]


def _held_out(study: Any, best: Any) -> list[str]:
    """Whether the choice holds on data that had no part in it; they do not change it."""
    if best.held_out is None:
        return []
    if not math.isfinite(best.held_out):
        return [f"The loss on held-out data is {best.held_out}: look at these data."]
    untuned = study.held_out(study.baseline)
    if best.is_default or untuned is None or not math.isfinite(untuned):
        return []
    if not best.held_out - untuned > WORSE * abs(untuned):
        return []
    return [
        f"On held-out data the choice is worse than untuned Adam, {best.held_out:.4g} against "
        f"{untuned:.4g}: it fits the examples it was validated on. Keep the defaults, or tune "
        "again with more validation examples."
    ]


def _diverged(study: Any) -> list[str]:
    searched = study.searched
    bad = [o.trial.config for o in searched if o.diverged]
    if not MANY * len(searched) < len(bad) < len(searched):
        return []
    text = f"{len(bad)} of {len(searched)} trainings of the search diverged"
    if "learning_rate" in study.space.names:
        low = min(config["learning_rate"] for config in bad)
        text += f", from learning rate {low:.3g} on"
    return [f"{text}: a narrower space would leave more of the budget to what can be trained."]


def _late(study: Any) -> list[str]:
    late = [r for r in study.log.records if r["kind"] == "late"]
    if not late:
        return []
    return [f"The seconds were over after {late[-1]['after']:.1f} full trainings of the search."]


def _unreadable(study: Any) -> list[str]:
    count = study.log.unreadable
    if not count:
        return []
    lines = "1 line of the log is" if count == 1 else f"{count} lines of the log are"
    return [f"{lines} damaged and left out; what is missing is trained when tune is called again."]
