"""A configuration with every default written out, as the writers of code need it."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...dialects import Dialect
from ...rules import Algorithm
from .._hyper import DEFAULTS, filled, group_of
from ..space import Config


@dataclasses.dataclass(frozen=True)
class Settings:
    """What code is written from.

    Attributes:
        row: of the table of algorithms, AMSGrad's where it is on.
        dialect: whose reading of it.
        values: hyperparameters of the algorithm by our names, without the learning rate.
        learning_rate: peak.
        warmup: steps.
        final: last learning rate over the peak.
        steps: length of the run.
        own: hyperparameters that are not the optimizer's: the task's.
        dtype: of the weights.
        before: whether the task has a transformation in front.
    """

    row: Algorithm
    dialect: Dialect
    values: dict[str, float]
    learning_rate: float
    warmup: int
    final: float
    steps: int
    own: dict[str, Any]
    dtype: str
    before: bool

    @property
    def is_half(self) -> bool:
        """Whether the weights were trained beside a float32 master."""
        return self.dtype in ("float16", "bfloat16")

    @property
    def constant(self) -> bool:
        """Whether the learning rate never changes."""
        return self.final == 1 and self.warmup == 0


def settings(config: Config, steps: int, dtype: str = "float32", before: bool = False) -> Settings:
    """Read a configuration; raises ValueError where it cannot be."""
    if "learning_rate" not in config:
        raise ValueError(f"the configuration has no learning_rate: {dict(config)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    group, full = group_of(config), filled(config, steps)
    row = group.row
    if group.selects and not config["amsgrad"]:
        row = group_of({k: x for k, x in config.items() if k != "amsgrad"}).row
    values = {name: float(full[name]) for name in group.names}
    known = {*values, *DEFAULTS, "learning_rate", "amsgrad"}
    return Settings(
        row=row,
        dialect=group.reading,
        values=values,
        learning_rate=float(config["learning_rate"]),
        warmup=full["warmup"],
        final=float(full["final"]),
        steps=steps,
        own={name: x for name, x in config.items() if name not in known},
        dtype=dtype,
        before=before,
    )


USAGE_IN_JAX = (
    "# state = tx.init(params)",
    "# updates, state = tx.update(gradients, state, params)",
    "# params = optax.apply_updates(params, updates)",
    "",
)
"""How `tx` is used: the end of the code."""


def schedule_code(s: Settings, function: str, arguments: list[str]) -> tuple[str, str]:
    """Code that defines the schedule, if there is one, and the learning rate's expression."""
    if s.constant:
        return "", repr(s.learning_rate)
    lines = [f"learning_rate = {function}(", *(f"    {x}," for x in arguments), ")", ""]
    return "\n".join(lines), "learning_rate"


def heading(s: Settings, master: str, in_front: str) -> list[str]:
    """Comments that say what the code is, and what belongs to the task.

    Args:
        s: settings.
        master: what gives half-precision weights their float32 master.
        in_front: what to do with the task's own transformation.
    """
    lines = [f"# Tuned by functional_adam for a run of {s.steps} steps."]
    if s.own:
        lines.append(f"# The task's own hyperparameters: {s.own}")
    if s.is_half:
        lines.append(f"# Weights were {s.dtype} beside a float32 master: {master}.")
    if s.before:
        lines.append(f"# The task's `before` (clipping or the like) stands in front: {in_front}.")
    return lines


def ours_only(s: Settings, framework: str, what: str) -> ValueError:
    """The error of a framework that has no such optimizer."""
    return ValueError(
        f"{framework} has no {what}; as_code('functional_adam') gives an optax transformation"
    )
