"""The table of `bench --precision` as text, markdown and JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import version

import jax

Rows = Mapping[str, Mapping[str, float]]

HEADS = ("bytes", "temporary", "time")
_TITLES = {
    "bytes": "bytes per parameter",
    "temporary": "temporary bytes",
    "time": "step time / float32",
}


def as_markdown(rows: Rows) -> str:
    """A line for each way to store."""
    columns = _columns(rows)
    lines = [
        "| weights + moments | " + " | ".join(_title(name) for name in columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
    ]
    for name, row in rows.items():
        cells = (_text(column, row.get(column, math.nan)) for column in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_lines(rows: Rows) -> list[str]:
    """The same for a terminal."""
    columns = _columns(rows)
    titles = [name.replace(" mean", "").replace(" worst", "*") for name in columns]
    lines = [" " * 28 + "".join(f"{title:>13}" for title in titles)]
    for name, row in rows.items():
        cells = (_text(column, row.get(column, math.nan)) for column in columns)
        lines.append(f"{name:<28}" + "".join(f"{cell:>13}" for cell in cells))
    return lines


def as_json(rows: Rows, settings: Mapping[str, object]) -> str:
    """Every figure, with versions, device and settings; no number as null."""
    clean = {
        name: {key: value if math.isfinite(value) else None for key, value in row.items()}
        for name, row in rows.items()
    }
    device = jax.devices()[0]
    about = {
        "versions": {name: version(name) for name in ("jax", "optax", "numpy")},
        "machine": platform.machine(),
        "device": f"{device.platform} {device.device_kind}",
        "settings": dict(settings),
    }
    return json.dumps(about | {"rows": clean}, indent=1, allow_nan=False) + "\n"


def _columns(rows: Rows) -> list[str]:
    return list(dict.fromkeys(key for row in rows.values() for key in row))


def _title(name: str) -> str:
    return _TITLES.get(name, f"{name} loss / float32")


def _text(column: str, value: float) -> str:
    if math.isnan(value):
        return "NaN" if column not in HEADS else "-"
    return f"{value:.2f}" if column in HEADS else f"{(value - 1) * 100:+.2f}%"
