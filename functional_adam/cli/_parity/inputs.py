"""The numbers that every implementation is given: seeded, changing, zero now and then."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import ml_dtypes
import numpy as np

Leaves = dict[str, np.ndarray]
"""A model with one leaf of each dtype, by the dtype's name."""

_NUMPY = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
# Decades of the gradients. Beyond these their squares leave the range of float16.
_DECADES = {"float16": (-6.0, 2.0)}
_NINE_DECADES = (-6.0, 3.0)


@dataclasses.dataclass(frozen=True)
class State:
    """Where an optimizer is: the parameters and what it remembers, with our names of the fields.

    Attributes:
        count: steps taken.
        params: leaves.
        moments: field -> leaves.
        scalars: field -> value.
    """

    count: int
    params: Leaves
    moments: dict[str, Leaves]
    scalars: dict[str, float]


def numpy_dtype(name: str) -> Any:
    """Return the NumPy dtype of a name; bfloat16 is known to NumPy only by ml_dtypes."""
    return _NUMPY.get(name) or np.dtype(name)


def beginning(algorithm: Any, dtypes: tuple[str, ...], size: int) -> State:
    """Normal parameters and the state of an optimizer that has not stepped."""
    params = {name: _drawn(name, _size(name, size), 0) for name in dtypes}
    moments = {
        field: {name: np.zeros_like(p) for name, p in params.items()}
        for field in algorithm.rule.moments
    }
    return State(0, params, moments, dict(algorithm.rule.scalars))


def gradients(dtypes: tuple[str, ...], size: int, t: int) -> Leaves:
    """Gradients of step t = 1, 2, ..."""
    return {name: _drawn(name, _size(name, size), t) for name in dtypes}


def _size(dtype: str, size: int) -> int:
    """A quarter in half precision, which NumPy converts slowly: still its share of bit patterns."""
    return size // 4 if np.dtype(numpy_dtype(dtype)).itemsize == 2 else size


@functools.lru_cache(maxsize=8192)
def _drawn(dtype: str, size: int, t: int) -> np.ndarray:
    """Parameters (t = 0) or gradients: each element has a size of its own, and a drift.

    One element in twenty is zero in a step; one in a hundred is zero in the first ten steps, so
    that its moments are exactly zero, and the first of all is never anything else.
    """
    rng = np.random.default_rng((20250, t))
    if t == 0:
        return rng.standard_normal(size).astype(numpy_dtype(dtype))
    g = _level(dtype, size) * (rng.standard_normal(size) + np.where(np.arange(size) % 2, 0.3, -0.3))
    g[rng.random(size) < 0.05] = 0
    g[:: 100 if t <= 10 else size] = 0
    return g.astype(numpy_dtype(dtype))


@functools.cache
def _level(dtype: str, size: int) -> np.ndarray:
    """The size of each element's gradients."""
    return 10 ** np.random.default_rng(1).uniform(*_DECADES.get(dtype, _NINE_DECADES), size)
