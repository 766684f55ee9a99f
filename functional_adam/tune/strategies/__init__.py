"""Strategies by name: one file each. All have one interface, `Strategy`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..._extras import require
from ._search import Rounds as Rounds
from ._search import Strategy as Strategy
from ._whole import halving as halving
from ._whole import quasi as quasi
from ._whole import random as random
from .auto import auto as auto
from .fan_box import fan_box as fan_box
from .ladder import ladder as ladder
from .samplers import gp as gp
from .samplers import optuna_sampler as optuna_sampler
from .samplers import tpe as tpe

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    dict(
        auto=auto,
        ladder=ladder,
        quasi=quasi,
        halving=halving,
        fan_box=fan_box,
        random=random,
        tpe=tpe,
        gp=gp,
    )
)
NEEDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    dict(tpe=dict(optuna="tune"), gp=dict(optuna="tune", torch="torch"))
)
"""Packages of some strategies that the core does without, each with the extra that brings it."""


def strategy_named(name: str | Strategy) -> tuple[str, Strategy]:
    """A strategy and its name.

    Raises:
        ValueError: there is none of that name.
        ImportError: it needs a package that is not installed.
    """
    if callable(name):
        return getattr(name, "__name__", type(name).__name__), name
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}; got {name!r}")
    for package, extra in NEEDS.get(name, {}).items():
        require(package, extra)
    return name, STRATEGIES[name]
