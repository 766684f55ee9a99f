"""Doing a study's jobs in several processes, on one machine or many, through an optuna storage.

Every process runs the same course of the study; a job is a trial of the storage, and who turns it
from waiting to running has it. Where two have entered the same job, the entry with the lowest
number counts. What is finished goes into the own log first and into the storage then; what others
have finished is copied into the own log. A job of a process that has died, or has not been heard of
for the length of a lease, is entered again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ._storage import alone, open_study, reached
from ._worker import identity, runs, same_machine
from .jobs import Job
from .log import Log
from .work import Engine, Record, Work

LEASE = 60.0  # seconds without a sign of life after which a process on another machine is dead
POLL = 0.1  # seconds between looks at the storage


class SharedWork(Work):
    """Jobs that several processes do together.

    Args:
        engine: what trains.
        log: of the study, the own one or one that processes of this machine share.
        storage: URL of a database for optuna (``postgresql://...``, ``mysql+pymysql://...``), or
            the path of a journal file, also on NFS.
        name: of the study in the storage.
        workers: how many processes are expected to share the work.
        lease: see `LEASE`.
        same_start: as in `Work`.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        *,
        storage: str,
        name: str,
        workers: int = 1,
        lease: float = LEASE,
        same_start: bool = True,
    ) -> None:
        super().__init__(engine, log, same_start=same_start)
        self._reached = functools.partial(reached, storage)
        self._storage, self._study = open_study(storage, name)
        self._alone = alone(storage)
        self._workers, self._lease = workers, lease
        self._me = identity()
        self._heard: dict[str, tuple[Any, float]] = {}
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        with self._reached():
            self._sign(0)
        self._heart.start()

    def close(self) -> None:
        """Give no more signs of life."""
        self._stop.set()
        self._heart.join()

    def perform(self, jobs: Sequence[Job]) -> list[Record]:
        """Records of all jobs, in their order, whoever does them.

        Raises:
            ConnectionError: the storage does not answer.
        """
        with self._reached():
            return self._perform(jobs)

    def _perform(self, jobs: Sequence[Job]) -> list[Record]:
        wanted = {job.key: job for job in jobs}
        self._publish([job for key, job in wanted.items() if key in self.known])
        while missing := {key: job for key, job in wanted.items() if key not in self.known}:
            entries = self._entries(missing)
            if self._copy(missing, entries) or self._bury(entries):
                continue
            if new := [job for key, job in missing.items() if key not in entries]:
                for job in new:
                    self._enter(job, _state().WAITING, {})
                continue
            claimed = self._claim(missing, entries)
            if claimed:
                self._do({key: missing[key] for key in claimed}, claimed)
            else:
                time.sleep(POLL)
                self.refresh()
        return [self.known[job.key] for job in jobs]

    def agreed(self, kind: str, compute: Callable[[], Record]) -> Record:
        """As in `Work`, of the processes of all machines."""
        with self._reached():
            return self._agreed(kind, compute)

    def _agreed(self, kind: str, compute: Callable[[], Record]) -> Record:
        key = f"agreed {kind}"
        if self._entry_of(key) is None:
            self._create(key, _state().COMPLETE, super().agreed(kind, compute), 0.0)
        entry = self._entry_of(key)
        assert entry is not None
        record = json.loads(entry.user_attrs["result"])
        super().agreed(kind, lambda: record)
        return record

    def _entry_of(self, key: str) -> Any:
        found = self._storage.get_all_trials(self._study, deepcopy=False)
        return next((entry for entry in found if entry.user_attrs.get("key") == key), None)

    def _do(self, jobs: dict[str, Job], claimed: dict[str, int]) -> None:
        open_entries = dict(claimed)

        def keep(job: Job, record: Record) -> None:
            self.keep(job, record)
            self._finish(open_entries.pop(job.key), record)

        self.refresh()  # a process that died may have written its line, but not told the storage
        for key in [key for key in jobs if key in self.known]:
            self._finish(open_entries.pop(key), self.known[key])
            del jobs[key]
        try:
            self.do(list(jobs.values()), keep)
        finally:
            for entry in open_entries.values():
                self._set(entry, _state().FAIL)

    def _claim(self, missing: dict[str, Job], entries: dict[str, Any]) -> dict[str, int]:
        """A fair share of what waits, now ours."""
        waiting = [key for key in missing if entries[key].state == _state().WAITING]
        share = -(-len(waiting) // max(self._workers, self._alive()))
        claimed = {}
        for key in waiting:
            if len(claimed) == share:
                break
            entry = entries[key]._trial_id
            if self._set(entry, _state().RUNNING):
                with contextlib.suppress(_finished_error()):
                    self._storage.set_trial_user_attr(entry, "worker", self._me)
                claimed[key] = entry
        return claimed

    def _copy(self, missing: dict[str, Job], entries: dict[str, Any]) -> bool:
        """Take over what others have finished; whether there was any."""
        done = [key for key, entry in entries.items() if entry.state == _state().COMPLETE]
        for key in done:
            self.keep(missing[key], json.loads(entries[key].user_attrs["result"]))
        return bool(done)

    def _bury(self, entries: dict[str, Any]) -> bool:
        """Fail the entries of the dead; whether there were any."""
        signs = self._signs()
        dead = [
            entry
            for entry in entries.values()
            if entry.state == _state().RUNNING and self._dead(entry, signs)
        ]
        for entry in dead:
            self._set(entry._trial_id, _state().FAIL)
        return bool(dead)

    def _dead(self, entry: Any, signs: dict[str, Any]) -> bool:
        worker = entry.user_attrs.get("worker")
        if worker == self._me:
            return True  # what we hold is being done while we look at nothing else
        if worker is not None and same_machine(worker, self._me) and not runs(worker):
            return True
        sign = signs.get(worker) if worker is not None else None
        what = worker if worker is not None else f"entry {entry._trial_id}"
        seen, since = self._heard.get(what, (None, 0.0))
        now = time.monotonic()
        if what not in self._heard or seen != sign:
            self._heard[what] = (sign, now)
            return False
        return now - since > self._lease

    def _entries(self, keys: dict[str, Job]) -> dict[str, Any]:
        """By key the entry that counts: a finished one, else the first that has not failed."""
        found: dict[str, Any] = {}
        for entry in self._storage.get_all_trials(self._study, deepcopy=False):
            key = entry.user_attrs.get("key")
            if key not in keys or entry.state == _state().FAIL:
                continue
            if key not in found or (
                entry.state == _state().COMPLETE and found[key].state != _state().COMPLETE
            ):
                found[key] = entry
        return found

    def _publish(self, jobs: list[Job]) -> None:
        """Tell the storage what the log knew before: others need not do it."""
        entries = self._entries({job.key: job for job in jobs})
        for job in jobs:
            entry = entries.get(job.key)
            if entry is None or entry.state != _state().COMPLETE:
                self._enter(job, _state().COMPLETE, self.known[job.key])

    def _enter(self, job: Job, state: Any, record: Record) -> None:
        self._create(job.key, state, record, _value(record) if record else None)

    def _create(self, key: str, state: Any, record: Record, value: float | None) -> None:
        from optuna.trial import create_trial

        attributes = {"key": key}
        if record:
            attributes["result"] = json.dumps(record)
        entry = create_trial(state=state, value=value, user_attrs=attributes)
        self._storage.create_new_trial(self._study, template_trial=entry)

    def _finish(self, entry: int, record: Record) -> None:
        with contextlib.suppress(_finished_error()):  # we were thought dead: the log has it
            self._storage.set_trial_user_attr(entry, "result", json.dumps(record))
            self._storage.set_trial_state_values(entry, _state().COMPLETE, values=[_value(record)])

    def _set(self, entry: int, state: Any) -> bool:
        try:
            with self._alone():
                return self._storage.set_trial_state_values(entry, state)
        except _finished_error():
            return False

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(self._lease / 4):
            count += 1
            # A sign that cannot be given is left out: who waits for us waits for a whole lease.
            with contextlib.suppress(ConnectionError), self._reached():
                self._sign(count)

    def _sign(self, count: int) -> None:
        self._storage.set_study_user_attr(self._study, f"worker {self._me}", count)

    def _signs(self) -> dict[str, Any]:
        attributes = self._storage.get_study_user_attrs(self._study)
        head = "worker "
        return {key[len(head) :]: x for key, x in attributes.items() if key.startswith(head)}

    def _alive(self) -> int:
        return 1 + sum(
            worker != self._me and same_machine(worker, self._me) and runs(worker)
            for worker in self._signs()
        )


def _value(record: Record) -> float:
    return float(record["validation" if record["kind"] == "training" else "loss"])


def _state() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _finished_error() -> Any:
    from optuna.exceptions import UpdateFinishedTrialError

    return UpdateFinishedTrialError
