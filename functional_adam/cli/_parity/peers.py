"""Every dialect against the framework that speaks it: what is compared, as data.

A line names an algorithm of ours in a dialect, and the same in the framework. Where the framework's
own code runs here it is what is compared; where it does not, an independent reference written from
its source (`.._frameworks`), and the row ends in `-source`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from .variants import Variant

BOTH = ("float32", "float64")
SINGLE = ("float32",)
RATE = 1e-3
# Large enough to be seen beside most of the gradients, small enough not to drown all.
SEEN: dict[str, Any] = {"eps": 1e-3, "weight_decay": 0.1}

_PACKAGES = {  # framework -> module to import, extra that installs it
    "keras": ("keras", "keras"),
    "optimi": ("optimi", "peers"),
    "torchao": ("torchao", "peers"),
    "bitsandbytes": ("bitsandbytes", "peers"),
    "heavyball": ("heavyball", "peers"),
}


@dataclasses.dataclass(frozen=True)
class Peer(Variant):
    """One set of options in a dialect, and how the framework is asked for the same.

    Attributes:
        algorithm: ours.
        dialect: name of the preset.
        knobs: knobs changed in it.
        ours: further arguments of ours; a learning rate among them replaces `RATE`.
        framework: in whose code; see `implementations`.
        theirs: name of its function or class.
        options: its arguments, besides the learning rate; of a `-source`, functions of the count
            are read at every step.
        dtypes: in which it can compute.
        equal: whether it is the same formula, and so held to bounds.
    """

    algorithm: str = ""
    dialect: str = "TORCH"
    knobs: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    ours: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    framework: str = ""
    theirs: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    dtypes: tuple[str, ...] = BOTH
    equal: bool = True

    @property
    def subject(self) -> str:
        """Ours, as in the name of a row."""
        return f"jax-{self.dialect.lower()}"

    @property
    def missing(self) -> str | None:
        """The extra that installs the framework, where it is not installed."""
        module, extra = _PACKAGES.get(self.framework, ("", ""))
        return extra if module and importlib.util.find_spec(module) is None else None


def lines(
    dialect: str,
    framework: str,
    table: Mapping[tuple[str, str], tuple[Mapping[str, Any], ...]],
    dtypes: tuple[str, ...] = BOTH,
) -> list[Peer]:
    """Peers from `{(ours, theirs): ({name, ours, options, ...}, ...)}`."""
    found = []
    for (ours, theirs), each in table.items():
        for line in each:
            name = "-".join(filter(None, (framework, line.get("name", ""))))
            settings: dict[str, Any] = dict(dtypes=dtypes, free=dtypes) | {**line, "name": name}
            settings |= dict(algorithm=ours, dialect=dialect, framework=framework, theirs=theirs)
            found.append(Peer(**settings))
    return found


def same(name: str = "", **values: Any) -> dict[str, Any]:
    """Arguments that both sides know by the same name."""
    return dict(name=name, ours=values, options=values)


def renamed(names: Mapping[str, str]) -> Callable[..., dict[str, Any]]:
    """As `same`, with the framework's names for ours."""

    def line(name: str = "", options: Mapping[str, Any] | None = None, **values: Any):
        theirs = {names.get(key, key): value for key, value in values.items()}
        return dict(name=name, ours=values, options=theirs | dict(options or {}))

    return line
