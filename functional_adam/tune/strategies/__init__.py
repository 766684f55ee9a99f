"""Strategies by name: one file each. All have one interface, `Strategy`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType

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
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    dict(tpe=("optuna",), gp=("optuna", "torch"))
)
"""Packages of some strategies that the core does without."""


def strategy_named(name: str | Strategy) -> tuple[str, Strategy]:
    """A strategy and its name; raises ValueError where there is none of that name."""
    if callable(name):
        return getattr(name, "__name__", type(name).__name__), name
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}; got {name!r}")
    missing = [x for x in NEEDS.get(name, ()) if importlib.util.find_spec(x) is None]
    if missing:
        raise ImportError(
            f"strategy {name!r} needs {' and '.join(missing)}: pip install 'functional_adam[tune]'"
        )
    return name, STRATEGIES[name]
