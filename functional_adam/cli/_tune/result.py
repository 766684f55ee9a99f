"""The result of a study as a table and as JSON."""

from __future__ import annotations

import json
import math
import shlex
from typing import Any

from .._output import finite


def show(study: Any) -> None:
    """Print what was chosen, beside untuned Adam, and what to keep in mind."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    name = escape(study.head["task"]["name"])
    table = Table(title=f"{name}: {study.cost:.1f} full trainings")
    for heading in ("", "untuned Adam", "tuned"):
        table.add_column(heading, justify="left" if not heading else "right")
    best, untuned = study.best, study.untuned
    table.add_row(
        "validation loss, fresh seeds",
        _pm(untuned.mean, untuned.error),
        _pm(best.validation, best.error),
    )
    table.add_row("held-out loss", _number(study.held_out(study.baseline)), _number(best.held_out))
    for name, value in best.config.items():
        table.add_row(name, *(escape(_plain(x)) for x in (study.baseline.get(name, ""), value)))
    console.print(table)
    for warning in study.warnings:
        console.print(f"[bold]![/bold] {escape(warning)}")
    for record in study.log.records:
        if record["kind"] == "probe":
            console.print(f"Adam wholly in {record['dtype']}:", *record["verdict"], sep="\n  ")
    if study.folder is not None:
        folder = escape(shlex.quote(str(study.folder)))
        console.print(f"next: functional-adam report {folder}")
        console.print(f"      functional-adam code {folder} --for torch")


def as_json(study: Any) -> str:
    """The result with all digits."""
    from functional_adam.tune.export import contender_record

    best = study.best
    result = dict(
        task=study.head["task"],
        best=dict(
            config=dict(best.config),
            validation=best.validation,
            error=best.error,
            as_seen=best.as_seen if math.isfinite(best.as_seen) else None,
            is_default=best.is_default,
            held_out=best.held_out,
        ),
        untuned=dict(
            **(contender_record(study.untuned) or {}), held_out=study.held_out(study.baseline)
        ),
        contenders=[contender_record(c) for c in study.contenders],
        warnings=study.warnings,
        trainings=len(study.trained),
        cost=study.cost,
        seconds=study.seconds,
    )
    return json.dumps(finite(result), indent=2, allow_nan=False) + "\n"


def _pm(mean: float, error: float) -> str:
    return f"{mean:.4g}" if math.isnan(error) else f"{mean:.4g} ± {error:.2g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 0.99 else str(value)
