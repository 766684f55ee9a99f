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

from ._paused import Saved
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
        saved: what it goes on from, if anything.
        count: steps made.
        curve: as in `Outcome`.
        seconds: as in `Outcome`.
        figures: the latest.
    """

    index: int
    trial: Trial
    saved: Saved | None = None
    count: int = 0
    curve: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    figures: dict[str, float] = dataclasses.field(default_factory=dict)

    def note(self, figures: dict[str, float]) -> None:
        """Keep what was measured at this step."""
        self.figures = figures
        self.curve.append((self.count, figures["loss"]))

    def segment(self, evaluations: int) -> int:
        """Steps from one evaluation to the next."""
        return -(-self.trial.of // evaluations)

    def boundary(self, evaluations: int) -> int:
        """Step at which the run is looked at next."""
        segment = self.segment(evaluations)
        return min((self.count // segment + 1) * segment, self.trial.steps)

    def resume(self, evaluations: int) -> None:
        """Take over what was saved, without what only its end made visible."""
        saved = self.saved
        assert saved is not None
        self.count, self.seconds, self.figures = saved.count, saved.seconds, saved.figures
        self.curve = list(saved.curve)
        if self.count % self.segment(evaluations) and self.count < self.trial.steps:
            self.curve.pop()

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


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a pool asks and tells, from its own thread.

    Attributes:
        next: -> the next run, or None where none is left.
        done: (run, -> its lane on the host) at its end.
        tick: (steps made by all runs, runs under way) after each call of the program.
        stop: set to end early.
    """

    next: Callable[[], Run | None]
    done: Callable[[Run, Callable[[], Any]], None]
    tick: Callable[[int, int], None]
    stop: threading.Event


class Pool:
    """Trains what it is given, `program.width` at a time."""

    def __init__(self, program: Program, hooks: Hooks) -> None:
        self.program, self.hooks = program, hooks
        self.slots: list[Run | None] = [None] * program.width
        self.lanes: Any = None
        self.h: Any = None

    def run(self) -> None:
        """Until nothing is left, or until asked to stop."""
        while not self.hooks.stop.is_set():
            self._fill()
            if not any(self.slots):
                return
            self._advance()

    def _fill(self) -> None:
        fresh = {}
        for i, run in enumerate(self.slots):
            while run is None or run.over:
                run = self.hooks.next()
                if run is None:
                    break
                lane = self._begin(run)
                if run.over:
                    # Nothing to train: it is what an earlier call left.
                    self.hooks.done(run, lambda lane=lane: lane)
                    continue
                fresh[i] = lane
            self.slots[i] = run
        if not fresh:
            return
        # A slot without a run of its own repeats another's.
        some = next(run for run in self.slots if run is not None)
        self.h = self.program.hyper([(run or some).trial for run in self.slots])
        if self.lanes is None:
            spare = next(iter(fresh.values()))
            lanes = [fresh.get(i, spare) for i in range(len(self.slots))]
            self.lanes = self.program.together(lanes)
            return
        for i, lane in fresh.items():
            self.lanes = self.program.insert(self.lanes, lane, i)

    def _begin(self, run: Run) -> Any:
        if run.saved is not None:
            run.resume(self.program.evaluations)
            return run.saved.lane
        lane, figures = self.program.start(run.trial)
        if not math.isfinite(figures["loss"]):
            raise ValueError(
                f"loss of task {self.program.task_name!r} must be finite at the start, got "
                f"{figures['loss']} on validation data for seed {run.trial.seed}"
            )
        run.note(figures)
        return lane

    def _advance(self) -> None:
        program, began = self.program, time.perf_counter()
        active = {i: run for i, run in enumerate(self.slots) if run is not None}
        ends = {i: run.boundary(program.evaluations) - run.count for i, run in active.items()}
        n = min(program.length, *ends.values())
        windows = np.zeros((program.width, program.length, program.batches.size), np.int32)
        for i, run in active.items():
            windows[i] = program.batches.window(run.trial.seed, run.count, n, program.length)
        judge = n in ends.values()
        self.lanes, figures = program.advance(self.lanes, self.h, windows, n, judge)
        figures = jax.device_get(figures)
        seconds = (time.perf_counter() - began) / len(active)
        for i, run in active.items():
            run.count += n
            run.seconds += seconds
            if ends[i] == n:
                run.note({name: float(x[i]) for name, x in figures.items()})
            if run.over:
                self.slots[i] = None
                self.hooks.done(run, functools.partial(program.lane, self.lanes, i))
        self.hooks.tick(n * len(active), len(active))
