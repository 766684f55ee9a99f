"""Slots of one program, filled from a queue of trials; a slot that is free is filled again."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ._program import Program
from .trial import Outcome, Trial

WORST = 1.5  # loss a diverged run is given, of the loss before the first step
EXPLODED = 100.0  # likewise: from here on nothing is expected any more


@dataclasses.dataclass
class Run:
    """A trial under way.

    Attributes:
        index: in the call's list.
        trial: what was asked.
        count: steps made.
        curve: as in `Outcome`.
        seconds: as in `Outcome`.
        figures: the latest.
    """

    index: int
    trial: Trial
    count: int = 0
    curve: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    figures: dict[str, float] = dataclasses.field(default_factory=dict)

    def note(self, figures: dict[str, float]) -> None:
        """Keep what was measured at this step."""
        self.figures = figures
        self.curve.append((self.count, figures["loss"]))

    @property
    def hopeless(self) -> bool:
        """Whether it is not finite or has exploded."""
        return not self.figures["loss"] <= self._times(EXPLODED)

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""
        return self.count >= self.trial.steps or self.hopeless

    def outcome(self, params: Any = None) -> Outcome:
        """The answer."""
        worst = self._times(WORST)
        diverged = not self.figures["loss"] <= worst
        return Outcome(
            trial=self.trial,
            validation=worst if diverged else self.figures["loss"],
            diverged=diverged,
            curve=self.curve,
            metrics={k: v for k, v in self.figures.items() if k != "loss"},
            seconds=self.seconds,
            steps=self.count,
            params=params,
        )

    def _times(self, factor: float) -> float:
        first = self.curve[0][1]
        return first + (factor - 1) * (abs(first) or 1.0)


class Pool:
    """Trains what `source` gives, `program.width` at a time."""

    def __init__(
        self,
        program: Program,
        source: Callable[[], Run | None],
        done: Callable[[Run, Any], None],
        stop: threading.Event,
        tick: Callable[[int, int], None],
    ):
        self.program, self.source, self.done, self.stop, self.tick = (
            program, source, done, stop, tick
        )  # fmt: skip
        self.slots: list[Run | None] = [None] * program.width
        self.lanes: Any = None
        self.h: Any = None

    def run(self) -> None:
        """Until nothing is left, or until asked to stop."""
        while not self.stop.is_set():
            self._fill()
            active = [run for run in self.slots if run is not None]
            if not active:
                return
            self._advance(active)

    def _fill(self) -> None:
        fresh = np.zeros(len(self.slots), bool)
        for i, run in enumerate(self.slots):
            if run is None:
                self.slots[i] = self.source()
                fresh[i] = self.slots[i] is not None
        if not fresh.any():
            return
        began = time.perf_counter()
        # A slot without a run of its own repeats another's.
        some = next(run for run in self.slots if run is not None)
        shown = [run or some for run in self.slots]
        self.h = self.program.hyper([run.trial for run in shown])
        seeds = np.array([run.trial.seed for run in shown], np.int32)
        lanes, figures = self.program.start(seeds, self.h)
        if self.lanes is not None:
            lanes = self.program.chosen(fresh, lanes, self.lanes)
        self.lanes = lanes
        figures = jax.device_get(figures)
        started = [i for i in range(len(fresh)) if fresh[i]]
        for i in started:
            run = self.slots[i]
            assert run is not None
            run.note({name: float(x[i]) for name, x in figures.items()})
            run.seconds += (time.perf_counter() - began) / len(started)
            if not math.isfinite(run.figures["loss"]):
                raise ValueError(
                    f"loss of task {self.program.task.name!r} must be finite at the start, got "
                    f"{run.figures['loss']} on validation data for seed {run.trial.seed}"
                )

    def _advance(self, active: list[Run]) -> None:
        program, began = self.program, time.perf_counter()
        ends = [self._boundary(run) - run.count for run in active]
        n = min(program.length, *ends)
        judge = any(end == n for end in ends)
        shape = (len(self.slots), program.length, program.batches.size)
        windows = np.zeros(shape, np.int32)
        for i, run in enumerate(self.slots):
            if run is not None:
                windows[i] = program.batches.window(run.trial.seed, run.count, n, program.length)
        self.lanes, figures = program.advance(self.lanes, self.h, windows, n, judge)
        figures = jax.device_get(figures)
        seconds = (time.perf_counter() - began) / len(active)
        for i, run in enumerate(self.slots):
            if run is None:
                continue
            at_boundary = self._boundary(run) - run.count == n
            run.count += n
            run.seconds += seconds
            if at_boundary:
                run.note({name: float(x[i]) for name, x in figures.items()})
            if at_boundary and run.over:
                self.slots[i] = None
                self.done(run, functools.partial(_at, i, self.lanes))
        self.tick(n * len(active), len(active))

    def _boundary(self, run: Run) -> int:
        """Where the run is looked at next."""
        segment = -(-run.trial.of // self.program.task.evaluations)
        return min((run.count // segment + 1) * segment, run.trial.steps)


def _at(i: int, lanes: Any) -> Any:
    """One lane of many."""
    return jax.tree.map(lambda x: x[i], lanes)
