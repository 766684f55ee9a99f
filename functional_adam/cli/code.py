"""`functional-adam code`: the configuration a study has chosen, as code to paste."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import STDOUT, check_writable, fail, write


def code(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.")],
    framework: Annotated[
        str, typer.Option("--for", help="functional_adam, optax or torch.")
    ] = "functional_adam",
    out: Annotated[Path, typer.Option(help="File to write; - for stdout.")] = STDOUT,
) -> None:
    """Write the optimizer and its schedule as code.

    Exit status: 0 written, 1 there is no such code, 2 wrong usage.
    """
    check_writable(out)
    from functional_adam.tune import Study
    from functional_adam.tune.code import WRITERS

    if framework not in WRITERS:
        fail(f"--for {framework}: must be one of {', '.join(WRITERS)}", 2)
    try:
        study = Study.load(folder)
    except (ValueError, OSError) as error:
        fail(str(error), 2)
    try:
        text = study.best.as_code(framework)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        fail(str(error), 1)
    write(out, lambda: text)
