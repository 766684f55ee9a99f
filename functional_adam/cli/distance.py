"""`functional-adam distance`: how far the Adams of the frameworks are from one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, check_writable, write


def distance(
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Steps of training.")] = 100,
    json: Annotated[Path | None, typer.Option(help="Write the numbers; - for stdout.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the README's tables here; - for stdout.")
    ] = None,
) -> None:
    """Train one network with every framework's default Adam, AdamW and NAdam, and compare.

    Then with four optimizers of torch and Keras that optax cannot express, in optax and in ours.
    Exit status: 0, 2 wrong usage, 130 interrupted.
    """
    need("torch")
    check_writable(json, markdown)
    from ._distance.measure import befores, matrices
    from ._distance.report import as_json, as_lines, as_markdown
    from ._parity.implementations import on_the_host

    try:
        with on_the_host():
            found, cases = list(matrices(steps)), list(befores(steps))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(found, cases, steps)))
    write(json, lambda: as_json(found, cases, steps))
    write(markdown, lambda: as_markdown(found, cases))
