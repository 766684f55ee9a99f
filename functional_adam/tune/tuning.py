"""`tune`: a study from its beginning, or from where its log ends."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from ._choose import choose_execution
from ._execution import Execution
from ._hyper import check_space
from .budget import LEAST, MOST, Plan
from .engine import held_out, population
from .head import check_same, end_of, head, last_head, name_of
from .jobs import Job
from .log import Log, can_be_shared
from .progress import OnProgress
from .script import Course, OutOfTimeError, course, untuned
from .shared import SharedWork
from .space import Config, Space, adamw_space
from .strategies import Strategy, strategy_named
from .study import Study
from .task import Task
from .trial import Trial
from .work import Engine, Record, Work

Report = Callable[[str, int, float], None]
"""(phase, trainings in the round, full trainings done): what `on_round` is called with."""
HALF = ("float16", "bfloat16")
MARGIN = 0.8  # of the seconds: compilation and evaluation take the rest


def tune(
    task: Any,
    *,
    budget: float | None = None,
    seconds: float | None = None,
    strategy: str | Strategy = "auto",
    space: Space | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    dtype: str | None = None,
    execution: Any = "auto",
    storage: str | None = None,
    workers: int = 1,
    on_round: Report | None = None,
    on_progress: OnProgress | None = None,
    engine: Engine | None = None,
) -> Study:
    """Find the hyperparameters of Adam for a task, and say honestly how good they are.

    Untuned Adam is trained on four seeds; the strategy searches on one other; its best two (from
    32 full trainings on, four) are trained again on seeds the search has not seen, two of them
    (four). Of what cannot be told apart there, within two standard errors, the configuration
    nearest the defaults is chosen, and its loss on held-out data is measured once.

    With `out` every finished training is a line of a log there. The same call again goes on where
    it ends; a study run again from its seed makes the same choice.

    Args:
        task: `Task`, or `TorchTask`; see also `builtin`.
        budget: of search and confirmation together, in full trainings, at least 6. The baseline (4)
            and the held-out figure (4 or 8) come on top.
        seconds: the budget as time, from which `budget` is measured; one of the two is needed.
        strategy: "auto", "ladder", "quasi", "halving", "fan_box", "random", "tpe" or "gp" (these
            two need optuna), or a `Strategy`.
        space: what is searched; None: `adamw_space(steps=task.steps)`.
        out: folder of the log; None: in memory.
        seed: of the study, >= 0.
        dtype: replaces the task's, where it is one of JAX.
        execution: as in `population`; what "auto" has measured is kept in the log.
        storage: where several processes, each of which calls `tune` with the same arguments, share
            the study: URL of a database for optuna, or path of a journal file.
        workers: how many processes share it.
        on_round: called before each round.
        on_progress: as in `population`; see `rich_progress`.
        engine: what trains, in place of `population` and `held_out`.

    Raises:
        ValueError: an argument is out of range, the task's parts do not fit, or `out` holds
            another study: of other data, counts, space or strategy, or of a task whose loss before
            training is another.
        ImportError: a package is needed that is not installed.
        OSError: `out` cannot be written, or the storage does not answer.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if storage is not None and out is not None and not can_be_shared():
        raise ValueError("storage: this system has no file locks; give out=None")
    started = time.monotonic()
    if dtype is not None and dtype != task.dtype:
        if not isinstance(task, Task):
            raise ValueError(f"dtype={dtype!r}: the dtype of a torch task is that of its module")
        task = dataclasses.replace(task, dtype=dtype)
    if engine is None:
        task.check()
    space = adamw_space(steps=task.steps) if space is None else space
    search, plan, log, begun = ready(
        task, budget=budget, seconds=seconds, strategy=strategy, space=space, out=out, seed=seed
    )
    with contextlib.ExitStack() as stack:
        work = _work(engine or _none, log, task, storage, workers, begun)
        if isinstance(work, SharedWork):
            stack.callback(work.close)
        if engine is None:
            chosen = _execution(task, execution, plan, space, work)
            work.engine = default_engine(task, chosen, on_progress)
            if end_of(log.records, plan) is not None:
                work.check_task()
        if seconds is not None:
            plan = _measured(plan, space, seconds, workers, work, started)
            begun["runs"] = plan.runs
        _begin(log, begun)
        rounds = course(space, search, plan, held_out=task.held_out is not None)
        deadline = math.inf if seconds is None else started + seconds
        finalists = _follow(rounds, work, deadline, plan, on_round)
        end = dict(kind="end", runs=plan.runs, finalists=[dict(c) for c in finalists])
        log.append_unless(end, lambda: end_of(log.records, plan) is not None)
    return Study(log)


