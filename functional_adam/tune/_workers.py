"""Pools in threads, and one thread that listens: outcomes arrive where the call was made."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ._pool import Hooks, Pool, Run
from ._program import Program

Finished = Callable[[Run, Any], None]
Ticked = Callable[[int, int], None]


def train(
    program: Program,
    runs: Sequence[Run],
    workers: int,
    *,
    wanted: Callable[[Run], bool],
    finished: Finished,
    ticked: Ticked,
) -> None:
    """Train every run; the callbacks are called in this thread.

    Interrupted, or where a callback or a run raises, the pools end after their present call of the
    program, and what has finished by then is still delivered.

    Args:
        program: compiled.
        runs: of its group.
        workers: pools beside each other.
        wanted: whether a run's lane is asked for at its end.
        finished: (run, lane as NumPy arrays or None).
        ticked: (steps made since the last time, runs under way in all pools).
    """
    waiting, messages = collections.deque(runs), queue.SimpleQueue()
    stop = threading.Event()

    def following() -> Run | None:
        try:
            return waiting.popleft()
        except IndexError:
            return None

    def work(number: int) -> None:
        def done(run, lane):
            messages.put(("done", run, lane() if wanted(run) else None))

        def tick(steps, active):
            messages.put(("tick", number, (steps, active)))

        try:
            Pool(program, Hooks(following, done, tick, stop)).run()
            messages.put(("end", number, None))
        except BaseException as error:
            messages.put(("end", number, error))

    workers = min(workers, -(-len(runs) // program.width))
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(workers)]
    under_way = [0] * workers

    def deliver(kind, who, what):
        if kind == "done":
            finished(who, what)
        elif kind == "tick":
            under_way[who] = what[1]
            ticked(what[0], sum(under_way))
        elif what is not None:
            raise what

    for thread in threads:
        thread.start()
    ended = 0
    try:
        while ended < workers:
            message = messages.get()
            ended += message[0] == "end"
            deliver(*message)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        late = []
        while not messages.empty():
            kind, *what = messages.get()
            if kind == "done":
                late.append(what)
        with contextlib.ExitStack() as deliveries:  # all of them, if some raise
            for what in reversed(late):
                deliveries.callback(finished, *what)
