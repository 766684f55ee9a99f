"""What a command says when it ends early, and files that it is asked to write: - is stdout."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.table import Table

STDOUT = Path("-")


class UsageError(Exception):
    """An argument or an option that makes no sense: status 2."""


def fail(message: str, status: int = 2) -> NoReturn:
    """Say why on stderr, and end with this status: 2 is wrong usage."""
    typer.echo(message, err=True)
    raise typer.Exit(status) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse, with status 2, before the work and not after."""
    given = [path for path in paths if path is not None]
    if len({*given}) < len(given):
        fail(f"cannot write two outputs to {given[0]}: give each a file of its own")
    for path in given:
        if path == STDOUT:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            fail(f"cannot write {path}: not a file in a folder that exists")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            fail(f"cannot write {path}: {os.strerror(errno.EACCES)}")


def check_folder(option: str, path: Path) -> None:
    """Status 2 where a folder cannot be written to, or made; a command that fails leaves none."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
        with contextlib.suppress(OSError):  # somebody else uses it already
            for folder in new:
                folder.rmdir()
    except OSError as error:
        reason = error.strerror
    if reason:
        fail(f"{option} {path}: cannot write there: {reason}; choose another folder")


def show(*ways: Sequence[Table], wide: int) -> None:
    """Print tables in the first of these ways that the terminal has room for, else in the last.

    Columns that do not wrap are never cut: a terminal that is too narrow breaks the lines.

    Args:
        ways: tables that hold the same in other forms, the widest first.
        wide: columns where there is no terminal.
    """
    from rich.console import Console

    console = Console()
    width = console.width if console.is_terminal else wide
    roomy = Console(width=1000)
    for column in (column for way in ways for table in way for column in table.columns):
        if column.no_wrap:
            cells = [roomy.measure(cell).maximum for cell in (column.header, *column.cells)]
            column.min_width = max(cells)
    needs = [max(roomy.measure(table).minimum for table in way) for way in ways]
    fit = next((i for i, need in enumerate(needs) if need <= width), len(ways) - 1)
    Console(width=max(width, needs[fit])).print(*ways[fit], sep="\n")


def told(error: Exception) -> str:
    """An error in words: of a file with its name and without a number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def finite(value: Any) -> Any:
    """Lists and dicts for JSON, which has no NaN and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(path: Path | None, text: Callable[[], str]) -> None:
    """Write a text to a file or to stdout, if a path was given."""
    if path == STDOUT:
        typer.echo(text(), nl=False)
    elif path is not None:
        try:
            path.write_text(text(), encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}")
