"""How far a population is: a record for any display, and a display by rich."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from .._extras import require


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a call of `population` is.

    Attributes:
        finished: trials that ended.
        trials: of the call.
        lanes: trainings under way.
        steps: made by all.
        total: steps to make; fewer, as runs diverge or are stopped.
        best: lowest validation loss so far; None before the first.
        seconds: since the first step.
        left: estimate of the seconds that remain; None before there is one.
    """

    finished: int
    trials: int
    lanes: int
    steps: int
    total: int
    best: float | None
    seconds: float
    left: float | None


OnProgress = Callable[[Progress], None]


class Meter:
    """Counts, and tells."""

    def __init__(self, trials: int, total: int, tell: OnProgress | None) -> None:
        self.trials = trials
        self.total = total
        self.tell = tell
        self.finished: int = 0
        self.steps: int = 0
        self.lanes: int = 0
        self.best: float | None = None
        self.began: float = time.perf_counter()

    def tick(self, steps: int, lanes: int) -> None:
        """After a call of a program."""
        self.steps, self.lanes = self.steps + steps, lanes
        self._tell()

    def seen(self, validation: float) -> None:
        """Of a trial that may go on."""
        self.best = validation if self.best is None else min(self.best, validation)

    def done(self, spared: int) -> None:
        """After a trial, which made `spared` steps fewer than it was asked to."""
        self.finished, self.total = self.finished + 1, self.total - spared
        self._tell()

    def _tell(self) -> None:
        if self.tell is None:
            return
        seconds = time.perf_counter() - self.began
        left = seconds * (self.total - self.steps) / self.steps if self.steps else None
        now = Progress(
            self.finished,
            self.trials,
            self.lanes,
            self.steps,
            self.total,
            self.best,
            seconds,
            None if left is None else max(left, 0.0),
        )
        try:
            self.tell(now)
        except BaseException:
            # What ends meanwhile is still delivered, without a second such end.
            self.tell = None
            raise


@contextlib.contextmanager
def rich_progress(console: Any = None, *, title: str = "training") -> Iterator[OnProgress]:
    """A bar of rich with lanes, best so far and time left, for `on_progress`.

    Args:
        console: `rich.console.Console`; None: a new one, on the standard error stream.
        title: what stands before the bar.
    """
    require("rich", "cli")
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[finished]}/{task.fields[trials]} runs"),
        TextColumn("{task.fields[lanes]} lanes"),
        TextColumn("best {task.fields[best]}"),
        TextColumn("{task.fields[left]}"),
    )
    with Bars(*columns, console=console or Console(stderr=True)) as bars:
        fields: dict[str, Any] = dict(finished=0, trials=0, lanes=0, best="-", left="")
        bar = bars.add_task(title, total=None, **fields)

        def show(p: Progress) -> None:
            bars.update(
                bar,
                completed=p.steps,
                total=p.total,
                finished=p.finished,
                trials=p.trials,
                lanes=p.lanes,
                best="-" if p.best is None else f"{p.best:.4g}",
                left="" if p.left is None else f"{p.left:.0f} s left",
            )

        yield show
