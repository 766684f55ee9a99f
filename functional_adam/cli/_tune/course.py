"""The course of a study on a terminal: a line for each round, on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import typer

WHAT = {
    "baseline": "untuned Adam, on fresh seeds",
    "search": "search",
    "confirmation": "the best again, on fresh seeds",
    "held_out": "held-out loss",
}


@contextlib.contextmanager
def shown(budget: float | None, *, quiet: bool) -> Iterator[dict[str, Any]]:
    """What `tune` is to call before each round and, on a terminal, on the way."""
    from functional_adam.tune import rich_progress

    started = time.monotonic()

    def on_round(phase: str, trainings: int, spent: float) -> None:
        if not quiet:
            of = "" if budget is None else f" of {budget + 4:g}"
            typer.echo(
                f"{time.monotonic() - started:6.1f} s  {spent:6.1f}{of} full trainings done; now "
                f"{trainings}: {WHAT[phase]}",
                err=True,
            )

    if quiet or not sys.stderr.isatty():
        yield dict(on_round=on_round)
        return
    with rich_progress() as on_progress:
        yield dict(on_round=on_round, on_progress=on_progress)
