"""What a command says when it ends early, and files that it is asked to write: - is stdout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer

STDOUT = Path("-")


class UsageError(Exception):
    """An argument or an option that makes no sense: status 2."""


def fail(message: str, status: int = 2) -> NoReturn:
    """Say why on stderr, and end with this status: 2 is wrong usage."""
    typer.echo(message, err=True)
    raise typer.Exit(status) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse, with status 2, before the work and not after."""
    for path in paths:
        if path not in (None, STDOUT) and (path.is_dir() or not path.absolute().parent.is_dir()):
            fail(f"cannot write {path}: not a file in a folder that exists")


def write(path: Path | None, text: Callable[[], str]) -> None:
    """Write a text to a file or to stdout, if a path was given."""
    if path == STDOUT:
        typer.echo(text(), nl=False)
    elif path is not None:
        try:
            path.write_text(text(), encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}")
