"""Many trainings as few compiled programs: hyperparameters are data, lanes never touch."""

from __future__ import annotations

import collections
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from . import _hyper
from ._evaluate import figures_of
from ._pool import Pool, Run
from ._program import Execution as Execution
from ._program import program
from .task import Task
from .trial import Outcome, StopRule, Trial


def population(
    task: Task,
    trials: Sequence[Trial],
    *,
    execution: Execution | str = "auto",
    on_done: Callable[[Outcome], None] | None = None,
    stop: StopRule | None = None,
    keep_params: bool = False,
) -> list[Outcome]:
    """Train every trial and return their outcomes in the same order."""
    trials = list(trials)
    task.check()
    for trial in trials:
        _hyper.check(trial.config, task.own)
    chosen = execution if isinstance(execution, Execution) else Execution(8, 1, os.cpu_count() or 1)
    outcomes: list[Outcome | None] = [None] * len(trials)
    groups: dict[Any, list[int]] = collections.defaultdict(list)
    for i, trial in enumerate(trials):
        groups[_hyper.group_of(trial.config)].append(i)
    for group, members in groups.items():
        made = program(task, group, chosen)
        made.compile(trials[members[0]])
        waiting = collections.deque(Run(i, trials[i]) for i in members)
        messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        halt = threading.Event()

        def source(waiting=waiting):
            try:
                return waiting.popleft()
            except IndexError:
                return None

        def done(run, lane, messages=messages):
            params = None
            if keep_params:
                params = jax.tree.map(np.asarray, lane().params)
            messages.put(("done", run.index, run.outcome(params)))

        def work(made=made, source=source, done=done, halt=halt, messages=messages):
            try:
                Pool(made, source, done, halt, lambda steps, lanes: None).run()
                messages.put(("end", None, None))
            except BaseException as error:
                messages.put(("error", None, error))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(chosen.workers)]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                kind, index, value = messages.get()
                if kind == "end":
                    running -= 1
                elif kind == "error":
                    raise value
                else:
                    outcomes[index] = value
                    if on_done is not None:
                        on_done(value)
        finally:
            halt.set()
            for thread in threads:
                thread.join()
    return [o for o in outcomes if o is not None]


def held_out(task: Task, trials: Sequence[Trial]) -> list[float]:
    """Train every trial and return its mean loss on the task's held-out data."""
    if task.held_out is None:
        raise ValueError(f"task {task.name!r} has no held_out data")
    figures = jax.jit(figures_of(task))
    found = []
    for outcome in population(task, trials, keep_params=True):
        own = {name: float(outcome.trial.config[name]) for name in task.own}
        found.append(float(figures(outcome.params, task.held_out, own)["loss"]))
    return found
