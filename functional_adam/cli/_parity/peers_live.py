"""Dialects against the frameworks' own code, where it runs here: optax, Keras and torch's kin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .peers import RATE, SEEN, SINGLE, lines, renamed, same

_EPS: dict[str, Any] = {"eps": SEEN["eps"]}
_ROOT: dict[str, Any] = {"eps_root": 1e-4}
_OPTAX_FLAGS = (
    same("options", **_EPS, b1=0.8, b2=0.95),
    same("eps_root", **_ROOT),
    same("nesterov", nesterov=True),
    same("nesterov-eps_root", nesterov=True, **_EPS, **_ROOT),
    # optax rounds b1 * mu to the dtype mu is kept in before it adds; we compute in float32.
    same("mu_dtype", mu_dtype="bfloat16") | {"equal": False, "dtypes": SINGLE, "free": SINGLE},
)
_DECAY: dict[str, Any] = {"weight_decay": 0.1}


def _decaying(line: dict[str, Any]) -> dict[str, Any]:
    return line | {"ours": line["ours"] | _DECAY, "options": line["options"] | _DECAY}


_FIRST = {"bias_correction": "first"}
_SECOND = {"bias_correction": "second"}
_NO_MU, _NO_NU = {"bias_correction_mu": False}, {"bias_correction_nu": False}

_OPTAX = lines(
    "OPTAX",
    "optax",
    {
        ("adam", "adam"): (same(), *_OPTAX_FLAGS),
        ("adamw", "adamw"): (
            same(),
            *map(_decaying, _OPTAX_FLAGS),
        ),
        ("amsgrad", "amsgrad"): (
            same(),
            same("eps_root", **_EPS, **_ROOT),
            dict(name="no_mu", knobs=_SECOND, options=_NO_MU | _EPS, ours=_EPS),
            dict(name="no_nu", knobs=_FIRST, options=_NO_NU | _EPS, ours=_EPS),
            dict(name="neither", knobs={"amsgrad": "uncorrected"}, options=_NO_MU | _NO_NU),
        ),
        ("nadam", "nadam"): (same(), same("eps_root", **_EPS, **_ROOT)),
        ("nadamw", "nadamw"): (same(), same("options", **SEEN, b1=0.8)),
        ("radam", "radam"): (
            same(),
            same("options", **_EPS, b1=0.8, b2=0.95),
            same("eps_root", **_EPS, **_ROOT),
            same("nesterov", nesterov=True, **_EPS),
            dict(name="threshold", knobs={"radam_threshold": 4.5}, options={"threshold": 4.5}),
        ),
        ("adamax", "adamax"): (same(), same("options", **_EPS, b1=0.8, b2=0.95)),
    },
)

_keras = renamed({"b1": "beta_1", "b2": "beta_2", "eps": "epsilon"})
_KERAS_SEEN = _keras("options", **SEEN, b1=0.8, b2=0.95)
_MAXIMUM: dict[str, Any] = {"amsgrad": True}
_KERAS = lines(
    "KERAS",
    "keras",
    {
        ("adam", "Adam"): (_keras(), _keras("options", **_EPS), _KERAS_SEEN | {"name": "decay"}),
        ("adamw", "AdamW"): (_keras(), _KERAS_SEEN),
        ("amsgrad", "Adam"): (_keras(options=_MAXIMUM), _keras("options", _MAXIMUM, **_EPS)),
        ("amsgradw", "AdamW"): (
            _keras(options=_MAXIMUM),
            _keras("options", _MAXIMUM, **SEEN),
        ),
        ("nadam", "Nadam"): (_keras(), _keras("options", **_EPS, b1=0.8)),
        ("nadamw", "Nadam"): (_keras("options", **SEEN),),
        ("adamax", "Adamax"): (_keras(), _keras("options", **SEEN, b1=0.8, b2=0.95)),
    },
)

_BETAS: dict[str, Any] = dict(b1=0.8, b2=0.95)
_torch = renamed({})


def _in_torch(
    name: str = "", options: Mapping[str, Any] | None = None, **values: Any
) -> dict[str, Any]:
    line = _torch(name, options, **values)
    theirs = dict(line["options"])
    if "b1" in theirs:
        theirs["betas"] = (theirs.pop("b1"), theirs.pop("b2"))
    return line | {"options": theirs}


_FULLY = {"decay_rate": "schedule"}
_OPTIMI = lines(
    "OPTIMI",
    "optimi",
    {
        ("adam", "Adam"): (_in_torch(), _in_torch("options", **SEEN, **_BETAS)),
        ("adamw", "AdamW"): (
            _in_torch(),
            _in_torch("options", **SEEN, **_BETAS),
            dict(
                name="decouple_lr",
                knobs=_FULLY,
                ours={"weight_decay": 5e-4, "base_learning_rate": 2 * RATE},
                options={"weight_decay": 5e-4, "decouple_lr": True, "max_lr": 2 * RATE},
            ),
        ),
        ("radam", "RAdam"): (_in_torch(), _in_torch("options", **SEEN, **_BETAS)),
        ("radamw", "RAdam"): (_in_torch("options", {"decouple_wd": True}, **SEEN, **_BETAS),),
    },
)
# A block that no leaf fills: the state stays float32.
_FLOAT32: dict[str, Any] = {"block_size": float("inf")}
_TORCHAO = lines(
    "TORCH",
    "torchao",
    {
        ("adam", "Adam8bit"): (_in_torch(options=_FLOAT32), _in_torch("options", _FLOAT32, **SEEN)),
        ("adamw", "_AdamW"): (_in_torch(), _in_torch("options", **SEEN, **_BETAS)),
        ("amsgrad", "Adam8bit"): (_in_torch(options=_FLOAT32 | _MAXIMUM),),
        ("amsgradw", "_AdamW"): (_in_torch("options", _MAXIMUM, **SEEN),),
    },
    SINGLE,
)
_OPTIONS = _in_torch("options", **SEEN, **_BETAS)
_BITSANDBYTES = lines(
    "BITSANDBYTES",
    "bitsandbytes",
    {
        ("adam", "Adam32bit"): (_in_torch(), _OPTIONS),
        ("adamw", "AdamW32bit"): (_in_torch(), _OPTIONS),
    },
    SINGLE,
)
_HEAVYBALL = lines("HEAVYBALL", "heavyball", {("adamw", "AdamW"): (_in_torch(), _OPTIONS)}, SINGLE)

LIVE = (*_OPTAX, *_KERAS, *_OPTIMI, *_TORCHAO, *_BITSANDBYTES, *_HEAVYBALL)
"""Against frameworks that are asked themselves."""
