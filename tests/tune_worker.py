"""One of two processes of jax.distributed, four virtual devices each: trains its share.

``python tune_worker.py RANK PORT`` prints each outcome's learning rate, validation and curve.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
from tune_tasks import tiny, trials

from functional_adam.tune import Execution, population

if __name__ == "__main__":
    rank, port = int(sys.argv[1]), sys.argv[2]
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)
    seen, told = [], []
    outcomes = population(
        tiny(),
        trials(6),
        execution=Execution(lanes=1, devices=4),
        on_done=seen.append,
        on_progress=told.append,
    )
    assert len(seen) == len(outcomes) == 6
    assert told[-1].trials == 3
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 4, 8)
    print(json.dumps([[o.trial.config["learning_rate"], o.curve] for o in outcomes]))
