"""Which execution is fastest here: by measuring a few steps, never by belief.

On a CPU, lanes of a dense network gain from being vmapped and convolutions lose by it; programs
beside each other gain always. A vmapped lane too many costs as much as one that is needed. On an
accelerator few small lanes take as long as one, and compiling takes longer than such trainings: it
starts wide.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from . import _remembered
from ._execution import Execution
from ._hosts import gathered
from ._hyper import group_of
from ._program import Program, program
from .trial import Trial

_GAIN = 0.9  # more lanes must take less than this share of the time
_ENOUGH = 0.1  # seconds a measurement takes at least
_SHARE = 0.5  # of the memory that is free


def choose_execution(task: Any, trials: Sequence[Trial], *, total: int | None = None) -> Execution:
    """Measure one chunk of each promising execution and return the fastest.

    Starts with one lane in each worker on a CPU, with 64 lanes on an accelerator, and goes to more
    lanes while that pays; stops where compiling another program would take longer than it could
    save. Results depend on the execution in the last bits, so the first choice for a task and a
    group is kept: in the task, and beside the compiled programs for the next start.

    Args:
        task: to train.
        trials: a typical call of `population`.
        total: trainings that are expected in all; None: these.

    Returns:
        `Execution`; the same on every host.
    """
    if not trials:
        return Execution()
    if hasattr(task, "choose"):
        return task.choose(trials)
    group, total = group_of(trials[0].config), total or len(trials)
    if ("execution", group) not in task.programs:
        known = _remembered.fingerprint(task, group, trials, total)
        found = _remembered.recall(known)
        if found is None:
            found = _measured(task, list(trials), total)
            _remembered.remember(known, found)
        task.programs["execution", group] = gathered(found)[0]
    return task.programs["execution", group]


def _measured(task: Any, trials: list[Trial], total: int) -> Execution:
    group = group_of(trials[0].config)
    steps = total * sum(t.steps for t in trials) / len(trials)
    best, best_time, compiled, too_large = Execution(), math.inf, 0.0, None
    families, narrower = _families(-(-len(trials) // jax.process_count()))
    for family in families + narrower:
        if best_time < math.inf and family in narrower:
            break
        for execution in family:
            if best_time < math.inf:
                # What is left to gain, against another compilation.
                if best_time * steps < compiled:
                    return best
                room = program(task, group, best).bytes_per_lane
                if room * execution.lanes * execution.workers > _SHARE * _free(execution):
                    break
            made = program(task, group, execution)
            try:
                made.compile(trials[0])
                one = _time(made, execution, trials)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                too_large = error
                break
            compiled = made.compile_seconds
            # Idle lanes are computed too.
            rounds = -(-len(trials) // execution.at_once)
            taken = one * rounds * execution.at_once / len(trials)
            if taken > best_time * _GAIN:
                break
            best, best_time = execution, taken
    if best_time == math.inf and too_large is not None:
        raise too_large
    return best


def _families(n: int) -> tuple[list[list[Execution]], list[list[Execution]]]:
    """Executions to try, no wider than `n` trials can fill; and others where none of them fits.

    In a family, each has more lanes than the one before.
    """
    devices, cores = min(jax.local_device_count(), n), min(_cores(), n)
    if jax.default_backend() == "cpu":
        shapes = [(1, cores), (devices, 1)] if devices > 1 else [(1, cores)]
        return [
            [Execution(w, d, c) for w in (1, 4, 16) if w == 1 or w * d * c <= n] for d, c in shapes
        ], []
    most = n // devices
    widths = sorted({min(w, most) for w in (64, 256, 1024)})
    narrower = [[Execution(w, devices)] for w in (16, 4, 1) if w < widths[0]]
    return [[Execution(w, devices) for w in widths]], narrower


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _time(made: Program, execution: Execution, trials: list[Trial]) -> float:
    """Seconds of a step of a lane, with as many programs beside each other as there will be."""
    some = [trials[i % len(trials)] for i in range(made.width)]
    h = made.hyper(some)
    lane, _ = made.start(some[0])
    windows = made.batches.window(some[0].seed, 0, made.length, made.length)
    windows = np.broadcast_to(windows, (made.width, *windows.shape))

    def work(n: int) -> None:
        lanes = made.together([lane] * made.width)
        jax.block_until_ready(made.advance(lanes, h, windows, n, False))

    def together(n: int) -> float:
        threads = [threading.Thread(target=work, args=(n,)) for _ in range(execution.workers)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    n, base = 1, min(together(0) for _ in range(3))
    while True:
        taken = together(n) - base
        if taken > _ENOUGH or n >= made.length:
            break
        n = min(made.length, n * 4)
    taken = min([taken, *(together(n) - base for _ in range(2))])
    return max(taken, 1e-9) / (n * execution.at_once)


def _free(execution: Execution) -> float:
    """Bytes that are free, for all devices of an execution together."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) * 1.0
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / execution.devices
    except (ValueError, OSError, AttributeError):
        return math.inf
