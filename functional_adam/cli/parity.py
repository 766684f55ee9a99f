"""`functional-adam parity`: every algorithm against torch, optax and float64, row by row."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, check_writable, fail, write

if TYPE_CHECKING:
    from ._parity.measure import Sizes, Table
    from ._parity.rows import Row

MANY = 4  # processes; each compiles everything it measures


def parity(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Rows whose name contains this, or matches it as a glob; repeatable."),
    ] = None,
    list_rows: Annotated[bool, typer.Option("--list", help="Names of the rows, and stop.")] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the free runs; default 1,000, quick 50.")
    ] = None,
    elements: Annotated[
        int | None, typer.Option(min=256, help="Elements of a leaf; default 65,536, free 4,099.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Fewer elements and steps; without --only, no options but plain.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; default the cores, at most 4.")
    ] = None,
    dialects: Annotated[
        bool, typer.Option(help="Only dialects against the frameworks that speak them.")
    ] = False,
    full: Annotated[bool, typer.Option(help="A line for every row of the table.")] = False,
    forgetting: Annotated[
        bool, typer.Option(help="Instead: does the second moment decay after gradients shrink?")
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="With --forgetting: package:Class or package:Class@bfloat16; repeatable."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows here; - for stdout.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a line per algorithm here; - for stdout.")
    ] = None,
) -> None:
    """Compare the same steps in JAX, in the bridge, in torch.optim, in optax and in float64.

    And every dialect with the framework that speaks it.

    A row is algorithm/options/dtype/subject/against. Exit status: 0 all rows are within their
    bounds, 1 one is beyond, 2 wrong usage, 130 interrupted.
    """
    if against and not forgetting:
        fail("--against goes with --forgetting")
    if forgetting:
        others = {
            "--only": only,
            "--list": list_rows,
            "--steps": steps,
            "--elements": elements,
            "--quick": quick,
            "--jobs": jobs,
            "--dialects": dialects,
            "--full": full,
        }
        for option, given in others.items():
            if given:
                fail(f"{option} does not go with --forgetting")
        _forgetting(against or [], json=json, markdown=markdown)
        return
    need("torch")
    plain = ["*/plain/*"] if quick and not dialects else []
    rows = _rows(only or plain, dialects=dialects)
    if list_rows:
        typer.echo("\n".join(row.name for row in rows))
        return
    check_writable(json, markdown)
    try:
        sizes = _sizes(steps, elements, quick)
        table = _measure(rows, sizes, jobs)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    _show(table, sizes, full=full, json=json, markdown=markdown)
    _judge(table)


def _rows(only: list[str], *, dialects: bool) -> list[Row]:
    from ._parity.rows import every_row, select

    rows = [row for row in select(every_row(), only) if row.in_dialect or not dialects]
    if not rows:
        fail(f"--only {' '.join(only)}: no such row; see --list")
    return rows


def _sizes(steps: int | None, elements: int | None, quick: bool) -> Sizes:
    from ._parity.measure import Sizes

    own = Sizes(one_step=4_096, free=515, common_steps=8, free_steps=50) if quick else Sizes()
    return dataclasses.replace(
        own,
        one_step=elements or own.one_step,
        free=elements or own.free,
        free_steps=steps or own.free_steps,
    )


def _measure(rows: list[Row], sizes: Sizes, jobs: int | None) -> Table:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ._parity.measure import groups, measure

    total = len(groups(rows))
    jobs = min(jobs or min(os.cpu_count() or 1, MANY), total)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<30}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def done(row: Row) -> None:
            progress.update(task, advance=1, description=f"{row.algorithm} {row.variant.name}")

        return measure(rows, sizes, done, jobs)


def _show(
    table: Table, sizes: Sizes, *, full: bool, json: Path | None, markdown: Path | None
) -> None:
    from ._parity.report import as_json, as_lines, as_markdown

    if STDOUT not in (json, markdown):
        _print(as_lines(table, full=full))
    write(json, lambda: as_json(table, sizes))
    write(markdown, lambda: as_markdown(table))


def _print(lines: list[str]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(line, style="bold red" if line.endswith("BEYOND") else None)


def _forgetting(against: list[str], *, json: Path | None, markdown: Path | None) -> None:
    from ._parity.forgetting_rows import as_json, as_lines, as_markdown, measure, ours, peer

    peers = []
    for spec in against:
        try:
            peers.append(peer(spec))
        except ValueError as error:
            fail(f"--against {spec}: {error}")
    check_writable(json, markdown)
    try:
        results = measure(ours() + peers, lambda name: typer.echo(f"measured: {name}", err=True))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if STDOUT not in (json, markdown):
        _print(as_lines(results))
    write(json, lambda: as_json(results))
    write(markdown, lambda: as_markdown(results))
    if any(result.within is False for result in results):
        raise typer.Exit(1)


def _judge(table: Table) -> None:
    from ._parity.bounds import broken, held

    faults = [fault for row, figures in table.items() for fault in broken(row, figures)]
    for fault in faults:
        typer.echo(f"beyond its bound: {fault}", err=True)
    bound = sum(bool(held(row, figures)) for row, figures in table.items())
    beyond = len({fault.partition(":")[0] for fault in faults})
    typer.echo(f"{len(table)} rows, {bound} with bounds, {beyond} beyond", err=True)
    if faults:
        raise typer.Exit(1)
