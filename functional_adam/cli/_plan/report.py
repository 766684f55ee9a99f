"""The plan as text, markdown and JSON. GB are 10**9 bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from .memory import Bytes, Row

_GB = 1e9
_FIXED = ("weights", "gradients", "state")


def as_lines(rows: Sequence[Row], memory: float | None) -> list[str]:
    """A table for each size of model and number of devices."""
    lines: list[str] = []
    width = max(len(row.name) for row in rows) + 2
    for size, count in _pairs(rows):
        chosen = [row for row in rows if (row.parameters, row.devices) == (size, count)]
        shardings = list(chosen[0].per_device)
        lines += [
            "",
            f"{amount(size)} parameters on {count} devices: bytes per parameter; GB per device"
            + (f" (* fits in {memory:g})" if memory else ""),
            " " * width + "".join(f"{head:>12}" for head in (*_FIXED, *shardings)),
        ]
        for row in chosen:
            cells = [f"{value:.3f}" for value in _parts(row.per_parameter)]
            cells += [_gb(row.per_device[name], memory, "{}*", "{} ") for name in shardings]
            lines.append(f"{row.name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return lines[1:]


def as_markdown(rows: Sequence[Row], memory: float | None) -> str:
    """One table for each size of model; a column for each number of devices."""
    blocks = []
    shardings = list(rows[0].per_device)
    counts = list(dict.fromkeys(row.devices for row in rows))
    for size in dict.fromkeys(row.parameters for row in rows):
        chosen = [row for row in rows if row.parameters == size]
        heads = ["weights + moments", "bytes per parameter: " + " + ".join(_FIXED)]
        heads += [f"{amount(size)} on {count}: GB per device" for count in counts]
        lines = ["| " + " | ".join(heads) + " |", "|---|---" + "|---:" * len(counts) + "|"]
        for name in dict.fromkeys(row.name for row in chosen):
            own = [row for row in chosen if row.name == name]
            cells = [name, " + ".join(_short(value) for value in _parts(own[0].per_parameter))]
            cells += [
                " / ".join(_gb(row.per_device[s], memory, "**{}**", "{}") for s in shardings)
                for row in own
            ]
            lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    note = f"Sharding: {' / '.join(shardings)}."
    if memory:
        note += f" Bold: fits in {memory:g} GB, before activations."
    return "\n\n".join([*blocks, note]) + "\n"


def as_json(rows: Sequence[Row], settings: Mapping[str, object]) -> str:
    """Every figure in bytes."""
    found = [
        {
            "name": row.name,
            "parameters": row.parameters,
            "devices": row.devices,
            "per_parameter": dataclasses.asdict(row.per_parameter),
            "per_device": {
                name: dataclasses.asdict(each) | {"total": each.total}
                for name, each in row.per_device.items()
            },
        }
        for row in rows
    ]
    return json.dumps({"settings": dict(settings), "rows": found}, indent=1) + "\n"


def amount(parameters: float) -> str:
    """70e9 -> 70B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if parameters >= size:
            return f"{parameters / size:g}{letter}"
    return f"{parameters:g}"


def _pairs(rows: Sequence[Row]) -> list[tuple[float, int]]:
    return list(dict.fromkeys((row.parameters, row.devices) for row in rows))


def _parts(found: Bytes) -> tuple[float, float, float]:
    return found.weights, found.gradients, found.state


def _gb(found: Bytes, memory: float | None, fits: str, other: str) -> str:
    size = found.total / _GB
    text = f"{size:,.0f}" if size >= 100 else f"{size:.3g}"
    if memory is None:
        return text
    return (fits if size <= memory else other).format(text)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
