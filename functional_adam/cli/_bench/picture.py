"""Ratios to the fastest peer as bars, a panel for each workload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .measure import Table


def draw(tables: Sequence[Table], path: Path) -> None:
    """Write a picture; a bar ends where the ratio is, its whisker is the spread."""
    from matplotlib.figure import Figure

    shown = [table for table in tables if any(not row.ours for row in table.rows)]
    heights = [len(table.rows) + 2 for table in shown] or [1]
    figure = Figure(figsize=(8, 0.28 * sum(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, table in zip(panels, shown, strict=False):
        peer = table.fastest_peer()
        ratios = [row.ratio.over(peer.ratio) for row in table.rows]
        panel.barh(
            [row.subject for row in table.rows],
            [ratio.value for ratio in ratios],
            xerr=[
                0 if row is peer else r.spread for row, r in zip(table.rows, ratios, strict=True)
            ],
            color=["tab:blue" if row.ours else "tab:gray" for row in table.rows],
            error_kw={"elinewidth": 1},
        )
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_xscale("log")
        panel.invert_yaxis()
        panel.tick_params(labelsize=7)
        panel.set_title(f"{table.workload}: step time / {peer.subject}", fontsize=9, loc="left")
    figure.savefig(path, dpi=150)
