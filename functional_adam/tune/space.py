"""What is searched: hyperparameters with ranges, and configurations as positions in a unit cube."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._check import is_decay_rate
from ..dialects import DIALECTS
from ..rules import ALGORITHMS
from ._dimension import Dimension, Side, plain

Config = Mapping[str, Any]
"""Hyperparameters by name, as plain numbers, bools and names.

`learning_rate` (the peak), `b1`, `b2`, `eps`, `weight_decay` and what else the algorithm has, as
there; `warmup`, share of the run in [0, 1); `final`, learning rate over the peak where the run
ends, after its last step, reached along half a cosine (1: constant); `algorithm`, `dialect`, names
in `ALGORITHMS` and `DIALECTS`; `amsgrad`, a bool; further names are the task's own.
"""

EDGE = 0.1  # outer share of a range that counts as its edge


@dataclasses.dataclass(frozen=True)
class Space:
    """Dimensions to search, and what every configuration has besides.

    Attributes:
        dimensions: searched, in the order of the columns of positions.
        fixed: hyperparameters that every configuration has.
    """

    dimensions: tuple[Dimension, ...]
    fixed: Config = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [d.name for d in self.dimensions] + list(self.fixed)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: given more than once in a Space")
        object.__setattr__(self, "fixed", {k: plain(x) for k, x in self.fixed.items()})
        known: dict[str, Any] = {name: (value,) for name, value in self.fixed.items()}
        for d in self.dimensions:
            if d.per is not None and d.per not in known:
                raise ValueError(
                    f"{d.name} is a product with {d.per}, which must stand before it in the space"
                )
            if d.per is not None and not all(x > 0 for x in known[d.per]):
                raise ValueError(
                    f"{d.name} is a product with {d.per}, which must be positive: let {d.per} "
                    f"begin above 0, or give {d.name} a Dimension without per"
                )
            known[d.name] = d.choices or (d.low,)

    @property
    def names(self) -> tuple[str, ...]:
        """What is searched."""
        return tuple(d.name for d in self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        for d in self.dimensions:
            if d.name == name:
                return d
        raise KeyError(f"{name} is not searched: the space has {', '.join(self.names)}")

    def default(self) -> Config:
        """The configuration of every dimension's default."""
        config = dict(self.fixed)
        for d in self.dimensions:
            config[d.name] = d.middle(config)
        return config

    def from_unit(self, u: ArrayLike) -> list[Config]:
        """Configurations at positions (n, d) or (d,); those outside are moved to the border."""
        positions = self._positions(u)
        configs = []
        for row in positions:
            config = dict(self.fixed)
            for d, x in zip(self.dimensions, row, strict=True):
                config[d.name] = d.from_unit(x, config)
            configs.append(config)
        return configs

    def to_unit(self, configs: Sequence[Config] | Config) -> np.ndarray:
        """Positions (n, d) of configurations; not clipped, so one outside the range shows."""
        if isinstance(configs, Mapping):
            configs = [configs]
        rows = [[d.to_unit(self._value(d, c), c) for d in self.dimensions] for c in configs]
        return np.array(rows, np.float64).reshape(len(configs), len(self))

    def edge(self, config: Config) -> dict[str, Side]:
        """Which hyperparameters lie in the outer tenth of their range, and at which end."""
        found: dict[str, Side] = {}
        for d, x in zip(self.dimensions, self.to_unit(config)[0], strict=True):
            if d.scale != "choice" and not EDGE < x < 1 - EDGE:
                found[d.name] = "low" if x <= EDGE else "high"
        return found

    def widened(self, edges: Mapping[str, Side]) -> Space:
        """The space with these ends moved outwards, as `edge` names them."""
        for name in edges:
            self[name]
        return dataclasses.replace(
            self,
            dimensions=tuple(
                d.widened(edges[d.name]) if d.name in edges else d for d in self.dimensions
            ),
        )

    def with_(self, **dimensions: Dimension | Any) -> Space:
        """The space with dimensions replaced or added; any other value fixes a hyperparameter.

        ``space.with_(b1=0.9)`` fixes b1; ``space.with_(eps=Dimension("eps", 1e-10, 1e-4, "log"))``
        searches eps.
        """
        searched = {d.name: d for d in self.dimensions}
        fixed = dict(self.fixed)
        for name, value in dimensions.items():
            if isinstance(value, Dimension):
                if value.name != name:
                    raise ValueError(f"{name}: the Dimension is named {value.name!r}")
                fixed.pop(name, None)
                searched[name] = value
            else:
                searched.pop(name, None)
                fixed[name] = value
        return Space(tuple(searched.values()), fixed)

    def only(self, *names: str, around: Config | None = None) -> Space:
        """Search these only; the others are fixed as in `around`, or at their defaults."""
        for name in names:
            self[name]
        base = self.default() if around is None else around
        fixed = {d.name: self._value(d, base) for d in self.dimensions if d.name not in names}
        kept = [d for d in self.dimensions if d.name in names]
        return Space(tuple(kept), {**self.fixed, **fixed})

    def _value(self, d: Dimension, config: Config) -> Any:
        if d.name not in config:
            raise ValueError(f"the configuration has no {d.name}: it has {', '.join(config)}")
        return config[d.name]

    def _positions(self, u: ArrayLike) -> np.ndarray:
        positions = np.atleast_2d(np.asarray(u, np.float64))
        if positions.ndim != 2 or positions.shape[1] != len(self):
            raise ValueError(
                f"positions must have shape (n, {len(self)}), a column for each of "
                f"{', '.join(self.names)}; got {np.shape(u)}"
            )
        if np.isnan(positions).any():
            raise ValueError("positions must be numbers, got NaN")
        return positions