def ready(
    task: Any,
    *,
    budget: float | None,
    seconds: float | None,
    strategy: str | Strategy,
    space: Space,
    out: str | Path | None,
    seed: int,
) -> tuple[Strategy, Plan, Log, Record]:
    """The strategy, the plan, the log and its head: all of a study but the training.

    Raises:
        ValueError, ImportError, OSError: as in `tune`; `out` cannot be written.
    """
    if (budget is None) == (seconds is None):
        raise ValueError(f"give one of budget and seconds, got {budget!r} and {seconds!r}")
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a positive number, got {seconds!r}")
    name, search = strategy_named(strategy)
    if not len(space):
        raise ValueError("space: there is nothing to search, every hyperparameter is fixed")
    check_space(space, task.own)
    plan = Plan(LEAST if budget is None else budget, task.steps, seed, task.dtype in HALF)
    log = Log(None if out is None else Path(out))
    begun = head(task, space, name, plan)
    if old := last_head(log.records):
        check_same(old, begun, out)
    return search, plan, log, begun


def default_engine(task: Any, execution: Any, on_progress: Any = None) -> Engine:
    """What trains a task: `population` and `held_out`."""

    def train(trials: Sequence[Trial], on_done: Any) -> None:
        population(task, trials, execution=execution, on_done=on_done, on_progress=on_progress)

    return Engine(train, functools.partial(held_out, task, execution=execution))


def _execution(task: Any, execution: Any, plan: Plan, space: Space, work: Work) -> Any:
    """How it is trained: the same in all processes and after a resume, for the same last bits."""
    if execution != "auto":
        return execution
    steps = plan.steps
    trials = [Trial(untuned(space), seed, steps, steps) for seed in plan.fresh]

    def measure() -> Record:
        return dataclasses.asdict(choose_execution(task, trials, total=round(plan.runs)))

    found = work.agreed("execution", measure)
    agreed = Execution(**{name: found[name] for name in ("lanes", "devices", "workers")})
    if agreed.devices > jax.local_device_count():
        return "auto"  # begun on another machine
    return agreed


_none = Engine(lambda trials, on_done: None, lambda trials: [])


def _work(
    engine: Engine, log: Log, task: Any, storage: str | None, workers: int, begun: Record
) -> Work:
    same_start = not task.own
    if storage is None:
        if workers > 1:
            raise ValueError(f"workers={workers} need a storage to share the study through")
        return Work(engine, log, same_start=same_start)
    name = name_of(begun)
    return SharedWork(
        engine, log, storage=storage, name=name, workers=workers, same_start=same_start
    )


def _begin(log: Log, begun: Record) -> None:
    """Write the head, unless it is there already."""

    def known() -> bool:
        old = last_head(log.records)
        if old is not None:
            check_same(old, begun, log.path)
        return old is not None and old["runs"] == begun["runs"]

    log.append_unless(begun, known)


def _measured(
    plan: Plan, space: Space, seconds: float, workers: int, work: Work, started: float
) -> Plan:
    """A plan of as many full trainings as the seconds allow; the first measurement stays."""

    def measure() -> Record:
        steps, config = plan.steps, untuned(space)
        jobs = [Job("training", Trial(config, s, steps, steps), "baseline") for s in plan.fresh]
        records = work.perform(jobs)
        each = sum(record["seconds"] for record in records) / len(records)
        left = max(0.0, seconds - (time.monotonic() - started)) * MARGIN
        # Eight held-out trainings come after the search.
        runs = math.floor(left * workers / max(each, 1e-9)) - 8.0
        return dict(seconds=seconds, runs=min(max(runs, float(LEAST)), float(MOST)))

    found = work.agreed(f"measured for {seconds:g} s", measure)
    return dataclasses.replace(plan, runs=found["runs"])


def _follow(
    rounds: Course, work: Work, deadline: float, plan: Plan, on_round: Report | None
) -> list[Config]:
    """Do round after round until the course ends; returns what it does."""
    jobs, late, spent = next(rounds), False, 0.0
    while True:
        try:
            if not late and jobs[0].phase == "search" and time.monotonic() > deadline:
                late = True
                work.log.append(dict(kind="late", after=spent))
                jobs = rounds.throw(OutOfTimeError())
                continue
            if on_round is not None:
                on_round(jobs[0].phase, len(jobs), spent)
            records = work.perform(jobs)
            spent += sum(job.trial.steps for job in jobs) / plan.steps
            jobs = rounds.send(records)
        except StopIteration as end:
            return end.value
