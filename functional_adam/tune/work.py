"""Doing a study's jobs in one process: what the log knows is not done again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .jobs import Job, Record, key_of, training_record
from .log import Log
from .trial import Outcome, Trial

SAME_START = 1e-2  # relative difference of initial losses of one seed: another kernel's, no more


class Engine(NamedTuple):
    """What trains."""

    train: Callable[[Sequence[Trial], Callable[[Outcome], None]], Any]
    """(trials, on_done): calls `on_done` with each outcome as soon as it is there."""
    held_out: Callable[[Sequence[Trial]], Sequence[float]]
    """trials -> losses on held-out data after training."""


class Work:
    """Jobs against a log.

    Args:
        engine: what trains.
        log: of the study.
        same_start: whether configurations of one seed must begin with the same loss.
    """

    def __init__(self, engine: Engine, log: Log, *, same_start: bool = True) -> None:
        self.engine = engine
        self.log = log
        self.known: dict[str, Record] = {}
        self._starts: dict[int, float] = {}
        self._same_start = same_start
        self._seen = 0
        self.refresh()

    def refresh(self) -> None:
        """Take in what the log has more than before."""
        self.log.refresh()
        for record in self.log.records[self._seen :]:
            key = key_of(record)
            if key is not None:
                self.known.setdefault(key, record)
                if record["kind"] == "training":
                    self._check_start(record["seed"], record["curve"])
        self._seen = len(self.log.records)

    def perform(self, jobs: Sequence[Job]) -> list[Record]:
        """Records of all jobs, in their order; those that are not known are done."""
        missing = {job.key: job for job in jobs if job.key not in self.known}
        self.do(list(missing.values()), self.keep)
        return [self.known[job.key] for job in jobs]

    def do(self, jobs: Sequence[Job], keep: Callable[[Job, Record], None]) -> None:
        """Do jobs here; `keep` is given each with its record as soon as it is done."""
        trainings = [job for job in jobs if job.kind == "training"]
        if trainings:
            waiting = {id(job.trial): job for job in trainings}

            def on_done(outcome: Outcome) -> None:
                job = waiting.pop(id(outcome.trial))
                self._check_start(job.trial.seed, outcome.curve)
                keep(job, {**job.as_record(), **training_record(outcome)})

            self.engine.train([job.trial for job in trainings], on_done)
            if waiting:
                raise RuntimeError(f"the engine left {len(waiting)} trainings without an outcome")
        evaluations = [job for job in jobs if job.kind == "held_out"]
        if evaluations:
            losses = self.engine.held_out([job.trial for job in evaluations])
            for job, loss in zip(evaluations, losses, strict=True):
                keep(job, {**job.as_record(), "loss": float(loss)})

    def check_task(self) -> None:
        """Train one step: refuse the log of another loss where nothing else is left to train."""
        done = next((r for r in self.log.records if r["kind"] == "training"), None)
        if done is None or not self._same_start:
            return
        trial = Trial(done["config"], done["seed"], 1, done["of"])
        self.engine.train([trial], lambda outcome: self._check_start(trial.seed, outcome.curve))

    def keep(self, job: Job, record: Record) -> None:
        """Write a record that nobody else has written."""
        self.log.append_unless(record, lambda: self._refreshed(job.key))
        self.refresh()

    def agreed(self, kind: str, compute: Callable[[], Record]) -> Record:
        """The first record of a kind that any process has written; computed where there is none."""
        self.refresh()
        if self._first(kind) is None:
            record = {"kind": kind, **compute()}
            self.log.append_unless(record, lambda: self._first(kind) is not None)
        found = self._first(kind)
        assert found is not None
        return found

    def _first(self, kind: str) -> Record | None:
        return next((r for r in self.log.records if r.get("kind") == kind), None)

    def _refreshed(self, key: str) -> bool:
        new = self.log.records[self._seen :]
        return key in self.known or any(key_of(record) == key for record in new)

    def _check_start(self, seed: int, curve: Sequence[Sequence[float]]) -> None:
        """Refuse a log of another loss: initial weights and data of a seed give one loss."""
        if not (self._same_start and curve and curve[0][0] == 0):
            return
        start = float(curve[0][1])
        before = self._starts.setdefault(seed, start)
        if not math.isclose(start, before, rel_tol=SAME_START, abs_tol=1e-6):
            raise ValueError(
                f"the task is not the one this study was begun with: with seed {seed} its loss "
                f"before training is {start:.6g}, in the log {before:.6g}; choose another folder"
            )
