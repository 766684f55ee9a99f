"""`functional-adam bench`: a step of Adam, ours and others', and low precision, measured here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, check_writable, fail, show, write

TIMED = 50_000_000  # parameters of the matrix that is timed with --precision
SEEDS = 3
WIDTH = 150  # columns of tables where there is no terminal to ask


def bench(
    algorithm: Annotated[str, typer.Option(help="What is stepped: a name in ALGORITHMS.")] = "adam",
    workload: Annotated[
        list[str] | None,
        typer.Option(help="Workloads whose name contains this; repeatable; default all."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Rows whose name contains this; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Timed steps of each, in turn.")] = 15,
    scale: Annotated[
        float, typer.Option(min=1e-6, max=1000, help="Factor on the sizes of the large tensors.")
    ] = 1.0,
    growth: Annotated[
        bool, typer.Option(help="Also how cost grows with tensors and parameters.")
    ] = False,
    precision: Annotated[
        bool, typer.Option(help="Instead: ways to store weights and moments, to float32.")
    ] = False,
    parameters: Annotated[
        int, typer.Option(min=1920, help="With --precision: size of the matrix that is timed.")
    ] = TIMED,
    seeds: Annotated[
        int, typer.Option(min=0, help="With --precision: training runs of each task; 0: none.")
    ] = SEEDS,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="With --precision: steps of a training run; default the task's."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a table here; - for stdout.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the ratios here.")] = None,
) -> None:
    """Step time, compile time and memory of Adam here, in optax, in torch and in its kin.

    Of another --algorithm: ours, and its twins where it has them. Where optax has none, ratios are
    to optax's Adam.

    Runs where JAX and torch run, CPU or GPU; candidates that are not installed are skipped by name.
    A ratio whose spread is larger than its distance from 1 is not printed. On a GPU set
    XLA_PYTHON_CLIENT_PREALLOCATE=false, or JAX leaves no memory to torch. "One loop" is measured on
    a CPU with XLA_FLAGS=--xla_backend_extra_options=xla_cpu_use_multi_output_fusion.

    Files are written after each workload.

    Exit status: 0 measured, 2 wrong usage, 130 interrupted.
    """
    check_writable(json, markdown, plot)
    if plot == STDOUT:
        fail("--plot - : a picture needs a file")
    try:
        of_steps = {
            "--algorithm": algorithm != "adam",
            "--workload": workload,
            "--growth": growth,
            "--scale": scale != 1,
        }
        of_precision = {
            "--parameters": parameters != TIMED,
            "--seeds": seeds != SEEDS,
            "--steps": steps is not None,
        }
        others, why = of_precision, "of --precision: give that too"
        if precision:
            others, why = of_steps, "of steps: leave --precision out"
        for name, given in others.items():
            if given:
                fail(f"{name} is {why}")
        if precision:
            _precision(parameters, rounds, seeds, steps, only or [], json, markdown, plot)
            return
        settings = dict(workload=workload, only=only, rounds=rounds, scale=scale)
        _steps(algorithm, settings, growth, json, markdown, plot)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _steps(
    algorithm: str,
    settings: dict,
    growth: bool,
    json: Path | None,
    markdown: Path | None,
    plot: Path | None,
) -> None:
    from functional_adam import ALGORITHMS

    if algorithm not in ALGORITHMS:
        fail(f"--algorithm {algorithm}: unknown; there are {', '.join(ALGORITHMS)}")
    if plot is not None:
        need("matplotlib")
    from ._bench import report
    from ._bench.growth import LEAVES, PARAMETERS, grow
    from ._bench.measure import table
    from ._bench.subjects import subjects_of, titled, yardstick_of
    from ._bench.workloads import WORKLOADS, scaled

    def done(line: str) -> None:
        typer.echo(line, err=True)

    row = ALGORITHMS[algorithm]
    every, yardstick = subjects_of(row), yardstick_of(row)
    names = _chosen("--workload", settings["workload"], list(WORKLOADS))
    rows = _chosen("--only", settings["only"], [subject.name for subject in every])
    subjects = [subject for subject in every if subject.name in rows]
    rounds, scale = settings["rounds"], settings["scale"]
    suffix = "" if scale == 1 else f", scaled by {scale:g}"
    tables, growths = [], []

    def save() -> None:
        write(json, lambda: report.as_json(tables, growths, settings))
        write(markdown, lambda: report.as_markdown(tables, growths))

    for name in names:
        shapes = scaled(WORKLOADS[name], scale)
        title = titled(name, row) + suffix
        tables.append(table(title, shapes, subjects, yardstick, rounds, done))
        if STDOUT not in (json, markdown):
            save()  # an interruption loses one workload, not all
    for what, counts in (("tensors", LEAVES), ("parameters", PARAMETERS)) if growth else ():
        for subject in subjects:
            if subject.name in ("optax", "ours", "ours, packed", "torch fused"):
                subject = dataclasses.replace(subject, name=titled(subject.name, row))
                growths.append(grow(subject, what, counts, rounds, done))
    if STDOUT not in (json, markdown):
        for found in tables:
            show(report.grid(found), report.narrow_grids(found), wide=WIDTH)
        if growths:
            show([report.growth_grid(growths)], wide=WIDTH)
    save()
    if plot is not None:
        from ._bench.picture import draw

        draw(tables, plot)


def _precision(
    parameters: int,
    rounds: int,
    seeds: int,
    steps: int | None,
    only: list[str],
    json: Path | None,
    markdown: Path | None,
    plot: Path | None,
) -> None:
    if plot is not None:
        fail("--plot is of steps: leave --precision out")
    need("sklearn")
    from ._precision.measure import rows_of
    from ._precision.report import as_json, as_lines, as_markdown
    from ._precision.subjects import SUBJECTS

    chosen = _chosen("--only", only, [subject.name for subject in SUBJECTS])
    subjects = [subject for subject in SUBJECTS if subject.name in chosen]
    rows = rows_of(
        subjects, parameters, rounds, seeds, steps, lambda line: typer.echo(line, err=True)
    )
    settings = dict(parameters=parameters, rounds=rounds, seeds=seeds, steps=steps)
    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(rows)))
    write(json, lambda: as_json(rows, settings))
    write(markdown, lambda: as_markdown(rows))


def _chosen(option: str, parts: list[str] | None, names: list[str]) -> list[str]:
    """Names that contain one of the parts; all where there are no parts."""
    found = [name for name in names if not parts or any(part in name for part in parts)]
    if not found:
        fail(f"{option} {' '.join(parts or [])}: there are {names}")
    return found
