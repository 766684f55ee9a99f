"""Bytes that stay, bytes that come and go in a step, and its time relative to float32."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from .._bench.in_jax import InJax
from .._bench.measure import seconds_of
from .._bench.workloads import Shapes, size
from .subjects import REFERENCE, Subject

RATE = 1e-3
# Neither side is a power of two: caches would conflict.
WIDTH = 1920
_WARM = 2


def costs(
    subjects: Sequence[Subject], parameters: int, rounds: int, done: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Figures of each subject by column.

    "bytes": of weights and state per parameter; "temporary": that come and go in a step, per
    parameter; "time": median of a step over the reference's, the rounds of both taken in turn.
    """
    shapes: Shapes = ((max(1, parameters // WIDTH), WIDTH),)
    reference, found = _steps(REFERENCE, shapes), {}
    for subject in subjects:
        pair = [reference, _steps(subject, shapes)]
        for step in pair * _WARM:
            step()
        rows = [[seconds_of(step) for step in pair] for _ in range(rounds)]
        exact, own = (statistics.median(column) for column in zip(*rows, strict=True))
        kept = pair[1].state_bytes / size(shapes) + jnp.dtype(subject.dtype).itemsize
        temporary = pair[1].temporary / size(shapes)
        found[subject.name] = {"bytes": kept, "temporary": temporary, "time": own / exact}
        done(subject.name)
    return found


def _steps(subject: Subject, shapes: Shapes) -> InJax:
    return InJax(functools.partial(subject.make, RATE), shapes, dtype=subject.dtype)
