"""One of two processes of jax.distributed, four virtual devices each: trains its share.

``python tune_worker.py RANK PORT FOLDER`` reports each outcome's learning rate and curve.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
from tune_tasks import tiny, trials

from functional_adam.tune import Execution, population

PROCESSES, DEVICES = 2, 4

if __name__ == "__main__":
    rank, port, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=PROCESSES, process_id=rank)
    seen, told = [], []
    outcomes = population(
        tiny(),
        trials(6),
        execution=Execution(lanes=1, devices=DEVICES),
        on_done=seen.append,
        on_progress=told.append,
    )
    assert len(seen) == len(outcomes) == 6
    assert told[-1].trials == 3
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 4, 8)
    report = [[o.trial.config["learning_rate"], o.curve] for o in outcomes]
    (folder / f"report-{rank}.json").write_text(json.dumps(report))
