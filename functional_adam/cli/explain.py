"""`functional-adam explain`: how two dialects of Adam differ, in words and in figures."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._interrupt import INTERRUPTED
from ._output import STDOUT, check_writable, fail, write

if TYPE_CHECKING:
    from functional_adam import Explanation


def explain(
    a: Annotated[
        str | None, typer.Argument(help="A dialect; without one, they are listed.")
    ] = None,
    b: Annotated[str | None, typer.Argument(help="Another one.", show_default="torch")] = None,
    algorithm: Annotated[str, typer.Option(help="What to measure with.")] = "adamw",
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Steps to measure.")] = 100,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Of both.", show_default="of each dialect")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write figures here; - for stdout.")] = None,
) -> None:
    """Say how two dialects differ, when it matters, and how far it leads on a small problem.

    Exit status: 0 explained, 2 wrong usage, 130 interrupted.
    """
    check_writable(json)
    if a is None:
        _list(json)
        return
    try:
        explanation = _explain(a, b or "torch", algorithm, steps, weight_decay)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if json != STDOUT:
        _print(explanation)
    write(json, lambda: json_.dumps(explanation.as_dict(), indent=2) + "\n")


def _list(json: Path | None) -> None:
    from functional_adam import DIALECTS

    sources = {name.lower(): dialect.source for name, dialect in DIALECTS.items()}
    width = max(map(len, sources)) + 2
    if json != STDOUT:
        typer.echo("\n".join(f"{name:{width}}{source}" for name, source in sources.items()))
    write(json, lambda: json_.dumps(sources, indent=2) + "\n")


def _explain(a: str, b: str, algorithm: str, steps: int, weight_decay: float | None) -> Explanation:
    import functional_adam as fa

    return fa.explain(a, b, algorithm=algorithm, steps=steps, weight_decay=weight_decay)


def _print(explanation: Explanation) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in str(explanation).splitlines():
        bold = line and not line.startswith(" ")
        console.print(Text(line, style="bold" if bold else ""))
