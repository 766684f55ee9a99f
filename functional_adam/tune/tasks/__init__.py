"""Built-in tasks on data that ships in packages: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..task import Task
from .digits import digits_cnn, digits_mlp

BUILTIN: Mapping[str, Callable[[], Task]] = MappingProxyType(
    {"digits-mlp": digits_mlp, "digits-cnn": digits_cnn}
)
"""Every built-in task by name."""


def builtin(name: str) -> Task:
    """A built-in task; raises ValueError for a name that is not one."""
    if name not in BUILTIN:
        raise ValueError(f"task must be one of {', '.join(BUILTIN)}; got {name!r}")
    return BUILTIN[name]()
