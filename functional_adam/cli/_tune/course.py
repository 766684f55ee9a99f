"""The course of a study on a terminal: a line for each round, on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import typer

WHAT = {
    "baseline": "untuned Adam, on fresh seeds",
    "search": "search",
    "confirmation": "the best again, on fresh seeds",
    "held_out": "held-out loss",
}


@contextlib.contextmanager
def shown(budget: float | None, *, quiet: bool) -> Iterator[Callable[[str, int, float], None]]:
    """What to call before each round; `quiet` says nothing."""
    started = time.monotonic()

    def on_round(phase: str, trainings: int, spent: float) -> None:
        if not quiet:
            of = "" if budget is None else f" of {budget + 4:g}"
            typer.echo(
                f"{time.monotonic() - started:6.1f} s  {spent:6.1f}{of} full trainings done; now "
                f"{trainings}: {WHAT[phase]}",
                err=True,
            )

    yield on_round
