"""The learning rate first, each rate with its own schedule; then nearer to the best."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from ._search import Search, at, position

LEARNING_RATE = "learning_rate"
SHARE = 0.25  # of a full training, for each point of a fan
WIDENINGS = 2
FACTORS = (0.4, 1.0, 2.5)  # of the fan's best rate, at full length


def fan(search: Search, points: int, share: float = SHARE) -> Generator[Any, Any, None]:
    """Train at evenly spaced learning rates; past an end of the range where the best is there."""
    if LEARNING_RATE not in search.space.names:
        return
    base = position(search.space, search.space.default())
    where = np.linspace(0, 1, points)
    rates = [at(search.space, base, {LEARNING_RATE: u}) for u in where]
    losses = yield from search.run(rates, share)
    for _ in range(WIDENINGS):
        if not losses:
            return
        rates = _beyond(search, rates[int(np.argmin(losses))], points)
        losses = yield from search.run(rates, share)


def refine(search: Search, factors: tuple[float, ...] = FACTORS) -> Generator[Any, Any, None]:
    """Full trainings at multiples of the best learning rate so far."""
    if LEARNING_RATE not in search.space.names:
        yield from search.run(search.best())
        return
    config = search.best()[0]
    base = position(search.space, config)
    column = search.space.names.index(LEARNING_RATE)
    ups = [base[column] + math.log(factor) / decades(search) for factor in factors]
    yield from search.run([at(search.space, base, {LEARNING_RATE: u}) for u in ups])


def decades(search: Search) -> float:
    """The natural logarithm of high over low learning rate: what a unit of position is."""
    d = search.space[LEARNING_RATE]
    if d.scale != "log":
        return 1.0
    return math.log(d.high / d.low)


def _beyond(search: Search, best, points: int) -> list:
    """Rates past the edge at which the best lies, as dense as the fan was."""
    side = search.space.edge(best).get(LEARNING_RATE)
    if side is None:
        return []
    old = search.space[LEARNING_RATE]
    wider = search.space.widened({LEARNING_RATE: side})
    new = wider[LEARNING_RATE]
    end = new.to_unit(old.low if side == "low" else old.high)
    room = end if side == "low" else 1 - end
    if room < 0.02:
        return []
    base = position(search.space, best)
    search.space = wider
    count = max(1, round(points * room / (1 - room)))
    steps = end + (np.arange(count) + 1) / count * (room if side == "high" else -room)
    return [at(wider, base, {LEARNING_RATE: u}) for u in steps]
