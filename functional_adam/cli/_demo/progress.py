"""Showing how far the work is: a bar on a terminal, otherwise one line for each optimizer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .compare import Comparison
from .verdict import broken
from .ways import BRIDGE, JAX


class Display:
    """Progress on stderr, so that stdout holds results only."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=steps)
        self._started = time.perf_counter()

    def begin(self, name: str) -> None:
        """Say which optimizer is at work."""
        self._progress.update(self._task, description=name)
        self._started = time.perf_counter()

    def advance(self, steps: int) -> None:
        """Count steps, each of them taken in every way."""
        self._progress.advance(self._task, steps)

    def end(self, comparison: Comparison) -> None:
        """Sum up the optimizer, where no bar showed it."""
        if self._progress.console.is_terminal:
            return
        seconds = time.perf_counter() - self._started
        same = comparison.same
        verdict = "parity broken" if broken(comparison) else "parity holds"
        self._progress.console.print(
            f"{comparison.algorithm.name}: {verdict} (same gradients: torch bridge "
            f"{same[BRIDGE].ulp:g} ulp, JAX {same[JAX].ulp:g} ulp of max|p|), {seconds:.1f} s",
            soft_wrap=True,
            highlight=False,
        )


@contextlib.contextmanager
def display(steps: int) -> Iterator[Display]:
    """Progress over so many steps, gone from the terminal at the end."""
    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("steps"), TimeElapsedColumn(), TimeRemainingColumn()),
    )
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with progress:
        yield Display(progress, steps)
