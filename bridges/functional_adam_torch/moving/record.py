"""A run that is being moved, in neither framework: groups, hyperparameters, moments, steps.

torch's optimizers, its checkpoints and every file format are read into a `Record` and written
from one. Options are kept by torch's names, moments by ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functional_adam import ALGORITHMS, Algorithm
from functional_adam._int8 import Int8

from ._layouts import inverse, permute
from ._recode import permute_moment

Array = NDArray[Any]

LARGEST_FLOAT32_STEP = 2**24
_ROUNDING = 1e-6  # of a learning rate kept in float32, over many steps


@dataclasses.dataclass(frozen=True)
class Group:
    """A parameter group.

    Attributes:
        algorithm: name in `functional_adam.ALGORITHMS`.
        options: torch's, without the parameters: `lr`, `betas`, ...
    """

    algorithm: str
    options: Mapping[str, Any]

    @property
    def hyperparameters(self) -> dict[str, float]:
        """By our names, as Python numbers."""
        row = ALGORITHMS[self.algorithm]
        values = dict(zip(row.averages, self.options["betas"], strict=True))
        values["learning_rate"] = learning_rate_of(self.options)
        values |= {name: x for name, x in self.options.items() if name in row.hyperparameters}
        return {name: float(values[name]) for name in row.hyperparameters if name in values}

    @property
    def maximize(self) -> bool:
        """Whether it ascends."""
        return bool(self.options.get("maximize", False))


def learning_rate_of(options: Mapping[str, Any]) -> float:
    """The learning rate of a group; 0 where a scheduler of torch, going there, went past it.

    Each step changes the last value by a rounded factor: LinearLR with ``end_factor=0`` may end at
    -1.9e-20 of 1e-3.
    """
    lr = float(options["lr"])
    return 0.0 if -_ROUNDING * float(options.get("initial_lr", 0)) <= lr < 0 else lr


@dataclasses.dataclass(frozen=True)
class Leaf:
    """What an optimizer keeps of one parameter.

    Attributes:
        group: index of its group.
        step: updates made so far, float scalar as torch keeps it.
        moments: field of our state -> array or 8-bit code; none at all before the first gradient.
        scalars: field -> scalar array.
        low: remainder of the float32 weight, where it is kept.
    """

    group: int
    step: Array
    moments: Mapping[str, Array | Int8]
    scalars: Mapping[str, Array]
    low: Array | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """Parameters and optimizer.

    Attributes:
        groups: in torch's order.
        leaves: what is optimized, by name, in the order of the groups.
        values: parameters by name; those without a leaf are frozen, or buffers. In a record of a
            bare optimizer: none.
        layouts: name -> permutation that the arrays here have undergone since torch.
        named: whether torch's groups name their parameters.
        aliases: further name of a shared parameter -> its name in `values`.
    """

    groups: tuple[Group, ...]
    leaves: Mapping[str, Leaf]
    values: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    layouts: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    named: bool = True
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)


def algorithm_of(family: str, options: Mapping[str, Any]) -> Algorithm:
    """The algorithm that a class of torch.optim or ours runs with the options of a group.

    Args:
        family: name of the class.
        options: the group's.
    """
    wanted = (
        family.removesuffix("W"),
        bool(options.get("amsgrad", False)),
        bool(options.get("decoupled_weight_decay", family == "AdamW")),
    )
    for row in ALGORITHMS.values():
        name, maximum = row.torch_class.removesuffix("W"), "nu_max" in row.rule.moments
        if row.torch_twin is None and row.torch_class == family:
            return row
        if row.torch_twin and (name, maximum, row.decay == "decoupled") == wanted:
            return row
    raise ValueError(f"{family} with {dict(options)} is not an algorithm of functional_adam")


def step_scalar(count: Any) -> Array:
    """A count as torch's `step`: float32, and float64 where float32 would lose it."""
    count = int(np.asarray(count))
    return np.asarray(count, np.float32 if count <= LARGEST_FLOAT32_STEP else np.float64)


def initial(algorithm: Algorithm, parameter: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Moments and scalars before the first step."""
    moments = {name: np.zeros_like(parameter) for name in algorithm.rule.moments}
    scalars = {name: np.asarray(value, np.float32) for name, value in algorithm.rule.scalars}
    return moments, scalars


def permuted(record: Record, layouts: Mapping[str, tuple[int, ...]]) -> Record:
    """Change the axes of parameters and of their moments."""

    def leaf(name: str, own: Leaf) -> Leaf:
        axes = layouts.get(name)
        moments = {field: permute_moment(x, axes, field) for field, x in own.moments.items()}
        low = None if own.low is None else permute(own.low, axes)
        return dataclasses.replace(own, moments=moments, low=low)

    return dataclasses.replace(
        record,
        leaves={name: leaf(name, own) for name, own in record.leaves.items()},
        values={name: permute(x, layouts.get(name)) for name, x in record.values.items()},
        layouts={**record.layouts, **layouts},
    )


def in_torch_layout(record: Record) -> Record:
    """Undo every permutation."""
    back = {name: inverse(axes) or () for name, axes in record.layouts.items()}
    return dataclasses.replace(permuted(record, back), layouts={})


def renamed(record: Record, names: Mapping[str, str]) -> Record:
    """Give parameters other names.

    Raises:
        ValueError: two parameters would get one name.
    """

    def new(mapping: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in mapping.items():
            other = names.get(name, name)
            if other in found or (other in record.aliases and other not in names):
                raise ValueError(f"two parameters would be named {other!r}")
            found[other] = value
        return found

    return dataclasses.replace(
        record,
        leaves=new(record.leaves),
        values=new(record.values),
        layouts=new(record.layouts),
        aliases={names.get(x, x): names.get(first, first) for x, first in record.aliases.items()},
    )
