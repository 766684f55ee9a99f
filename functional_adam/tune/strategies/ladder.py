"""The article's order as written: one hyperparameter at a time, each over its whole range.

Learning rate with its schedule, b1, b2, eps where parameters are in 16 bits, weight decay, AMSGrad;
then what else the space has. It is right once the learning rate has six points; with three it is
the worst of all strategies.
"""

from __future__ import annotations

import numpy as np

from ..budget import Budget
from ..space import Space
from ._search import Rounds, Search, at, position

ORDER = ("learning_rate", "b1", "b2", "eps", "weight_decay", "amsgrad", "warmup", "final")
FIRST = 6  # learning rates at least
SHARE_OF_FIRST = 1 / 3


def ladder(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """A rung for each hyperparameter, at full length; each starts from the best so far."""
    search = Search(space, budget)
    names = order(space)
    for i, name in enumerate(names):
        left = search.affordable()
        first = max(FIRST, round(SHARE_OF_FIRST * budget.runs)) if name == names[0] else 0
        yield from rung(search, name, first or -(-left // (len(names) - i)))


def order(space: Space) -> list[str]:
    """Searched names in the article's order, the others after them."""
    known = [name for name in ORDER if name in space.names]
    return known + [name for name in space.names if name not in ORDER]


def rung(search: Search, name: str, points: int) -> Rounds:
    """Vary one hyperparameter of the best configuration so far over its range."""
    base = position(search.space, search.best()[0])
    column = search.space.names.index(name)
    where = spread(search.space, name, base[column], points, again=bool(search.seen))
    yield from search.run([at(search.space, base, {name: u}) for u in where])


def spread(space: Space, name: str, here: float, points: int, *, again: bool) -> list[float]:
    """Evenly spaced positions; without the one that has been trained, where `again` is set."""
    dimension = space[name]
    if dimension.scale == "choice":
        cells = (np.arange(len(dimension.choices)) + 0.5) / len(dimension.choices)
        other = [u for u in cells if not again or abs(u - here) > 1e-9]
        return [float(u) for u in other[:points]]
    if not again:
        return [float(u) for u in np.linspace(0, 1, points)]
    if points == 1:
        return [here - 1 / 3 if here > 0.5 else here + 1 / 3]
    if points == 2:
        return [here - 0.25, here + 0.25] if 0.25 <= here <= 0.75 else [0.3, 0.7]
    return [float(u) for u in (np.arange(points) + 0.5) / points]
