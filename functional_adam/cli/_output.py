"""Files that a command is asked to write: - is stdout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

STDOUT = Path("-")


def check_writable(*paths: Path | None) -> None:
    """Refuse, with status 2, before the work and not after."""
    for path in paths:
        if path not in (None, STDOUT) and (path.is_dir() or not path.absolute().parent.is_dir()):
            typer.echo(f"cannot write {path}: not a file in a folder that exists", err=True)
            raise typer.Exit(2)


def write(path: Path | None, text: Callable[[], str]) -> None:
    """Write a text to a file or to stdout, if a path was given."""
    if path == STDOUT:
        typer.echo(text(), nl=False)
    elif path is not None:
        try:
            path.write_text(text(), encoding="utf-8")
        except OSError as error:
            typer.echo(f"cannot write {path}: {error.strerror}", err=True)
            raise typer.Exit(2) from None
