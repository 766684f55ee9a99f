"""Steps of a candidate and of the yardstick in turn: medians, and how far ratios spread."""

from __future__ import annotations

import dataclasses
import functools
import gc
import math
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .subjects import Subject
from .workloads import Shapes, size

_WARM = 2


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of times: its median over the rounds, and half the distance of its quartiles."""

    value: float
    spread: float

    @property
    def tells(self) -> bool:
        """Whether it differs from 1 by more than it spreads."""
        return abs(self.value - 1) > self.spread

    def over(self, other: Ratio) -> Ratio:
        """This ratio divided by another; the spreads are independent."""
        value = self.value / other.value
        relative = math.hypot(self.spread / self.value, other.spread / other.value)
        return Ratio(value, value * relative)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one candidate on one workload; bytes are per parameter.

    Attributes:
        subject: name of the candidate.
        ours: whether it is ours.
        seconds: median of a step.
        ratio: to the yardstick.
        bandwidth: bytes a step cannot help moving, a second, over those of a copy in this run.
        compile_seconds: of tracing and compiling; NaN where the first step does it.
        first_seconds: of the first step.
        temporary: bytes that come and go in a step.
        peak: most bytes that are in use.
        state: bytes of state.
    """

    subject: str
    ours: bool
    seconds: float
    ratio: Ratio
    bandwidth: float
    compile_seconds: float
    first_seconds: float
    temporary: float
    peak: float
    state: float


@dataclasses.dataclass(frozen=True)
class Table:
    """One workload: rows, and why others are not among them."""

    workload: str
    tensors: int
    parameters: int
    rows: list[Row]
    skipped: dict[str, str]

    def fastest_peer(self) -> Row:
        """The fastest of those that are not ours."""
        return min((row for row in self.rows if not row.ours), key=lambda row: row.ratio.value)


def table(
    workload: str,
    shapes: Shapes,
    subjects: Sequence[Subject],
    yardstick: Subject,
    rounds: int,
    done: Callable[[str], None],
) -> Table:
    """Measure candidates on one workload, each in turn with the yardstick."""
    rows, skipped = [], {}
    # Once for all candidates, and not before one can be measured; what it raises is said of each.
    beside = functools.cache(lambda: (yardstick.start(shapes), _Copy()))
    for subject in subjects:
        reason = subject.missing(shapes)
        if reason is None:
            try:
                rows.append(_row(subject, beside, shapes, rounds))
            except Exception as error:  # whatever another framework may raise
                reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if reason is not None:
            skipped[subject.name] = reason
        done(f"{workload}: {subject.name}{f', skipped: {reason}' if reason else ''}")
    return Table(workload, len(shapes), size(shapes), rows, skipped)


def _row(
    subject: Subject,
    beside: Callable[[], tuple[Callable[[], None], _Copy]],
    shapes: Shapes,
    rounds: int,
) -> Row:
    candidate = subject.start(shapes)
    first = seconds_of(candidate)
    against, copy = beside()
    steps = [candidate, against, copy]
    for step in steps * _WARM:
        step()
    times = np.array([[seconds_of(step) for step in steps] for _ in range(rounds)])
    low, middle, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
    seconds, _, copying = np.median(times, 0)
    parameters = size(shapes)
    row = Row(
        subject.name,
        subject.ours,
        float(seconds),
        Ratio(float(middle), float(high - low) / 2),
        float(candidate.moved / seconds / (copy.moved / copying)),
        candidate.compile_seconds,
        first,
        candidate.temporary / parameters,
        candidate.peak / parameters,
        candidate.state_bytes / parameters,
    )
    del candidate, steps
    gc.collect()
    return row


class _Copy:
    """Reads and writes every element of an array that no cache holds."""

    # For some milliseconds, so that what a call costs is none of it.
    _ELEMENTS = 80_000_000
    _ON_ACCELERATORS = 1_000_000_000

    def __init__(self) -> None:
        is_host = jax.default_backend() == "cpu"
        self._x = jnp.ones(self._ELEMENTS if is_host else self._ON_ACCELERATORS)
        self.moved = 2 * self._x.nbytes
        self._program = jax.jit(jnp.negative, donate_argnums=0)

    def __call__(self) -> None:
        self._x = jax.block_until_ready(self._program(self._x))


def seconds_of(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
