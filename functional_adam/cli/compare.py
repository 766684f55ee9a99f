"""`functional-adam compare`: tuning strategies at equal compute, on many independent repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, UsageError, check_folder, check_writable, fail, told, write

ALL = "auto,random,quasi,halving,fan_box,ladder,tpe"


def compare(
    task: Annotated[
        str, typer.Argument(help="A built-in task, or path/to/file.py:name of a Task.")
    ],
    strategies: Annotated[str, typer.Option(help="Names, with commas between.")] = ALL,
    budgets: Annotated[str, typer.Option(help="In full trainings.")] = "8,16,32,64",
    repeats: Annotated[int, typer.Option(min=1, help="Independent studies of each.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Of the first repeat.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of a full training; the task's.")
    ] = None,
    search: Annotated[
        list[str] | None, typer.Option(help="Search this as well, as in tune. Repeatable.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the log; the same one goes on where it ends.")
    ] = Path("compared"),
    json: Annotated[Path | None, typer.Option(help="Write the figures; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a table; - for stdout.")] = None,
) -> None:
    """Held-out loss of what each strategy chooses: median and upper quartile of the repeats.

    Below, as ratios to the first strategy on the same seeds, which tell strategies apart sooner.
    `auto` is run with its confirmation, paid from the budget; the others spend all on the search.
    Exit status: 0 compared, 1 the task cannot be trained, 2 wrong usage, 130 interrupted (the same
    command goes on).
    """
    check_writable(json, markdown)
    names = [name for name in strategies.split(",") if name]
    if not names:
        fail("--strategies: name at least one, as --strategies auto,random")
    if "tpe" in names or "gp" in names:
        need("optuna")
    from ._tune.comparing import as_json, as_lines, as_markdown, compared
    from ._tune.tasks import check_asked, prepared

    try:
        sizes = [float(b) for b in budgets.split(",") if b]
    except ValueError:
        sizes = []
    if not sizes:
        fail(f"--budgets {budgets}: must be numbers with commas between", 2)
    check_asked(names, sizes)
    check_folder("--out", out)
    try:
        prepared_task, space = prepared(task, None, steps, search or [])
        cells = compared(prepared_task, space, names, sizes, repeats, seed, out)
    except UsageError as error:
        fail(str(error), 2)
    except (ValueError, TypeError, ImportError, OSError) as error:
        fail(told(error), 1)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the same command with --out {out} goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(cells)))
    write(json, lambda: as_json(cells))
    write(markdown, lambda: as_markdown(cells))
