"""`functional-adam schedules`: every scheduler of torch beside ours, optax's and the formula."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, check_writable, fail, write

STEPS = 10_000


def schedules(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Classes of torch whose name contains this, or matches it; repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=STEPS, help="Updates.")] = STEPS,
    json: Annotated[Path | None, typer.Option(help="Write the lines here; - for stdout.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the README's table here; - for stdout.")
    ] = None,
) -> None:
    """Compare learning-rate schedules with torch.optim.lr_scheduler, optax and exact values.

    Exit status: 0 all are within their bounds, 1 one is beyond, 2 wrong usage, 130 interrupted.
    """
    need("torch")
    check_writable(json, markdown)
    from ._parity.implementations import on_the_host
    from ._schedules.measure import measure, names
    from ._schedules.report import as_json, as_lines, as_markdown

    wanted = names(only or [])
    if not wanted:
        fail(f"--only {' '.join(only or [])}: no such scheduler")
    try:
        with on_the_host():
            lines = list(measure(wanted, steps))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(lines, steps)))
    write(json, lambda: as_json(lines, steps))
    write(markdown, lambda: as_markdown(lines))
    beyond = [line.torch for line in lines if not line.within]
    for name in beyond:
        typer.echo(f"beyond its bound: {name}", err=True)
    if beyond:
        raise typer.Exit(1)
