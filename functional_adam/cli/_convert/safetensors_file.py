"""safetensors: flat names and, under the metadata key ``functional_adam``, the JSON of `metadata`.

    params/NAME                  the parameter
    state/NAME/step              updates made so far, as torch keeps it
    state/NAME/mu                a moment by functional_adam's name: mu, nu, nu_max
    state/NAME/mu_code           8-bit moments: codes, and
    state/NAME/mu_exponent       exponents of their blocks
    state/NAME/low               lower bits of the float32 weight
    state/NAME/mu_product        NAdam's product

A parameter that never had a gradient has no ``state``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from functional_adam import ALGORITHMS
from functional_adam._int8 import Int8
from functional_adam.convert import names as tree_names
from functional_adam_torch.moving._tensors import to_array, to_tensor
from functional_adam_torch.moving.record import Leaf, Record, initial

from . import metadata
from .atomic import writing

KEY = "functional_adam"


def read(path: Path) -> Record:
    """Read a file that `write` wrote.

    Raises:
        ValueError: it is no safetensors file, has other contents, or tensors are missing, left
            over or of another shape: all are named.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    if found is None:
        raise ValueError(
            f"{path} holds no optimizer: there is no {KEY!r} in its metadata, only tensors"
        )
    arrays = {name: to_array(tensor, name) for name, tensor in tensors.items()}
    groups = metadata.groups_of(found)
    wanted = _wanted(found, arrays)
    tree_names.refuse(
        f"{path} does not hold what its metadata says",
        tree_names.differences(wanted, tree_names.shapes(arrays)),
    )
    leaves = {
        name: _leaf(name, index, group.algorithm, arrays)
        for index, (group, own) in enumerate(zip(groups, found["groups"], strict=True))
        for name in own["names"]
    }
    values = {name: arrays[f"params/{name}"] for name in found["parameters"]}
    layouts, aliases = metadata.layouts_of(found), metadata.aliases_of(found)
    return Record(groups, leaves, values, layouts, found["named"], aliases)


def write(record: Record, path: Path) -> None:
    """Write a record.

    Raises:
        ValueError: safetensors does not have one of the dtypes.
    """
    from safetensors.torch import save_file

    arrays: dict[str, Any] = {f"params/{name}": x for name, x in record.values.items()}
    for name, leaf in record.leaves.items():
        if leaf.moments:
            own = {"step": leaf.step, **leaf.scalars}
            for field, x in leaf.moments.items():
                parts = x._asdict() if isinstance(x, Int8) else {}
                own |= {f"{field}_{part}": array for part, array in parts.items()} or {field: x}
            own |= {} if leaf.low is None else {"low": leaf.low}
            arrays |= {f"state/{name}/{field}": x for field, x in own.items()}
    tree_names.refuse(
        "safetensors has no complex128",
        [name for name, x in arrays.items() if x.dtype == np.complex128],
    )
    tensors: dict[str, torch.Tensor] = {name: to_tensor(x) for name, x in arrays.items()}
    about = {KEY: json.dumps(metadata.as_json(record))}
    with writing(path):
        save_file(tensors, path, metadata=about)


def _wanted(found: Any, arrays: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes that the metadata asks for; a parameter may have no state, but not half."""
    wanted = {}
    for name in found["parameters"]:
        wanted[f"params/{name}"] = np.shape(arrays.get(f"params/{name}", ()))
    for group in found["groups"]:
        rule = ALGORITHMS[group["algorithm"]].rule
        for name in group["names"]:
            if not any(key.startswith(f"state/{name}/") for key in arrays):
                continue
            own = f"state/{name}/"
            first = np.shape(arrays.get(f"{own}mu", arrays.get(f"{own}mu_code", ())))
            shape = np.shape(arrays.get(f"params/{name}", np.zeros(first)))
            for field in rule.moments:
                if f"{own}{field}_code" not in arrays:
                    wanted[own + field] = shape
                    continue
                blocks = np.shape(arrays.get(f"{own}{field}_exponent", ()))
                wanted[f"{own}{field}_code"] = shape
                wanted[f"{own}{field}_exponent"] = (*shape[:-1], *blocks[-1:])
            if f"{own}low" in arrays:
                wanted[f"{own}low"] = shape
            wanted |= {f"state/{name}/{field}": () for field in ("step", *dict(rule.scalars))}
    return wanted


def _leaf(name: str, group: int, algorithm: str, arrays: dict[str, Any]) -> Leaf:
    rule = ALGORITHMS[algorithm].rule
    if f"state/{name}/step" not in arrays:
        _, scalars = initial(ALGORITHMS[algorithm], np.zeros(()))
        return Leaf(group, np.asarray(0, np.float32), {}, scalars)

    def of(fields: Any) -> dict[str, Any]:
        return {field: arrays[f"state/{name}/{field}"] for field in fields}

    moments = {}
    for field in rule.moments:
        if f"state/{name}/{field}_code" in arrays:
            moments[field] = Int8(*of([f"{field}_{part}" for part in Int8._fields]).values())
        else:
            moments |= of([field])
    low = arrays.get(f"state/{name}/low")
    return Leaf(group, arrays[f"state/{name}/step"], moments, of(dict(rule.scalars)), low)
