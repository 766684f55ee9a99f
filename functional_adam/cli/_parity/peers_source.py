"""Dialects against frameworks that do not install here, and papers: float64 from their source."""

from __future__ import annotations

from typing import Any

from functional_adam import schedules

from .peers import RATE, SEEN, lines, same

_EPS: dict[str, Any] = {"eps": SEEN["eps"]}
_BETAS: dict[str, Any] = dict(b1=0.8, b2=0.95)
_TOTAL = 4000
_WARMED = schedules.warmup_linear(RATE, warmup_steps=400, total_steps=_TOTAL)


def _decaying(count: Any) -> Any:
    return 1 / (1 + count / 100)


_SOURCE_SEEN = same("options", **SEEN, **_BETAS)
SOURCES = (
    *lines(
        "HF",
        "hf-source",
        {
            ("adamw", "adamw"): (
                same(),
                _SOURCE_SEEN,
                dict(
                    name="uncorrected",
                    knobs={"bias_correction": "none"},
                    ours=SEEN,
                    options=SEEN | {"correct_bias": False},
                ),
            )
        },
    ),
    *lines(
        "BERT",
        "bert-source",
        {
            ("adamw", "adamw"): (
                same(),
                _SOURCE_SEEN,
                dict(
                    name="warmup",
                    ours={"learning_rate": _WARMED},
                    options={"warmup": 0.1, "t_total": _TOTAL},
                ),
            )
        },
    ),
    *lines(
        "APEX",
        "apex-source",
        {
            ("adam", "adam"): (same(), _SOURCE_SEEN),
            ("adamw", "adamw"): (
                same(),
                _SOURCE_SEEN,
                dict(
                    name="uncorrected",
                    knobs={"bias_correction": "none"},
                    ours=SEEN,
                    options=SEEN | {"bias_correction": False},
                ),
            ),
        },
    ),
    *lines(
        "DEEPSPEED",
        "deepspeed-source",
        {("adam", "adam"): (same(), _SOURCE_SEEN), ("adamw", "adamw"): (same(), _SOURCE_SEEN)},
    ),
    *lines(
        "TIMM",
        "timm-source",
        {
            ("nadamw", "nadamw"): (same(), _SOURCE_SEEN),
            ("radamw", "radamw"): (same("options", **SEEN, **_BETAS),),
        },
    ),
    *lines(
        "KERAS",
        "tf_keras-source",
        {
            ("adamw", "adamw"): (
                _SOURCE_SEEN,
                dict(
                    name="adaptive_epsilon",
                    knobs={"eps_place": "after_correction"},
                    ours=SEEN,
                    options=SEEN | {"adaptive_epsilon": True},
                ),
            ),
            ("amsgradw", "amsgradw"): (_SOURCE_SEEN,),
        },
    ),
    *lines(
        "BITSANDBYTES",
        "bitsandbytes-source",
        {("adamw", "adamw"): (same(), _SOURCE_SEEN)},
    ),
    *lines("HEAVYBALL", "heavyball-source", {("adamw", "adamw"): (same(), _SOURCE_SEEN)}),
    *lines(
        "PAPER",
        "papers-source",
        {
            ("adam", "adam"): (same(), same("options", **_EPS, **_BETAS)),
            ("adamw", "adamw"): (
                dict(
                    name="schedule",
                    ours={
                        "learning_rate": schedules.lambda_lr(RATE, lr_lambda=_decaying),
                        "base_learning_rate": RATE,
                        "weight_decay": 1e-3,
                    },
                    options={"weight_decay": 1e-3, "multiplier": _decaying},
                ),
            ),
            ("amsgrad", "amsgrad"): (same(), same("options", **_EPS, **_BETAS)),
            ("nadam", "nadam"): (same(), same("options", **_EPS, momentum_decay=0.5)),
            ("radam", "radam"): (same(), same("options", **_EPS, **_BETAS)),
            ("adamax", "adamax"): (same(), same("options", **_EPS, **_BETAS)),
        },
    ),
)
"""Against independent references, named as their files in `.._frameworks`."""
