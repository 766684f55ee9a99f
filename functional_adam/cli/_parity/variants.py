"""Sets of options: what is given to an algorithm, whatever it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

DTYPES = ("float32", "float64", "bfloat16", "float16")
HALVES = ("bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One set of options.

    Attributes:
        name: as in the names of rows.
        hyperparameters: by our names; the others are in `COMMON`.
        maximize: ascend.
        nesterov: look ahead; torch's classes cannot.
        free: dtypes in which it also runs freely.
    """

    name: str
    hyperparameters: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    maximize: bool = False
    nesterov: bool = False
    free: tuple[str, ...] = ()


COMMON = dict(learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, momentum_decay=4e-3)
DECAY = {"none": 0.0, "coupled": 0.0, "decoupled": 1e-2}

VARIANTS = (
    Variant("plain", free=DTYPES),
    Variant("weight_decay", {"weight_decay": 0.1}, free=("float32",)),
    Variant("maximize", maximize=True),
    Variant("eps=1e-2", {"eps": 1e-2}),
    Variant("b2=.95", {"b2": 0.95}, free=("float32", "float64")),
    Variant("b2=.99999", {"b2": 0.99999}, free=("float32", "float64")),
    # Below one half, lerp has its other branch: it starts from the gradient.
    Variant("b1=.3", {"b1": 0.3}),
    Variant("momentum_decay=.5", {"momentum_decay": 0.5}),
    Variant("nesterov", nesterov=True),
)
