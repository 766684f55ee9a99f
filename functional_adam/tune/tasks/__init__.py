"""Built-in tasks on data that ships in packages: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..task import Task
from .characters import characters as characters
from .digits import digits_cnn as digits_cnn
from .digits import digits_mlp as digits_mlp
from .tabular import breast_cancer as breast_cancer
from .tabular import diabetes as diabetes
from .tabular import wine as wine

BUILTIN: Mapping[str, Callable[[], Task]] = MappingProxyType(
    {
        "digits-mlp": digits_mlp,
        "digits-cnn": digits_cnn,
        "characters": characters,
        "breast-cancer": breast_cancer,
        "wine": wine,
        "diabetes": diabetes,
    }
)
"""Every built-in task by name. All but "characters" need scikit-learn."""


def builtin(name: str) -> Task:
    """A built-in task; raises ValueError for a name that is not one.

    Examples:
        >>> tune.builtin("digits-mlp").name
        'digits-mlp'
    """
    if name not in BUILTIN:
        raise ValueError(f"task must be one of {', '.join(BUILTIN)}; got {name!r}")
    return BUILTIN[name]()
