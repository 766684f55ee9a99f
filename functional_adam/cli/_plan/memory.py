"""Bytes of weights, gradients and optimizer state, from the shapes that `init` would make.

Nothing is allocated and no formula for bytes is written down: what a way to store takes is what
its own transformation keeps of one large matrix. Activations and temporaries are not in it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from .._precision.subjects import SUBJECTS, Subject

# Large enough that nothing is kept whole for being small; blocks of moments divide it.
_SHAPE = (4096, 4096)


@dataclasses.dataclass(frozen=True)
class Bytes:
    """Bytes of the three things that stay during a step, per parameter or on a device."""

    weights: float
    gradients: float
    state: float

    @property
    def total(self) -> float:
        """Of all three."""
        return self.weights + self.gradients + self.state

    def times(self, weights: float, gradients: float, state: float) -> Bytes:
        """Each by its own factor."""
        return Bytes(self.weights * weights, self.gradients * gradients, self.state * state)


SHARDINGS = {
    "replicated": (False, False, False),
    "zero1": (False, False, True),
    "fsdp": (True, True, True),
}
"""Name -> whether weights, gradients and state are cut over the data-parallel devices."""


@functools.cache
def per_parameter(subject: Subject) -> Bytes:
    """Bytes per parameter; the few scalars of a state are not counted."""
    like = jax.ShapeDtypeStruct(_SHAPE, subject.dtype)
    state = jax.eval_shape(subject.make(1e-3).init, like)
    return Bytes(_size(like), _size(like), _size(state))


def per_device(
    subject: Subject, parameters: float, devices: int, sharding: str, tensor_parallel: int = 1
) -> Bytes:
    """Bytes on each device.

    Args:
        subject: how weights and moments are stored.
        parameters: of the model.
        devices: all of them.
        sharding: a name of `SHARDINGS`.
        tensor_parallel: devices that share one copy of the model in any case.
    """
    own, part = parameters / tensor_parallel, parameters / devices
    return per_parameter(subject).times(*(part if cut else own for cut in SHARDINGS[sharding]))


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to store, on one number of devices: bytes per parameter and per device."""

    name: str
    parameters: float
    devices: int
    per_parameter: Bytes
    per_device: dict[str, Bytes]


def rows(
    parameters: Sequence[float],
    devices: Sequence[int],
    shardings: Sequence[str],
    tensor_parallel: int,
    subjects: Sequence[Subject] = SUBJECTS,
) -> Iterator[Row]:
    """Every way to store, for every size of model and number of devices."""
    for size in parameters:
        for count in devices:
            for subject in subjects:
                each: dict[str, Bytes] = {
                    name: per_device(subject, size, count, name, tensor_parallel)
                    for name in shardings
                }
                yield Row(subject.name, size, count, per_parameter(subject), each)


def _size(tree: Any) -> float:
    arrays = [x for x in jax.tree.leaves(tree) if x.ndim]
    return sum(x.size * x.dtype.itemsize for x in arrays) / (_SHAPE[0] * _SHAPE[1])
