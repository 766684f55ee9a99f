"""The two tables: frameworks from one another, and optax and ours from torch and Keras."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import optax

from functional_adam import ALGORITHMS
from functional_adam.dialects import DIALECTS

from .._parity.implementations import double_precision
from .entries import CASES, CLASSES, RATE, Case
from .problem import start
from .runs import apart, in_jax, oracle


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Distances of the frameworks' classes of one name.

    Attributes:
        name: of the class.
        frameworks: in the order of rows and columns.
        distances: a row for each framework.
    """

    name: str
    frameworks: tuple[str, ...]
    distances: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class Before:
    """One case, before and after.

    Attributes:
        case: what is asked for.
        optax_options: of optax's function, those that come nearest.
        optax: how near; None where the framework is not installed.
        ours: how near ours comes.
    """

    case: Case
    optax_options: Mapping[str, Any]
    optax: float | None
    ours: float | None


def matrices(steps: int) -> Iterator[Matrix]:
    """Train with every preset's defaults and compare where they get to."""
    with double_precision(True):
        origin = start()
        for name, frameworks in CLASSES.items():
            ends = [
                in_jax(ALGORITHMS[algorithm].make(RATE, dialect=DIALECTS[dialect]), steps)
                for dialect, algorithm in frameworks.values()
            ]
            rows = tuple(tuple(apart(a, b, origin) for b in ends) for a in ends)
            yield Matrix(name, tuple(frameworks), rows)


def befores(steps: int) -> Iterator[Before]:
    """Train with what optax cannot express in its own framework, in optax and in ours."""
    with double_precision(True):
        yield from (_before(case, steps) for case in CASES)


def _before(case: Case, steps: int) -> Before:
    function, sets = case.optax
    if importlib.util.find_spec(case.framework) is None:
        return Before(case, sets[0], None, None)
    origin, end = start(), oracle(case.framework, *case.theirs, steps)
    make = getattr(optax, function)
    found = [apart(in_jax(make(RATE, **options), steps), end, origin) for options in sets]
    algorithm, options = case.ours
    given = {**options, "dialect": DIALECTS[options.get("dialect", "TORCH")]}
    ours = apart(in_jax(ALGORITHMS[algorithm].make(RATE, **given), steps), end, origin)
    nearest = min(range(len(found)), key=found.__getitem__)
    return Before(case, sets[nearest], found[nearest], ours)
