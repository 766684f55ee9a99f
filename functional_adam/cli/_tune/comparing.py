"""A comparison of strategies: run, and written as text, JSON and a table."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer

from .._output import finite


def compared(
    task: Any,
    space: Any,
    names: list[str],
    budgets: list[float],
    repeats: int,
    seed: int,
    out: Path,
) -> list[Any]:
    """All cells; trainings are logged in `out`.

    Raises:
        ValueError: the task has no held-out data, or `out` holds a comparison of another task.
    """
    from functional_adam.tune.budget import Plan
    from functional_adam.tune.comparison import compare
    from functional_adam.tune.head import check_same, head, last_head
    from functional_adam.tune.log import Log
    from functional_adam.tune.tuning import default_engine
    from functional_adam.tune.work import Work

    if task.held_out is None:
        raise ValueError(f"task {task.name!r} has no held_out data to judge by")
    log, plan = Log(out), Plan(max(budgets), task.steps, seed)
    begun = head(task, space, "comparison", plan)
    if old := last_head(log.records):
        check_same(old, begun, out)
    else:
        log.append(begun)
    started = time.monotonic()

    def on_round(trained: int, running: int) -> None:
        elapsed = time.monotonic() - started
        typer.echo(f"{elapsed:6.0f} s  {trained} trainings, {running} studies go on", err=True)

    return compare(
        Work(default_engine(task, "auto"), log, same_start=not task.own),
        space,
        steps=task.steps,
        strategies=names,
        budgets=budgets,
        repeats=repeats,
        seed=seed,
        on_round=on_round,
    )


def as_lines(cells: list[Any]) -> list[str]:
    """A line for each strategy, and how it stands to the best at the same budget."""
    table = _table(cells)
    budgets = sorted({cell.budget for cell in cells if cell.budget})
    head = f"{'':14}" + "".join(f"{b:>20g}" for b in budgets) + f"{'mean over best':>18}"
    lines = ["median held-out loss (upper quartile)", head]
    for name, row in table.items():
        cell = "".join(f"{_text(row.get(b)):>20}" for b in budgets)
        lines.append(f"{name:14}{cell}{_ratio_text(_mean_ratio(table, name, budgets)):>18}")
    first = cells[0]
    lines.append(f"{first.strategy}: {_text(first)}")
    if len(table) > 1:
        lines += [_paired_title(table), head[: 14 + 20 * len(budgets)]]
        for name, texts in _paired(table, budgets):
            lines.append(f"{name:14}" + "".join(f"{text:>20}" for text in texts))
    return lines


def as_markdown(cells: list[Any]) -> str:
    """The same as a table."""
    table = _table(cells)
    budgets = sorted({cell.budget for cell in cells if cell.budget})
    lines = [
        "| strategy | " + " | ".join(f"{b:g}" for b in budgets) + " | mean over best |",
        "|---" * (len(budgets) + 2) + "|",
        f"| {cells[0].strategy} | {_text(cells[0])} |" + " |" * len(budgets),
    ]
    for name, row in table.items():
        values = " | ".join(_text(row.get(b)) for b in budgets)
        lines.append(f"| {name} | {values} | {_ratio_text(_mean_ratio(table, name, budgets))} |")
    if len(table) > 1:
        numbers = " | ".join(f"{b:g}" for b in budgets)
        lines += ["", f"{_paired_title(table)}:", ""]
        lines += [f"| strategy | {numbers} |", "|---" * (len(budgets) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(texts)} |" for name, texts in _paired(table, budgets)]
    return "\n".join(lines) + "\n"


def as_json(cells: list[Any]) -> str:
    """Every loss and every choice."""
    rows = [
        dict(
            strategy=cell.strategy,
            budget=cell.budget,
            median=cell.median,
            upper=cell.upper,
            losses=cell.losses,
            configs=[dict(config) for config in cell.configs],
        )
        for cell in cells
    ]
    return json.dumps(finite(rows), indent=2, allow_nan=False) + "\n"


def _table(cells: list[Any]) -> dict[str, dict[float, Any]]:
    table: dict[str, dict[float, Any]] = {}
    for cell in cells:
        if cell.budget:
            table.setdefault(cell.strategy, {})[cell.budget] = cell
    return table


def _paired_title(table: Any) -> str:
    return f"Held-out loss over that of {next(iter(table))} on the same seeds, and standard error"


def _paired(table: Any, budgets: list[float]) -> list[tuple[str, list[str]]]:
    """Each strategy but the first, to which they are compared seed by seed."""
    (_, against), *others = table.items()
    rows = []
    for name, row in others:
        found = [row[b].ratio(against[b]) for b in budgets]
        rows.append((name, [_with_error(*pair) for pair in found]))
    return rows


def _with_error(ratio: float, error: float) -> str:
    if math.isnan(ratio):
        return "-"
    return f"{ratio:.3f}" if math.isnan(error) else f"{ratio:.3f} ± {error:.3f}"


def _mean_ratio(table: Any, name: str, budgets: list[float]) -> float:
    """Geometric mean, over budgets, of the median to the best strategy's; NaN: has no meaning."""
    logs = []
    for b in budgets:
        best = min(row[b].median for row in table.values())
        if not best > 0:
            return math.nan
        logs.append(math.log(table[name][b].median / best))
    return math.exp(float(np.mean(logs)))


def _ratio_text(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.3f}"


def _text(cell: Any) -> str:
    return "-" if cell is None else f"{cell.median:.4f} ({cell.upper:.4f})"
