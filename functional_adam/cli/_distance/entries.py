"""Who takes part: each framework's Adam, AdamW and NAdam as it is without options, and four cases.

The presets stand for the frameworks; `functional-adam parity --dialects` shows that they may.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

RATE = 1e-3  # of all: the frameworks' defaults differ in that too, but everybody sets it

CLASSES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Adam": {
        "torch": ("TORCH", "adam"),
        "optax": ("OPTAX", "adam"),
        "Keras": ("KERAS", "adam"),
        "apex": ("APEX", "adamw"),
        "DeepSpeed": ("DEEPSPEED", "adamw"),
        "bitsandbytes": ("BITSANDBYTES", "adam"),
        "optimi": ("OPTIMI", "adam"),
        "the paper": ("PAPER", "adam"),
    },
    "AdamW": {
        "torch": ("TORCH", "adamw"),
        "optax": ("OPTAX", "adamw"),
        "Keras": ("KERAS", "adamw"),
        "Hugging Face": ("HF", "adamw"),
        "BertAdam": ("BERT", "adamw"),
        "bitsandbytes": ("BITSANDBYTES", "adamw"),
        "optimi": ("OPTIMI", "adamw"),
        "HeavyBall": ("HEAVYBALL", "adamw"),
    },
    "NAdam": {
        "torch": ("TORCH", "nadam"),
        "optax": ("OPTAX", "nadam"),
        "Keras": ("KERAS", "nadam"),
        "timm's NAdamW": ("TIMM", "nadamw"),
        "the paper": ("PAPER", "nadam"),
    },
}
"""Class -> framework -> (preset, algorithm of ours)."""


@dataclasses.dataclass(frozen=True)
class Case:
    """Something of torch or Keras that optax cannot express.

    Attributes:
        framework: whose class is the oracle, `torch` or `keras`.
        theirs: the class and its options.
        optax: the function and the sets of options of which the nearest is taken.
        ours: the algorithm and its options, `dialect` by name.
    """

    framework: str
    theirs: tuple[str, Mapping[str, Any]]
    optax: tuple[str, tuple[Mapping[str, Any], ...]]
    ours: tuple[str, Mapping[str, Any]]


_FLAGS = tuple(
    dict(bias_correction_mu=mu, bias_correction_nu=nu)
    for mu in (True, False)
    for nu in (True, False)
)
_LARGE = {"eps": 1e-2}

CASES = (
    Case("torch", ("Adam", {"amsgrad": True}), ("amsgrad", _FLAGS), ("amsgrad", {})),
    Case("torch", ("NAdam", {}), ("nadam", ({},)), ("nadam", {})),
    Case("torch", ("RAdam", _LARGE), ("radam", (_LARGE,)), ("radam", _LARGE)),
    Case("keras", ("Adam", {}), ("adam", ({"eps": 1e-7},)), ("adam", {"dialect": "KERAS"})),
    Case(
        "keras",
        ("Adam", {"epsilon": 1e-3}),
        ("adam", ({"eps": 1e-3},)),
        ("adam", {"dialect": "KERAS", "eps": 1e-3}),
    ),
)
"""The four, the last also at an eps that people use."""
