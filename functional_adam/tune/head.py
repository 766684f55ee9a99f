"""The head of a log: what is studied, so that another study does not go on in its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ._json_space import space_of, space_record
from .budget import Plan
from .space import Space

VERSION = 1
FIXED = ("version", "task", "space", "strategy", "seed")
"""What may not change when a study goes on; its budget may grow."""


def head(task: Any, space: Space, strategy: str, plan: Plan) -> dict[str, Any]:
    """The record that begins a study."""
    from .. import __version__

    return dict(
        kind="study",
        version=VERSION,
        task=dict(
            name=task.name,
            steps=int(task.steps),
            batch_size=int(task.batch_size),
            evaluations=int(task.evaluations),
            dtype=task.dtype,
            data=fingerprint(task),
            **({"before": True} if getattr(task, "before", None) is not None else {}),
        ),
        space=space_record(space),
        strategy=strategy,
        seed=plan.seed,
        runs=plan.runs,
        half=plan.half,
        held_out=task.held_out is not None,
        packages=dict(functional_adam=__version__, jax=jax.__version__),
    )


def last_head(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest head of a log, or None."""
    heads = [record for record in records if record.get("kind") == "study"]
    return heads[-1] if heads else None


def end_of(records: list[dict[str, Any]], plan: Plan) -> dict[str, Any] | None:
    """The record that ends a study of this plan, or None."""
    ends = [r for r in records if r.get("kind") == "end" and r.get("runs") == plan.runs]
    return ends[-1] if ends else None


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], where: Any) -> None:
    """Raise ValueError, naming what differs, where a log is of another study."""
    for name in FIXED:
        if old[name] == new[name]:
            continue
        a, b = old[name], new[name]
        if name == "task":
            key = next(key for key in (*b, *a) if a.get(key) != b.get(key))
            name, a, b = f"task (the task's {key})", a.get(key), b.get(key)
        elif name == "space":
            a, b = _in_words(a), _in_words(b)
        raise ValueError(
            f"{where} holds a study with another {name}: {_short(a)} there, {_short(b)} now; "
            "choose another folder"
        )


def name_of(record: Mapping[str, Any]) -> str:
    """What a storage calls the study of this head: another for whatever `check_same` refuses."""
    fixed = json.dumps([record[name] for name in FIXED], sort_keys=True)
    return f"functional_adam {record['task']['name']} {hashlib.sha256(fixed.encode()).hexdigest()}"


def plan_of(record: Mapping[str, Any]) -> Plan:
    """How the study of this head divides its budget."""
    return Plan(record["runs"], record["task"]["steps"], record["seed"], record["half"])


def space_in(record: Mapping[str, Any]) -> Space:
    """The space of this head."""
    return space_of(record["space"])


def fingerprint(task: Any) -> str:
    """Sixteen digits that differ where the data differ."""
    digest = hashlib.sha256()
    for part in (task.train, task.validation, task.held_out):
        leaves, structure = jax.tree.flatten(part)
        digest.update(str(structure).encode())
        for leaf in leaves:
            array = _as_numpy(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _as_numpy(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "detach"):  # a torch tensor, of any device and dtype
        leaf = leaf.detach().cpu()
        return np.asarray(leaf.float() if str(leaf.dtype) == "torch.bfloat16" else leaf)
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _in_words(space: Mapping[str, Any]) -> str:
    """Ranges, choices and fixed values."""
    told = [
        f"{d['name']} of {d['choices']}"
        if d["scale"] == "choice"
        else f"{d['name']} {d['low']:g} to {d['high']:g}"
        for d in space["dimensions"]
    ]
    return ", ".join([*told, *(f"{name} {value}" for name, value in space["fixed"].items())])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 400 else text[:400] + "..."
