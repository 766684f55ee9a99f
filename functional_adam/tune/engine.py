"""Many trainings as few compiled programs: hyperparameters are data, lanes never touch."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np

from . import _cache, _check_task, _hyper
from ._choose import choose_execution
from ._evaluate import figures_of
from ._execution import Execution
from ._hosts import gathered, share
from ._paused import Paused, Saved
from ._pool import Run
from ._program import program
from ._workers import train
from .progress import Meter, OnProgress
from .task import Task
from .trial import Outcome, StopRule, Trial

OnDone = Callable[[Outcome], None]


def population(
    task: Any,
    trials: Sequence[Trial],
    *,
    execution: Execution | Literal["auto"] = "auto",
    on_done: OnDone | None = None,
    on_progress: OnProgress | None = None,
    stop: StopRule | None = None,
    paused: Paused | None = None,
    keep_params: bool = False,
) -> list[Outcome]:
    """Train every trial: one trace whatever their values, the same bits whoever their neighbours.

    Trials that differ in `algorithm`, `dialect` or in having `amsgrad` are groups, each with a
    trace of its own. A training that diverges, ends or is stopped frees its lane for the next. With
    `jax.distributed` every process calls this with the same trials, trains its share on its own
    devices and returns all outcomes.

    Args:
        task: a `Task`, or another kind that brings its own programs, such as the bridge's
            `TorchTask` of torch modules.
        trials: what to train; the order does not matter.
        execution: how; "auto" measures, see `choose_execution`.
        on_done: called with each outcome as soon as there is one, in the thread of the call; of
            other hosts' trials at the end.
        on_progress: called with a `Progress` of this host's share after each call of a program and
            each outcome; not again once it has raised.
        stop: ends the worst early.
        paused: where trainings are kept that may go on later.
        keep_params: whether outcomes hold the final parameters.

    Returns:
        Outcomes in the order of `trials`.

    Raises:
        ValueError: the task's parts do not fit, or a configuration has a name or value that it
            cannot have.
        KeyboardInterrupt: when interrupted, after `on_done` was called for what had finished.

    Examples:
        >>> x = np.linspace(-1, 1, 8, dtype=np.float32)
        >>> task = tune.Task(
        ...     "line",
        ...     init=lambda key: {"w": jnp.zeros(())},
        ...     loss=lambda params, batch, key: jnp.mean((params["w"] - 1) ** 2 * batch["x"] ** 2),
        ...     train={"x": x},
        ...     validation={"x": x},
        ...     batch_size=4,
        ...     steps=4,
        ...     evaluations=2,
        ... )
        >>> trials = [tune.Trial({"learning_rate": r}, seed=0, steps=4, of=4) for r in (0.01, 0.1)]
        >>> slow, fast = tune.population(task, trials, execution=tune.Execution(lanes=2))
        >>> fast.validation < slow.validation
        True
    """
    trials = list(trials)
    if not isinstance(task, Task):
        task.check()
    elif "checked" not in task.programs:
        _check_task.shapes(task)
        task.programs["checked"] = True
    for trial in trials:
        _hyper.check(trial.config, task.own)
    if stop is not None and paused is None:
        paused = Paused()
    mine = {i for members in _groups(trials).values() for i in share(members)}
    saved = [paused.get(trials[i]) for i in mine] if paused is not None else []
    made = sum(training.count for training in saved if training is not None)
    meter = Meter(len(mine), sum(trials[i].steps for i in mine) - made, on_progress)
    told: set[int] = set()

    def ended(i: int, outcome: Outcome) -> None:
        told.add(i)
        if on_done is not None:
            on_done(outcome)
        if i in mine:
            meter.done(trials[i].steps - outcome.steps)

    train_all = functools.partial(
        _trained, task, execution=execution, meter=meter, paused=paused, keep_params=keep_params
    )
    if stop is not None:
        assert paused is not None
        return _halved(train_all, trials, stop, paused, ended)
    outcomes = train_all(trials, ended=ended)
    for i, outcome in enumerate(outcomes):
        if i not in told and on_done is not None:
            on_done(outcome)
    return outcomes


def held_out(
    task: Any,
    trials: Sequence[Trial],
    *,
    execution: Execution | Literal["auto"] = "auto",
    paused: Paused | None = None,
    on_progress: OnProgress | None = None,
) -> list[float]:
    """Train every trial and return its mean loss on the task's held-out data; NaN if diverged.

    With `paused`, trainings that are kept there are not repeated.
    """
    if task.held_out is None:
        raise ValueError(f"task {task.name!r} has no held_out data")
    outcomes = population(
        task,
        trials,
        execution=execution,
        paused=paused,
        on_progress=on_progress,
        keep_params=True,
    )
    if not isinstance(task, Task):
        losses = [task.held_out_loss(outcome) for outcome in outcomes]
        return [math.nan if o.diverged else x for o, x in zip(outcomes, losses, strict=True)]
    figures = task.programs.setdefault("held_out", jax.jit(figures_of(task)))
    losses = []
    with _cache.active():
        for outcome in outcomes:
            own = {name: np.float32(outcome.trial.config[name]) for name in task.own}
            loss = float(figures(outcome.params, task.held_out, own)["loss"])
            losses.append(math.nan if outcome.diverged else loss)
    return losses


def _groups(trials: Sequence[Trial]) -> dict[Any, list[int]]:
    """Indices of the trials of each program."""
    groups: dict[Any, list[int]] = collections.defaultdict(list)
    for i, trial in enumerate(trials):
        groups[_hyper.group_of(trial.config)].append(i)
    return groups


def _trained(
    task: Any,
    trials: Sequence[Trial],
    *,
    execution: Execution | Literal["auto"],
    ended: Callable[[int, Outcome], None],
    meter: Meter,
    paused: Paused | None,
    keep_params: bool,
) -> list[Outcome]:
    """Outcomes of all; `ended` is told of those of this host as soon as there is one."""
    outcomes: dict[int, Outcome] = {}
    groups = _groups(trials)

    def run_of(i: int) -> Run:
        return Run(i, trials[i], paused.get(trials[i]) if paused is not None else None)

    def finished(run: Run, lane: Any) -> None:
        outcome = run.outcome(_final(task, lane) if keep_params else None)
        if paused is not None and not run.hopeless:
            kept = Saved(run.count, lane, tuple(run.curve), run.seconds, run.figures)
            paused.put(run.trial, kept)
        outcomes[run.index] = outcome
        meter.seen(outcome.validation)
        ended(run.index, outcome)

    def wanted(run: Run) -> bool:
        return keep_params or (paused is not None and not run.hopeless)

    for group, members in groups.items():
        # Every host asks for every group: measuring is agreed on by all of them.
        asked = [trials[i] for i in members]
        prepared, workers = _prepared(task, group, asked, execution)
        runs = [run_of(i) for i in share(members)]
        train(prepared, runs, workers, wanted=wanted, finished=finished, ticked=meter.tick)
    for theirs in gathered(outcomes):
        outcomes = {**theirs, **outcomes}
    return [outcomes[i] for i in range(len(trials))]


def _prepared(
    task: Any, group: Any, asked: list[Trial], execution: Execution | Literal["auto"]
) -> tuple[Any, int]:
    """A compiled program of a group, and how many of it run beside each other."""
    if not isinstance(task, Task):
        return task.prepare(group, asked, execution)
    how = choose_execution(task, asked) if execution == "auto" else execution
    prepared = program(task, group, how)
    prepared.compile(asked[0])
    return prepared, how.workers


def _final(task: Any, lane: Any) -> Any:
    return lane.params if isinstance(task, Task) else task.final(lane)


def _halved(
    train_all: Callable[..., list[Outcome]],
    trials: list[Trial],
    stop: StopRule,
    paused: Paused,
    ended: Callable[[int, Outcome], None],
) -> list[Outcome]:
    """Rung after rung, each call going on from what the last one paused."""
    final: dict[int, Outcome] = {}
    alive = list(range(len(trials)))

    def finish(i: int, outcome: Outcome) -> None:
        trial = trials[i]
        final[i] = dataclasses.replace(
            outcome, trial=trial, stopped=not outcome.diverged and outcome.steps < trial.steps
        )
        if outcome.diverged or final[i].stopped:
            paused.drop(trial)
        ended(i, final[i])

    for rung in (*stop.rungs, math.inf):
        asked = [dataclasses.replace(trials[i], steps=_least(trials[i], rung)) for i in alive]

        def reached(k: int, outcome: Outcome, alive: Any = alive, rung: float = rung) -> None:
            if outcome.diverged or trials[alive[k]].steps <= rung:
                finish(alive[k], outcome)

        found = dict(zip(alive, train_all(asked, ended=reached), strict=True))
        going = [i for i in alive if trials[i].steps > rung and not found[i].diverged]
        going.sort(key=lambda i: (found[i].validation, i))
        kept = max(1, math.ceil(len(alive) * stop.keep)) if going else 0
        for i in alive:
            if i not in going[:kept] and i not in final:
                finish(i, found[i])
        alive = sorted(going[:kept])
        if not alive:
            break
    return [final[i] for i in range(len(trials))]


def _least(trial: Trial, rung: float) -> int:
    return trial.steps if rung == math.inf else min(trial.steps, int(rung))
