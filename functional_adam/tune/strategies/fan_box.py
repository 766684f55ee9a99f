"""A fan of learning rates, then a quasi-random box around its best: betas and decay are free."""

from __future__ import annotations

import numpy as np

from ..budget import Budget
from ..space import Space
from ._fan import LEARNING_RATE, decades, fan
from ._search import Rounds, Search, configs_at, halton, inside, position

FACTOR = 5.0  # the box reaches from the best rate over FACTOR to the best rate times it


def fan_box(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """A sixth of the budget on the fan, at least six points of it; the rest in the box."""
    search = Search(space, budget)
    yield from fan(search, points=max(6, min(26, round(budget.runs * 4 / 6))))
    points = halton(search.space, search.affordable(), rng)
    around = position(search.space, search.best()[0])
    yield from search.run(configs_at(search.space, box(search, points, around, FACTOR)))


def box(search: Search, points: np.ndarray, around: np.ndarray, factor: float) -> np.ndarray:
    """Points moved into the box of learning rates within a factor of the position's."""
    if LEARNING_RATE not in search.space.names:
        return points
    half = {LEARNING_RATE: np.log(factor) / decades(search)}
    return inside(search.space, points, around, half)
