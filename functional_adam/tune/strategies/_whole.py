"""Searches that look at the whole space: random, quasi-random, and quasi-random with halving.

The last quarter of a quasi-random search goes beyond an end of the space where the best is there.
Reference: Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization,
https://jmlr.org/papers/v13/bergstra12a.html; Jamieson and Talwalkar 2016, successive halving,
https://arxiv.org/abs/1502.07943.
"""

from __future__ import annotations

import math

import numpy as np

from ..budget import Budget
from ..space import Space
from ._search import Rounds, Search, configs_at, halton

RUNG = 0.25  # length of the first trainings of a halving; a quarter of them goes on


def random(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """Independent uniform positions, all at full length."""
    search = Search(space, budget)
    yield from search.run(configs_at(space, rng.random((search.affordable(), len(space)))))


def quasi(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """A scrambled Halton sequence, all at full length."""
    search = Search(space, budget)
    points = halton(space, search.affordable(), rng)
    first = math.ceil(0.75 * len(points))
    yield from search.run(configs_at(space, points[:first]))
    search.space = space.widened(space.edge(search.best()[0]))
    yield from search.run(configs_at(search.space, points[first:]))


def halving(space: Space, budget: Budget, rng: np.random.Generator) -> Rounds:
    """Half of the budget on quarter-length trainings, the best quarter of them at full length.

    Each training has a schedule of its own length: a quarter of a long cosine would compare
    learning rates that have not come down.
    """
    search = Search(space, budget)
    tried = math.floor(search.affordable(RUNG) / 2)
    yield from search.run(configs_at(space, halton(space, tried, rng)), RUNG)
    yield from search.run(search.best(search.affordable()))
