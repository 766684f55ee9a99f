"""The distances as text, as markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from .measure import Before, Matrix

_LEGEND = """\
Where {steps} steps lead from the same start on the same batches, in float64: the distance between
two ends over the longer of the two ways, each framework with its defaults and a rate of 1e-3."""
_NO = "not installed"
_HEADS = ("asked for", "optax's nearest", "optax from it", "ours", "ours from it")


def as_lines(matrices: list[Matrix], befores: list[Before], steps: int) -> list[str]:
    """The tables for a terminal."""
    lines = _LEGEND.format(steps=steps).splitlines()
    for matrix in matrices:
        heads = "".join(f"{_short(name):>10}" for name in matrix.frameworks)
        lines += ["", f"{matrix.name:<16}{heads}"]
        for name, row in zip(matrix.frameworks, matrix.distances, strict=True):
            lines.append(f" {name:<15}" + "".join(f"{_text(value):>10}" for value in row))
    lines += ["", *(" | ".join(_cells(each)) for each in befores)]
    return lines


def as_markdown(matrices: list[Matrix], befores: list[Before]) -> str:
    """The tables of the README."""
    parts = []
    for matrix in matrices:
        heads = [f"`{matrix.name}`", *matrix.frameworks]
        lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * len(matrix.frameworks) + "|"]
        for name, row in zip(matrix.frameworks, matrix.distances, strict=True):
            lines.append("| " + " | ".join([name, *map(_text, row)]) + " |")
        parts.append("\n".join(lines))
    lines = ["| " + " | ".join(_HEADS) + " |", "|---|---|---:|---|---:|"]
    lines += ["| " + " | ".join(_cells(each)) + " |" for each in befores]
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def as_json(matrices: list[Matrix], befores: list[Before], steps: int) -> str:
    """Every number, and the versions."""
    found = {
        "versions": {name: version(name) for name in ("functional_adam", "jax", "optax", "torch")},
        "steps": steps,
        "distances": {
            matrix.name: {
                name: dict(zip(matrix.frameworks, row, strict=True))
                for name, row in zip(matrix.frameworks, matrix.distances, strict=True)
            }
            for matrix in matrices
        },
        "before_and_after": [
            dict(zip(("asked", "optax", "before", "ours", "after"), _cells(each), strict=True))
            | {"before": each.optax, "after": each.ours}
            for each in befores
        ],
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _cells(each: Before) -> list[str]:
    module = {"torch": "torch.optim", "keras": "keras.optimizers"}[each.case.framework]
    name, options = each.case.theirs
    algorithm, ours = each.case.ours
    return [
        f"`{module}.{name}({_call(options)})`",
        f"`{each.case.optax[0]}({_call(each.optax_options)})`",
        _NO if each.optax is None else _text(each.optax),
        f"`{algorithm}({_call(ours)})`",
        _NO if each.ours is None else _text(each.ours),
    ]


def _call(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _short(name: str) -> str:
    return name if len(name) <= 9 else name[:8] + "."


def _text(value: float) -> str:
    """A share in percent; what is only rounding as a power of ten."""
    if value == 0:
        return "0"
    return f"{100 * value:.2g}%" if value >= 1e-4 else f"{value:.0e}"
