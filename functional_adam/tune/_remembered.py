"""Measured executions, kept beside the compiled programs: a study run again chooses the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import jax

from ._cache import directory
from ._execution import Execution
from .trial import Trial

_FILE = "execution.json"


def fingerprint(task: Any, group: Any, trials: Sequence[Trial], total: int) -> str:
    """Of everything but time that a choice depends on."""

    def shapes(tree):
        return [(str(x.shape), str(x.dtype)) for x in jax.tree.leaves(tree)]

    params = jax.eval_shape(task.init, jax.random.key(0))
    devices = jax.local_devices()
    parts = [
        *(task.name, task.dtype, task.batch_size, task.steps, task.evaluations),
        *(shapes(params), shapes(task.train), shapes(task.validation)),
        *(dataclasses.astuple(group), len(trials), total, max(t.steps for t in trials)),
        *(jax.__version__, devices[0].device_kind, len(devices), os.cpu_count()),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def recall(key: str) -> Execution | None:
    """The execution that was measured best before, if any."""
    found = _read().get(key)
    try:
        return Execution(**found) if found else None
    except (TypeError, ValueError):
        return None


def remember(key: str, execution: Execution) -> None:
    """Keep a choice; a directory that cannot be written is no error."""
    where = directory()
    if where is None:
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**_read(), key: dataclasses.asdict(execution)}, indent=1)
        part = where / f"{_FILE}.{os.getpid()}"
        part.write_text(text)
        part.replace(where / _FILE)
    except OSError:
        return


def _read() -> dict[str, Any]:
    where = directory()
    try:
        found = json.loads((where / _FILE).read_text()) if where else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
