"""`functional-adam report`: what a study found, as one HTML file and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import check_folder, fail, told


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="FOLDER")
    ] = None,
) -> None:
    """Write report.html, which needs no other file, and its pictures as PNG.

    Exit status: 0 written, 2 wrong usage, 130 interrupted.
    """
    need("matplotlib")
    from functional_adam.tune import Study

    try:
        study = Study.load(folder)
        check_folder("--out", out or folder)
        path = study.report(out)
    except (ValueError, OSError) as error:
        fail(told(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"written: {path}")
