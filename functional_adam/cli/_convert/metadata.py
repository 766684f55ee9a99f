"""What a `Record` is besides its arrays, as JSON: the same in safetensors and orbax files.

    {"version": 1,
     "groups": [{"algorithm": "adamw", "options": {"lr": 0.001, ...}, "names": ["a.weight", ...]}],
     "parameters": ["a.weight", ...],            names of the values, in torch's order
     "layouts": {"a.weight": [1, 0]},            permutations undergone since torch
     "aliases": {"head.weight": "emb.weight"},   further names of shared parameters
     "named": false,                             whether torch's groups name their parameters
     "step_dtype": "float32"}

Options are torch's, by torch's names. A tuple is ``{"tuple": [...]}``, a tensor
``{"tensor": value, "dtype": "float32"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from functional_adam_torch.moving.record import Group, Record

VERSION = 1


def as_json(record: Record) -> dict[str, Any]:
    """Everything but the arrays."""
    members: list[list[str]] = [[] for _ in record.groups]
    for name, leaf in record.leaves.items():
        members[leaf.group].append(name)
    steps = {str(leaf.step.dtype) for leaf in record.leaves.values() if leaf.moments}
    return {
        "version": VERSION,
        "groups": [
            {
                "algorithm": group.algorithm,
                "options": {key: _encode(key, x) for key, x in group.options.items()},
                "names": names,
            }
            for group, names in zip(record.groups, members, strict=True)
        ],
        "parameters": list(record.values),
        "layouts": {name: list(axes) for name, axes in record.layouts.items()},
        "aliases": dict(record.aliases),
        "named": record.named,
        "step_dtype": steps.pop() if len(steps) == 1 else "float32",
    }


def groups_of(found: Mapping[str, Any]) -> tuple[Group, ...]:
    """Groups from JSON.

    Raises:
        ValueError: a newer version wrote it.
    """
    if found.get("version") != VERSION:
        raise ValueError(f"metadata has version {found.get('version')}, not {VERSION}")
    return tuple(
        Group(own["algorithm"], {key: _decode(x) for key, x in own["options"].items()})
        for own in found["groups"]
    )


def layouts_of(found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Permutations from JSON."""
    return {name: tuple(axes) for name, axes in found["layouts"].items()}


def aliases_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Further names of shared parameters from JSON; older files have none."""
    return dict(found.get("aliases", {}))


def _encode(key: str, value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, tuple):
        return {"tuple": [_encode(key, x) for x in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"option {key} of a group is {value!r}: only numbers and text can be kept")


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_decode(x) for x in value["tuple"])
    return torch.tensor(value["tensor"], dtype=getattr(torch, value["dtype"]))
