"""A study's trainings for other tools: a pandas frame, CSV, an optuna study."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from .._extras import require
from .choice import Contender


def frame(study: Any) -> Any:
    """One row for each training, in the order in which they ended.

    Columns: phase ("search", or "fresh" for the baseline and the confirmation), the
    hyperparameters, seed, steps, of, validation, diverged, seconds, and the task's metrics.

    Raises:
        ImportError: pandas is not installed.
    """
    require("pandas", "tune")
    import pandas

    rows = []
    for outcome in study.trained:
        trial = outcome.trial
        phase = "search" if trial.seed == study.plan.search.seed else "fresh"
        rows.append(
            dict(phase=phase, **trial.config, seed=trial.seed, steps=trial.steps, of=trial.of)
            | dict(
                validation=outcome.validation, diverged=outcome.diverged, seconds=outcome.seconds
            )
            | {f"metric {name}": x for name, x in outcome.metrics.items()}
        )
    return pandas.DataFrame(rows)


def to_csv(study: Any, path: str | Path) -> None:
    """Write the frame, numbers with all their digits."""
    frame(study).to_csv(path, index=False)


def to_optuna(study: Any, storage: Any = None, name: str | None = None) -> Any:
    """The search as an optuna study, for its plots, importances and dashboard.

    Parameters stand on the scales of the space: `1 - b1` for b1, `learning_rate * weight_decay` for
    a decay that is searched as a product. Trainings of the search at full length are trials with
    their curve as intermediate values; a diverged one has its finite score and the attribute
    `diverged`. Shorter trainings and fresh seeds are left out: their losses are others.

    Args:
        study: a `Study`.
        storage: of optuna, an URL or an object; None: in memory.
        name: of the optuna study; None: optuna's choice.

    Raises:
        ImportError: optuna is not installed.
        optuna.exceptions.DuplicatedStudyError: the storage has a study of this name.
    """
    require("optuna", "tune")
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        made = optuna.create_study(storage=storage, study_name=name, direction="minimize")
    finally:
        optuna.logging.set_verbosity(level)
    full = [o for o in study.searched if o.trial.steps == study.plan.steps]
    distributions = _distributions(study.space, [o.trial.config for o in full])
    for outcome in full:
        made.add_trial(
            optuna.trial.create_trial(
                value=outcome.validation,
                params=_params(study.space, outcome.trial.config),
                distributions=distributions,
                intermediate_values=dict(outcome.curve),
                user_attrs=dict(
                    config=dict(outcome.trial.config),
                    diverged=outcome.diverged,
                    seconds=outcome.seconds,
                    **{f"metric {k}": x for k, x in outcome.metrics.items()},
                ),
            )
        )
    made.set_user_attr("task", study.head["task"])
    with contextlib.suppress(ValueError):
        made.set_user_attr("best", dict(study.best.config))
    return made


def _params(space: Any, config: Any) -> dict[str, Any]:
    params = {}
    for d in space.dimensions:
        value = config[d.name]
        if d.scale == "log_one_minus":
            params[f"1 - {d.name}"] = 1 - value
        elif d.per is not None:
            params[f"{d.per} * {d.name}"] = config[d.per] * value
        else:
            params[d.name] = value
    return params


def _distributions(space: Any, configs: list[Any]) -> dict[str, Any]:
    """Ranges of the space, widened to what was tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    rows = [_params(space, config) for config in configs]
    found: dict[str, Any] = {}
    ends = [_params(space, space.from_unit([u] * len(space))[0]) for u in (0.0, 1.0)]
    for d, name in zip(space.dimensions, ends[0], strict=True):
        if d.scale == "choice":
            found[name] = CategoricalDistribution(d.choices)
            continue
        values = [row[name] for row in (*ends, *rows)]
        found[name] = FloatDistribution(min(values), max(values), log=d.scale != "linear")
    return found


def contender_record(contender: Contender | None) -> dict[str, Any] | None:
    """A contender as plain values."""
    if contender is None:
        return None
    return dict(
        config=dict(contender.config),
        validation=contender.mean,
        error=contender.error,
        losses={str(seed): loss for seed, loss in contender.losses.items()},
        diverged=contender.diverged,
    )
