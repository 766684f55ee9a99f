"""The default: a fan of learning rates, then what pays at this budget.

Measured at equal compute: below 32 full trainings short ones in a box around the fan's best rate,
the best of them at full length; from there the article's order, with the learning rate revisited;
from 48 a box and a refinement around its best.
"""

from __future__ import annotations

import numpy as np

from ..budget import Budget
from ..space import Space
from ._fan import SHARE, fan, refine
from ._search import Rounds, Search, configs_at, halton, inside, position
from .fan_box import FACTOR, box
from .ladder import order, rung

# The search's part of budgets of 32 and 48 full trainings.
STAGED = 16
BOXED = 32
SHORT = 0.7  # share of a small budget's rest for short trainings
LOCAL = 0.4  # share of the rest that refines the best of the box


def auto(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """Halving in a box below 32 full trainings, stages below 48, a box and refinement from there.

    The thresholds count what the confirmation costs as well.
    """
    search = Search(space, budget)
    if budget.runs < STAGED:
        yield from fan(search, points=6)
        yield from _halving_in_a_box(search, rng)
    elif budget.runs < BOXED:
        yield from fan(search, points=10)
        yield from _stages(search)
    else:
        yield from fan(search, points=12)
        yield from refine(search)
        yield from _box_and_refinement(search, rng)


def _halving_in_a_box(search: Search, rng: np.random.Generator) -> Rounds:
    """Where no full training is left, the confirmation of the best two is the last rung."""
    around = position(search.space, search.best()[0])
    short = search.affordable(SHARE)
    if (1 - SHORT) * short * SHARE >= 1:
        short = round(SHORT * short)
    points = halton(search.space, short, rng)
    yield from search.run(configs_at(search.space, box(search, points, around, FACTOR)), SHARE)
    yield from search.run(search.best(search.affordable()))


def _stages(search: Search) -> Rounds:
    yield from refine(search)
    names = [name for name in order(search.space) if name != "learning_rate"]
    last = 2 if search.affordable() > len(names) + 1 else 0
    for i, name in enumerate(names):
        points = (search.affordable() - last) // (len(names) - i)
        if points > 0:
            yield from rung(search, name, points)
    factors = (0.6, 1.6, 0.75, 1.3, 0.9, 1.1)
    yield from refine(search, factors[: search.affordable()])


def _box_and_refinement(search: Search, rng: np.random.Generator) -> Rounds:
    around = position(search.space, search.best()[0])
    local = round(LOCAL * search.affordable())
    points = halton(search.space, search.affordable() - local, rng)
    yield from search.run(configs_at(search.space, box(search, points, around, FACTOR)))
    for half in (0.2, 0.12, 0.08):
        search.space = search.space.widened(search.space.edge(search.best()[0]))
        best = search.best(2)
        count = min(search.affordable(), -(-local // 3))
        points = halton(search.space, count, rng)
        halves = dict.fromkeys(search.space.names, half)
        centres = [position(search.space, config) for config in best]
        rows = [
            inside(search.space, points[i : i + 1], centres[i % len(centres)], halves)[0]
            for i in range(count)
        ]
        if rows:
            yield from search.run(configs_at(search.space, np.array(rows)))
