"""Kill studies with SIGKILL at random moments, go on, and compare with one that was left alone.

    PYTHONPATH=.:bridges:tests python tests/tune_kills.py --kills 20 --folder /tmp/kills
    PYTHONPATH=.:bridges:tests python tests/tune_kills.py --workers 3 --folder /tmp/kills3

Prints one JSON object. Studies run in forks of this process, which never starts JAX.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from tune_synthetic import SPACE, Surface, synthetic_task

from functional_adam.tune.jobs import key_of
from functional_adam.tune.study import Study
from functional_adam.tune.tuning import tune


def study(folder, started, *, budget, seconds, storage=None, workers=1):
    surface = Surface(seconds=seconds, started=started)
    return tune(
        synthetic_task(), budget=budget, space=SPACE, out=folder, seed=3, engine=surface.engine,
        storage=storage, workers=workers,
    )  # fmt: skip


def fork(*arguments, **options):
    """Run a study in a child; returns its process number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; nothing of it runs here
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        study(*arguments, **options)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def keys(folder):
    path = folder / "study.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(key_of(json.loads(line)))
        except ValueError:
            found.append("cut off")
    return [key for key in found if key]


def begun(path):
    return path.read_text().splitlines() if path.exists() else []


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def one_process(folder, options):
    """Kill, check, go on; returns (kills, best)."""
    rng, before, kills = random.Random(options.seed), [], 0
    out, started = folder / "killed", folder / "started"
    while kills < options.kills:
        marker = len(begun(started))
        pid = fork(out, started, budget=options.budget, seconds=options.seconds)
        time.sleep(rng.uniform(0.0, options.longest))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            check(os.WEXITSTATUS(status) == 0, "the study failed")
            break
        kills += 1
        now = keys(out)
        check(now[: len(before)] == before, "a finished training was lost")
        again = set(before) & {as_key(line) for line in begun(started)[marker:]}
        check(not again, f"trained again: {again}")
        before = now
    pid = fork(out, started, budget=options.budget, seconds=0.0)
    check(os.waitpid(pid, 0)[1] == 0, "the resumed study failed")
    return kills, out


def as_key(line):
    kind, config, seed, steps, of = json.loads(line)
    return key_of(dict(kind=kind, config=config, seed=seed, steps=steps, of=of))


def several_processes(folder, options):
    """Workers on one study; one of them is killed on the way."""
    rng = random.Random(options.seed)
    out, started = folder / "shared", folder / "started"
    out.mkdir()
    storage = options.storage or str(out / "journal.log")
    pids = [
        fork(
            out, started, budget=options.budget, seconds=options.seconds, storage=storage,
            workers=options.workers,
        )
        for _ in range(options.workers)
    ]  # fmt: skip
    time.sleep(rng.uniform(0.3, 0.8) * options.longest)
    victim = pids.pop(rng.randrange(len(pids)))
    os.kill(victim, signal.SIGKILL)
    _, status = os.waitpid(victim, 0)
    at_death = keys(out)
    for pid in pids:
        check(os.waitpid(pid, 0)[1] == 0, "a worker failed")
    check(set(at_death) <= set(keys(out)), "a finished training was lost")
    # What the victim had begun and not finished is trained again, nothing else.
    lines = [as_key(line) for line in begun(started)]
    again = {key for key in lines if lines.count(key) > 1}
    check(not again & set(at_death), "trained again though it was finished")
    check(len(lines) - len(set(lines)) <= 1, f"{len(lines) - len(set(lines))} trained again")
    return int(os.WIFSIGNALED(status)), out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--budget", type=float, default=16)
    parser.add_argument("--seconds", type=float, default=0.06, help="of a training")
    parser.add_argument("--longest", type=float, default=0.15, help="until a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    run = one_process if options.workers == 1 else several_processes
    kills, out = run(options.folder, options)
    found = keys(out)
    cut = found.count("cut off")
    found = [key for key in found if key != "cut off"]
    check(len(found) == len(set(found)), "a training is in the log twice")
    alone = options.folder / "alone"
    pid = fork(alone, None, budget=options.budget, seconds=0.0)
    check(os.waitpid(pid, 0)[1] == 0, "the study that was left alone failed")
    check(set(keys(alone)) == set(found), "other trainings than without kills")
    best, other = Study.load(out).best, Study.load(alone).best
    result = dict(kills=kills, trainings=len(found), cut_off=cut, same=best == other)
    print(json.dumps(dict(**result, config=dict(best.config))))


if __name__ == "__main__":
    main()
