"""Optuna's samplers as strategies: they propose positions in the unit cube, eight at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._extras import require
from ..budget import Budget
from ..space import Space
from ._search import Rounds, Search, Strategy, configs_at

BATCH = 8


def optuna_sampler(make: Callable[[int], Any], batch: int = BATCH) -> Strategy:
    """A strategy that asks a sampler of optuna.

    Args:
        make: seed -> `optuna.samplers.BaseSampler`, a new one at each call; what it proposes must
            depend on nothing but the seed and what it is told, or a study cannot be resumed.
        batch: trainings proposed at a time.

    The strategy's name, which a study's log holds, is that of `make` and `batch`: two lambdas have
    the same.

    Raises:
        ValueError: `batch` is less than 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")

    def strategy(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
        require("optuna", "tune")
        import optuna

        search = Search(space, budget)
        study = optuna.study.Study(
            *_in_memory(), sampler=make(int(rng.integers(2**31))), pruner=optuna.pruners.NopPruner()
        )
        distributions = _distributions(space)
        while count := min(batch, search.affordable()):
            asked = [study.ask(distributions) for _ in range(count)]
            points = np.array([_position(space, trial.params) for trial in asked])
            losses = yield from search.run(configs_at(space, points))
            for trial, loss in zip(asked, losses, strict=True):
                study.tell(trial, loss)

    strategy.__name__ = f"optuna_sampler({getattr(make, '__qualname__', make)}, batch={batch})"
    return strategy


def _in_memory() -> tuple[str, Any]:
    """A study's name and storage, made without optuna's line in the log."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "search")
    finally:
        optuna.logging.set_verbosity(level)
    return "search", storage


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        d.name: CategoricalDistribution(range(len(d.choices)))
        if d.scale == "choice"
        else FloatDistribution(0, 1)
        for d in space.dimensions
    }


def _position(space: Space, params: dict[str, Any]) -> list[float]:
    return [
        (params[d.name] + 0.5) / len(d.choices) if d.scale == "choice" else params[d.name]
        for d in space.dimensions
    ]


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _gp(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed)


tpe: Strategy = optuna_sampler(_tpe)
gp: Strategy = optuna_sampler(_gp)  # needs torch; seconds a proposal
