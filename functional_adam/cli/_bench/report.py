"""The figures as tables for the terminal and markdown, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
from rich.table import Table as Grid

from .growth import Growth
from .measure import Ratio, Row, Table

HEADS = (
    *("candidate", "ms", "/ optax", "/ fastest peer", "bandwidth / copy", "trace + compile s"),
    *("first step s", "temporary B", "peak B", "state B"),
)
SPLIT = HEADS.index("trace + compile s")
CAPTION = """\
Medians; bytes are per parameter. Ratios are of steps taken in turn in this run, with half the
distance of their quartiles; = where they differ from 1 by no more than that."""
GROWTH_HEADS = ("candidate", "grows", "step ~ count^", "one more: step us", "one more: compile ms")


def grid(table: Table) -> list[Grid]:
    """A workload's rows for the terminal."""
    whole = _grid(table, range(1, len(HEADS)))
    whole.title, whole.caption = _title(table), _caption(table)
    return [whole]


def narrow_grids(table: Table) -> list[Grid]:
    """The same in two: steps, and what else they take."""
    parts = [_grid(table, range(1, SPLIT)), _grid(table, range(SPLIT, len(HEADS)))]
    parts[0].title, parts[1].caption = _title(table), _caption(table)
    return parts


def _grid(table: Table, columns: Sequence[int]) -> Grid:
    made = Grid(HEADS[0], caption_justify="left")
    for i in columns:
        head = HEADS[i].replace(" /", "\n/").replace("+ ", "+\n")
        made.add_column(head, justify="right", no_wrap=True)
    peer = table.fastest_peer() if _has_peer(table) else None
    for row in table.rows:
        first, *figures = _cells(row, peer)
        made.add_row(first, *(figures[i - 1] for i in columns), style="bold" if row.ours else None)
    return made


def growth_grid(growths: Sequence[Growth]) -> Grid:
    """Slopes for the terminal."""
    made = Grid(title="Growth of a step")
    for head in GROWTH_HEADS:
        made.add_column(head, justify="left" if head == GROWTH_HEADS[0] else "right")
    for growth in growths:
        made.add_row(*_growth_cells(growth))
    return made


def as_markdown(tables: Sequence[Table], growths: Sequence[Growth]) -> str:
    """All tables, those of workloads first."""
    parts = []
    for table in tables:
        peer = table.fastest_peer() if _has_peer(table) else None
        rows = [_cells(row, peer) for row in table.rows]
        parts.append(f"**{_title(table)}**\n\n{_lines(HEADS, rows)}\n{_caption(table)}\n")
    if growths:
        rows = [_growth_cells(growth) for growth in growths]
        parts.append(f"**Growth of a step**\n\n{_lines(GROWTH_HEADS, rows)}")
    return "\n".join(parts)


def as_json(
    tables: Sequence[Table], growths: Sequence[Growth], settings: Mapping[str, object]
) -> str:
    """Every figure, with versions, devices, XLA's flags and settings; no number as null."""
    device = jax.devices()[0]
    content = {
        "versions": {name: _version(name) for name in _PACKAGES},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "device": f"{device.platform} {device.device_kind}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "settings": dict(settings),
        "workloads": [_table(table) for table in tables],
        "growth": [dataclasses.asdict(growth) for growth in growths],
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    peer = table.fastest_peer() if _has_peer(table) else None
    rows = [
        dataclasses.asdict(row)
        | {"ratio_to_optax": _told(row.ratio)}
        | {"ratio_to_fastest_peer": None if peer is None else _told(row.ratio.over(peer.ratio))}
        for row in table.rows
    ]
    for row in rows:
        del row["ratio"]
    fastest = None if peer is None else peer.subject
    return dataclasses.asdict(table) | {"fastest_peer": fastest, "rows": rows}


def _told(ratio: Ratio) -> dict[str, Any]:
    return {"value": ratio.value if ratio.tells else None, "spread": ratio.spread}


_PACKAGES = ("jax", "optax", "numpy", "torch", "heavyball", "torch-optimi", "torchao")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _title(table: Table) -> str:
    return f"{table.workload} ({table.tensors:,} tensors, {table.parameters:,} parameters)"


def _caption(table: Table) -> str:
    skipped = "".join(f"\nSkipped: {name} ({why})." for name, why in table.skipped.items())
    return CAPTION + skipped


def _has_peer(table: Table) -> bool:
    return any(not row.ours for row in table.rows)


def _cells(row: Row, peer: Row | None) -> list[str]:
    best = row is peer
    return [
        row.subject,
        _number(row.seconds * 1e3),
        "1" if row.subject == "optax" else told(row.ratio),
        "-" if peer is None else "1" if best else told(row.ratio.over(peer.ratio)),
        _number(row.bandwidth),
        _number(row.compile_seconds),
        _number(row.first_seconds),
        *(_number(x) for x in (row.temporary, row.peak, row.state)),
    ]


def told(ratio: Ratio) -> str:
    """A ratio with its spread; no ratio where the spread is larger than the effect."""
    return f"{ratio.value:.2f} ± {ratio.spread:.2f}" if ratio.tells else f"= ± {ratio.spread:.2f}"


def _growth_cells(growth: Growth) -> list[str]:
    return [
        growth.subject,
        f"{growth.counts[0]:,} to {growth.counts[-1]:,} {growth.what}",
        f"{growth.exponent:.2f}",
        f"{growth.each * 1e6:.3g}",
        f"{growth.compile_each * 1e3:.3g}" if math.isfinite(growth.compile_each) else "-",
    ]


def _number(x: float) -> str:
    return "-" if not math.isfinite(x) else f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