# fmt: off
_OPTIONAL: dict[str, Dimension] = {
    "eps": Dimension("eps", 1e-10, 1e-4, "log", default=1e-8),
    "amsgrad": Dimension("amsgrad", scale="choice", choices=(False, True), default=False),
    "warmup": Dimension("warmup", 0.0, 0.1, default=0.0, bounds=(0.0, 0.5)),
    "final": Dimension("final", scale="choice", choices=(0.0, 1.0), default=0.0),
    "dialect": Dimension("dialect", scale="choice", choices=("TORCH", "KERAS"), default="TORCH"),
    "algorithm": Dimension(
        "algorithm", scale="choice", choices=("adamw", "nadamw", "radamw"), default="adamw"
    ),
}
# fmt: on

_ALWAYS = ("learning_rate", "b1", "b2", "weight_decay")


def _further(name: str, default: float) -> Dimension:
    """A hyperparameter that few algorithms have: a decade to each side of its default, for a decay
    rate of the length of its memory.
    """
    if is_decay_rate(name):
        left = 1 - default
        return Dimension(name, 1 - 10 * left, 1 - left / 10, "log_one_minus", default=default)
    return Dimension(name, default / 10, default * 10, "log", default=default)


def _optional(algorithm: str) -> Mapping[str, Dimension]:
    """What can be added by name: the same for all, and what only this algorithm has."""
    row, defaults = ALGORITHMS[algorithm], ALGORITHMS[algorithm].defaults
    without = {"eps"} - {*row.hyperparameters}
    without |= set() if row.has_dialects else {"dialect"}
    without |= set() if algorithm in ("adam", "adamw") else {"amsgrad"}
    return {name: d for name, d in _OPTIONAL.items() if name not in without} | {
        name: _further(name, default)
        for name, default in defaults.items()
        if default is not None and name not in {*_OPTIONAL, *_ALWAYS}
    }


def adamw_space(
    *search: str,
    steps: int | None = None,
    learning_rate: tuple[float, float] = (1e-4, 1e-1),
    b1: tuple[float, float] = (0.5, 0.996),
    b2: tuple[float, float] = (0.9, 0.9999),
    decay: tuple[float, float] | None = None,
    final: float = 0.0,
    warmup: float = 0.0,
    algorithm: str = "adamw",
    dialect: str = "TORCH",
) -> Space:
    """Learning rate, b1, b2 and weight decay of AdamW with a cosine schedule, all on log scales.

    Searching more than these four dilutes: at every budget that was tried, eight found worse
    configurations than four. So the others are asked for by name, in `search`.

    Args:
        search: further names to search: "eps", "amsgrad", "warmup", "final", "dialect",
            "algorithm", and what only the algorithm has, as AdEMAMix's "b3" and "alpha".
        steps: length of the run in steps: gives `decay` its default.
        learning_rate: range of the peak.
        b1: range, on the scale of ``log(1 - b1)``.
        b2: range, on the scale of ``log(1 - b2)``.
        decay: range of ``learning_rate * weight_decay``, what a step at the peak takes off a
            parameter. Default: decay times from 1000 runs to a third of a run, ``1e-3 / steps`` to
            ``3 / steps``; without `steps`, 1e-6 to 1e-2.
        final: last learning rate over the peak, unless searched; 1: constant.
        warmup: share of the run, unless searched.
        algorithm: name in `ALGORITHMS`, unless searched.
        dialect: name in `DIALECTS`, unless searched.

    Raises:
        ValueError: a name that cannot be searched, or an empty range.

    Reference: Godbole et al. 2023, Deep Learning Tuning Playbook,
    https://github.com/google-research/tuning_playbook; decay times: Wang and Aitchison 2024,
    https://arxiv.org/abs/2405.13698

    Examples:
        >>> space = tune.adamw_space(steps=100)
        >>> space.names
        ('learning_rate', 'b1', 'b2', 'weight_decay')
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if decay is None:
        decay = (1e-6, 1e-2) if steps is None else (1e-3 / steps, 3 / steps)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {algorithm!r}")
    optional, defaults = _optional(algorithm), ALGORITHMS[algorithm].defaults
    unknown = [name for name in search if name not in optional]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: cannot be added by name to what {algorithm} has; choose from "
            f"{', '.join(optional)}, or use Space.with_"
        )
    if dialect not in DIALECTS:
        raise ValueError(f"dialect must be one of {', '.join(DIALECTS)}; got {dialect!r}")
    dimensions = (
        Dimension("learning_rate", *learning_rate, "log", default=1e-3),
        Dimension("b1", *b1, "log_one_minus", default=defaults["b1"]),
        Dimension("b2", *b2, "log_one_minus", default=defaults["b2"] or 0.999),
        Dimension("weight_decay", *decay, "log", default=1e-2, per="learning_rate"),
    )
    fixed = dict(algorithm=algorithm, dialect=dialect, final=final, warmup=warmup)
    return Space(dimensions, fixed).with_(**{name: optional[name] for name in search})
