"""From configurations to what a program needs: its static part, and numbers as data.

Everything numeric is data, so that no value compiles anything. `b1`, `b2` and the others travel as
`TwoFloat`: a float32 0.999 has lost the digits of ``1 - b2``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check
from .._two_float import two_float
from ..dialects import DIALECTS, Dialect
from ..precision import with_master
from ..rules import ALGORITHMS, Algorithm
from ..schedules import warmup_cosine
from .space import Config, Space

STATIC = {"algorithm": ALGORITHMS, "dialect": DIALECTS}
DEFAULTS: Mapping[str, Any] = {
    "algorithm": "adamw",
    "dialect": "TORCH",
    "warmup": 0.0,
    "final": 1.0,
}
NUMBERS = tuple(dict.fromkeys(name for row in ALGORITHMS.values() for name in row.hyperparameters))


@dataclasses.dataclass(frozen=True)
class Group:
    """What a configuration decides of the program: trials of one group share one trace.

    Attributes:
        algorithm: name in `ALGORITHMS`; with `selects`, that of the AMSGrad variant.
        dialect: name in `DIALECTS`.
        selects: whether `amsgrad` is data, on or off in each lane; not where the dialect's AMSGrad
            differs from its Adam by more than the maximum, in the corrections.
    """

    algorithm: str
    dialect: str
    selects: bool

    @property
    def row(self) -> Algorithm:
        """Row of the table of algorithms."""
        return ALGORITHMS[self.algorithm]

    @property
    def reading(self) -> Dialect:
        """The dialect itself."""
        return DIALECTS[self.dialect]

    @property
    def decoupled(self) -> bool:
        """Whether decay acts on the parameter."""
        return "decoupled" in (self.row.decay, self.reading.decay)

    @property
    def names(self) -> tuple[str, ...]:
        """Hyperparameters the algorithm has in this dialect, without the learning rate."""
        without = () if self.reading.schedules_nadam else ("momentum_decay",)
        return tuple(
            name for name in self.row.hyperparameters if name not in ("learning_rate", *without)
        )


class Hyper(NamedTuple):
    """Hyperparameters of one lane, or of many with a leading axis; see `hyper_of`."""

    peak: Any  # float (), learning rate after warm-up
    warmup: Any  # int32 (), steps
    final: Any  # float (), last learning rate over the peak
    of: Any  # int32 (), steps the schedule is laid out for
    amsgrad: Any  # bool ()
    numbers: dict[str, Any]  # name -> TwoFloat (), what update is given
    own: dict[str, Any]  # name -> float (), what the task's loss is given


def group_of(config: Config) -> Group:
    """The static part of a configuration; raises ValueError for a name that is not known."""
    chosen = {}
    for name, allowed in STATIC.items():
        chosen[name] = config.get(name, DEFAULTS[name])
        if chosen[name] not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {chosen[name]!r}")
    selects = "amsgrad" in config
    algorithm = chosen["algorithm"]
    if selects:
        twins = {"adam": "amsgrad", "adamw": "amsgradw"}
        if algorithm not in twins:
            raise ValueError(
                f"amsgrad belongs to adam and adamw; got algorithm={algorithm!r} with "
                f"amsgrad={config['amsgrad']!r}"
            )
        selects = _differs_by_the_maximum(DIALECTS[chosen["dialect"]])
        if selects or config["amsgrad"]:
            algorithm = twins[algorithm]
    if chosen["dialect"] != DEFAULTS["dialect"] and not ALGORITHMS[algorithm].has_dialects:
        raise ValueError(
            f"{algorithm} has no dialects: leave dialect={chosen['dialect']!r} out, or choose "
            "another algorithm"
        )
    return Group(algorithm, chosen["dialect"], selects)


def _differs_by_the_maximum(dialect: Dialect) -> bool:
    return dialect.amsgrad != "uncorrected" or dialect.bias_correction == "none"


def check_space(space: Space, own: Sequence[str]) -> None:
    """Raise ValueError where names or choices of a space do not go together."""
    static = [d for d in space.dimensions if d.name in (*STATIC, "amsgrad") and d.choices]
    for values in itertools.product(*(d.choices for d in static)):
        config = {**space.default(), **{d.name: x for d, x in zip(static, values, strict=True)}}
        check(config, own)
        transformation(group_of(config), "float32", None)


def check(config: Config, own: Sequence[str]) -> None:
    """Raise ValueError where a configuration has a name or a value it cannot have."""
    known = {*NUMBERS, *DEFAULTS, "amsgrad", *own}
    unknown = [name for name in config if name not in known]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: not a hyperparameter of the optimizer nor one of the task's "
            f"own ({', '.join(own) or 'it has none'})"
        )
    missing = [name for name in ("learning_rate", *own) if name not in config]
    if missing:
        raise ValueError(f"the configuration has no {', '.join(missing)}: {dict(config)}")
    group = group_of(config)
    for name in own:
        if name in (*DEFAULTS, "learning_rate", "amsgrad", *group.names):
            raise ValueError(
                f"own: {name} is the optimizer's already; give the task's another name"
            )
    theirs = [name for name in NUMBERS if name in config and name not in own]
    for name in theirs:
        _check.number(name, _real(name, config[name]))
    for name, most in (("warmup", 1.0), ("final", math.inf)):
        value = _real(name, config.get(name, DEFAULTS[name]))
        if not 0 <= value < most:
            raise ValueError(f"{name} must be in [0, {most}), got {value}")
    if "amsgrad" in config and not isinstance(config["amsgrad"], bool | np.bool_):
        raise ValueError(f"amsgrad must be True or False, got {config['amsgrad']!r}")
    for name in theirs:
        if name not in ("learning_rate", *group.names):
            raise ValueError(
                f"{name} has no meaning for {group.algorithm} in dialect {group.dialect}"
            )
    for name in own:
        if not math.isfinite(_real(name, config[name])):
            raise ValueError(f"{name} must be finite, got {config[name]}")


def filled(config: Config, of: int) -> dict[str, Any]:
    """The configuration with every default written out; `warmup` in whole steps.

    Where decay follows the schedule's multiplier, the peak is `base_learning_rate` as well.
    """
    group = group_of(config)
    own = {name: x for name, x in group.row.defaults.items() if x is not None}
    values = {**DEFAULTS, **own, **config}
    given = {name: values.get(name) for name in ("learning_rate", *group.names)}
    if group.row.decay == "decoupled" and group.row.has_dialects:
        given["base_learning_rate"] = None
    else:
        given["weight_decay"] = values.get("weight_decay", 0.0)
    values |= group.reading.fill(given, decoupled=group.decoupled)
    # The last update is not of the warm-up, or there would be no peak.
    values["warmup"] = min(round(values["warmup"] * of), of - 1)
    return values


def hyper_of(configs: Sequence[Config], ofs: Sequence[int], own: Sequence[str]) -> Hyper:
    """Hyperparameters of lanes of one group as arrays (lanes,), made on the host."""
    group = group_of(configs[0])
    rows = [filled(config, of) for config, of in zip(configs, ofs, strict=True)]
    real = jnp.result_type(float)

    def column(name: str, dtype: Any = np.float64):
        return np.array([row[name] for row in rows], dtype)

    base = [name for name in ("base_learning_rate",) if name in rows[0]]
    numbers = {name: two_float(column(name)) for name in (*group.names, *base)}
    amsgrad = [bool(row.get("amsgrad", False)) for row in rows]
    return Hyper(
        peak=column("learning_rate", real),
        warmup=column("warmup", np.int32),
        final=column("final", real),
        of=np.array(ofs, np.int32),
        amsgrad=np.array(amsgrad),
        numbers=jax.tree.map(np.asarray, numbers),
        own={name: column(name, real) for name in own},
    )


def learning_rate(h: Hyper, count: Any) -> Any:
    """Of the update after `count` others: a line up to the peak, then half a cosine to the end.

    The line starts at 1 / w of the peak and reaches it after w updates.
    """
    start = 1 / jnp.maximum(h.warmup, 1).astype(h.peak.dtype)
    schedule = warmup_cosine(
        h.peak,
        warmup_steps=h.warmup,
        total_steps=h.of,
        start_factor=start,
        end_factor=h.final,
    )
    return schedule(count)


def transformation(
    group: Group, dtype: str, before: optax.GradientTransformation | None
) -> optax.GradientTransformationExtraArgs:
    """The group's optimizer; `update` is given every hyperparameter."""
    # The numbers here are only placeholders: each update overrides them.
    reading = {"dialect": group.reading} if group.row.has_dialects else {}
    tx = group.row.make(1e-3, weight_decay=0.0, **reading)
    if group.selects:
        tx = _selecting(tx)
    if before is not None:
        tx = optax.chain(before, tx)
    return with_master(tx) if dtype in ("float16", "bfloat16") else tx


def update_arguments(group: Group, h: Hyper, count: Any) -> dict[str, Any]:
    """What `update` is given in the step after `count` others."""
    extra = {"amsgrad": h.amsgrad} if group.selects else {}
    return {"learning_rate": learning_rate(h, count), **h.numbers, **extra}


def _selecting(tx: optax.GradientTransformationExtraArgs) -> Any:
    """AMSGrad where the argument `amsgrad` is true, else Adam, in one program.

    With a maximum so far of zero, AMSGrad's maximum is v itself, and its step is Adam's, in the
    dialects that `_differs_by_the_maximum`.
    """

    def update(updates, state, params=None, **extra):
        amsgrad = extra.pop("amsgrad")
        kept = jax.tree.map(lambda v: jnp.where(amsgrad, v, 0), state.nu_max)
        return tx.update(updates, state._replace(nu_max=kept), params, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)
