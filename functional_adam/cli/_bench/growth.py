"""How the cost of a step grows with the number of tensors and of parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .measure import seconds_of
from .subjects import Subject
from .workloads import Shapes

LEAVES = (10, 30, 100, 300, 1000, 3000)
PARAMETERS = (100_000, 1_000_000, 10_000_000, 100_000_000)
_ELEMENTS = 64  # of a leaf


@dataclasses.dataclass(frozen=True)
class Growth:
    """Times of a candidate as something grows.

    Attributes:
        subject: name of the candidate.
        what: "tensors" or "parameters".
        counts: how many there were.
        seconds: median of a step, for each.
        compile_seconds: of tracing and compiling, for each.
        exponent: the slope of log time over log count: 1 is proportional, 0 constant.
        each: seconds that one more costs, fitted in time = fixed + each * count with equal
            relative errors.
        compile_each: the same of tracing and compiling.
    """

    subject: str
    what: str
    counts: tuple[int, ...]
    seconds: tuple[float, ...]
    compile_seconds: tuple[float, ...]
    exponent: float
    each: float
    compile_each: float


def grow(
    subject: Subject, what: str, counts: Sequence[int], rounds: int, done: Callable[[str], None]
) -> Growth:
    """Measure a candidate at each count."""
    seconds, compiled = [], []
    for count in counts:
        candidate = subject.start(_shapes(what, count))
        candidate()
        candidate()
        seconds.append(float(np.median([seconds_of(candidate) for _ in range(rounds)])))
        compiled.append(candidate.compile_seconds)
        del candidate
        done(f"growth: {subject.name}, {count:,} {what}")
    exponent = float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])
    return Growth(
        subject.name,
        what,
        tuple(counts),
        tuple(seconds),
        tuple(compiled),
        exponent,
        _each(counts, seconds),
        _each(counts, compiled),
    )


def _each(counts: Sequence[int], seconds: Sequence[float]) -> float:
    times = np.asarray(seconds)
    return float(np.polyfit(counts, times, 1, w=1 / times)[0])


def _shapes(what: str, count: int) -> Shapes:
    return ((_ELEMENTS,),) * count if what == "tensors" else ((count,),)
