"""`functional-adam bench`: what low precision costs and saves, measured on this machine."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Annotated

import typer

from ._needs import need

STDOUT = Path("-")


def bench(
    precision: Annotated[
        bool, typer.Option(help="Ways to store weights and moments, to float32.")
    ] = False,
    parameters: Annotated[
        int, typer.Option(min=1920, help="Size of the matrix that is timed.")
    ] = 50_000_000,
    rounds: Annotated[int, typer.Option(min=3, help="Timed steps of each, in turn.")] = 15,
    seeds: Annotated[int, typer.Option(min=0, help="Training runs of each task; 0: none.")] = 3,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of a training run; default the task's.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Rows whose name contains this; repeatable.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a table here; - for stdout.")] = None,
) -> None:
    """Bytes per parameter, temporary bytes, step time and validation loss, relative to float32.

    Exit status: 0 measured, 2 wrong usage, 130 interrupted.
    """
    if not precision:
        typer.echo("nothing to measure: give --precision", err=True)
        raise typer.Exit(2)
    need("sklearn")
    try:
        rows = _rows(parameters, rounds, seeds, steps, only or [])
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    settings = dict(parameters=parameters, rounds=rounds, seeds=seeds, steps=steps)
    _show(rows, settings, json, markdown)


def _rows(
    parameters: int, rounds: int, seeds: int, steps: int | None, only: list[str]
) -> dict[str, dict[str, float]]:
    from ._precision.cost import memory, times
    from ._precision.subjects import SUBJECTS

    chosen = [s for s in SUBJECTS if not only or any(part in s.name for part in only)]
    if not chosen:
        typer.echo(f"--only {' '.join(only)}: there are {[s.name for s in SUBJECTS]}", err=True)
        raise typer.Exit(2)
    rows = {subject.name: memory(subject, parameters) for subject in chosen}
    found = times(chosen, parameters, rounds, lambda name: typer.echo(f"timed: {name}", err=True))
    for name, ratio in found.items():
        rows[name]["time"] = ratio
    for name, losses in _losses(chosen, seeds, steps).items():
        rows[name] |= losses
    return rows


def _losses(chosen: list, seeds: int, steps: int | None) -> dict[str, dict[str, float]]:
    from ._precision.subjects import REFERENCE
    from ._precision.tasks import characters, digits
    from ._precision.train import final_loss

    rows: dict[str, dict[str, float]] = {subject.name: {} for subject in chosen}
    for task in (digits(), characters()) if seeds else ():
        length = steps or task.steps
        exact = [final_loss(task, REFERENCE, seed, length) for seed in range(seeds)]
        for subject in chosen:
            ratios = [
                final_loss(task, subject, seed, length) / exact[seed] for seed in range(seeds)
            ]
            broken = any(not math.isfinite(ratio) for ratio in ratios)
            rows[subject.name] |= {
                f"{task.name} mean": math.nan if broken else statistics.mean(ratios),
                f"{task.name} worst": math.nan if broken else max(ratios),
            }
            typer.echo(f"trained: {task.name}, {subject.name}", err=True)
    return rows


def _show(rows: dict, settings: dict, json: Path | None, markdown: Path | None) -> None:
    from ._precision.report import as_json, as_lines, as_markdown

    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(rows)))
    for path, text in ((json, as_json(rows, settings)), (markdown, as_markdown(rows))):
        if path == STDOUT:
            typer.echo(text, nl=False)
        elif path is not None:
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                typer.echo(f"cannot write {path}: {error.strerror}", err=True)
                raise typer.Exit(2) from None
