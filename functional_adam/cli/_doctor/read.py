"""A checkpoint as it is, wrong or not: what `convert` refuses is what is looked for here."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from functional_adam import ALGORITHMS
from functional_adam.convert import moments as adam_moments
from functional_adam.convert import names
from functional_adam.convert._masters import opened
from functional_adam.diagnostics._find import states_of

from .._convert.choices import at_key


@dataclasses.dataclass
class Patient:
    """What a file holds.

    Attributes:
        kind: whose file it is, in words.
        groups: options of each group, by torch's names; none where the file has none.
        entries: parameter -> field -> array: `step`, the rule's moments and scalars.
        group: parameter -> index of its group.
        values: parameter -> array.
        random: parameters whose moments are rounded at random.
        strays: entries that belong to no parameter of any group.
        named: whether parameters are known by the names that `values` has.
    """

    kind: str
    groups: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    entries: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    group: dict[str, int] = dataclasses.field(default_factory=dict)
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    random: set[str] = dataclasses.field(default_factory=set)
    strays: list[str] = dataclasses.field(default_factory=list)
    named: bool = True


def read(path: Path, form: str, model_key: str | None, optimizer_key: str | None) -> Patient:
    """Read a file of a format.

    Args:
        path: of the file or folder.
        form: torch, safetensors or orbax.
        model_key: where the parameters lie; None: the usual names.
        optimizer_key: where the optimizer's state lies.

    Raises:
        ValueError: it cannot be read, or holds no optimizer of Adam's family.
    """
    if form == "safetensors":
        return _safetensors(path)
    return {"torch": _torch, "orbax": _orbax}[form](path, model_key, optimizer_key)


def _torch(path: Path, model_key: str | None, optimizer_key: str | None) -> Patient:
    from functional_adam._int8 import Int8
    from functional_adam_torch.moving._tensors import to_array

    from .._convert import torch_file as file

    held = file._load(path)
    optimizer, key = at_key(held, optimizer_key, file.OPTIMIZER, file._is_optimizer, "optimizer")
    model = None
    if key:
        model, _ = at_key(held, model_key, file.MODEL, file._is_model, "model", optional=True)
    found = Patient("torch", list(optimizer["param_groups"]))
    _refuse_others(path, found.groups)
    tensors, _ = file._tensors(model or {})
    found.values = {name: to_array(x, name) for name, x in tensors.items()}
    found.strays = file.strays(optimizer)
    rows = ALGORITHMS.values()
    fields = {theirs: ours for row in rows for ours, theirs in row.torch_state.items()}
    given = collections.Counter(x for own in found.groups for x in own.get("param_names") or ())
    found.named = {*given.values()} == {1}
    for index, group in enumerate(found.groups):
        ids = group["params"]
        own_names = group.get("param_names") or [f"parameter {i}" for i in ids]
        for i, own_name in zip(ids, own_names, strict=True):
            # Two networks may have a parameter of one name each.
            name = f"{own_name} (parameter {i})" if given[own_name] > 1 else own_name
            entry: dict[str, Any] = {
                k: _array(x, k, to_array) for k, x in optimizer["state"].get(i, {}).items()
            }
            for code in [str(k) for k in entry if k.endswith("_code")]:
                stem = code.removesuffix("_code")
                if f"{stem}_exponent" in entry:
                    both = Int8(entry.pop(code), entry.pop(f"{stem}_exponent"))
                    field = fields.get(stem, stem)
                    entry[stem] = np.asarray(adam_moments.decoded(both, field))
                    found.random.add(name)
            if group.get("moments") in ("bfloat16", "int8"):
                found.random.add(name)
            found.entries[name] = {fields.get(k, k): x for k, x in entry.items()}
            found.group[name] = index
    options = found.groups[0] if found.groups else {}
    if "correct_bias" in options:
        found.kind = "Hugging Face's AdamW (transformers 4): eps before the correction, dialect HF"
    elif "e" in options or {"b1", "b2", "schedule"} <= options.keys():
        found.kind = "BertAdam: no bias correction, dialect BERT"
    elif "bias_correction" in options:
        found.kind = "apex or DeepSpeed, dialect APEX or DEEPSPEED"
    elif "moments" in options or "master_bits" in options:
        found.kind = "functional_adam_torch, with moments or weights in few bits"
    elif "decoupled_weight_decay" in options or _is_adamax(optimizer):
        found.kind = "torch.optim or functional_adam_torch"
    elif "betas" in options:
        found.kind = "an older torch, or another library of torch: its dialect is not known"
    return found


def _refuse_others(path: Path, groups: list[Mapping[str, Any]]) -> None:
    """Every Adam has two averages; BertAdam calls their rates b1 and b2, or has only e."""
    for index, group in enumerate(groups):
        if not group.keys() & {"betas", "b1", "b2", "e"}:
            known = ", ".join(sorted(group.keys() - {"params", "param_names"}))
            raise ValueError(
                f"{path}: group {index} is of no optimizer of Adam's family: it has {known}"
            )


def _is_adamax(optimizer: Mapping[str, Any]) -> bool:
    return any("exp_inf" in entry for entry in optimizer["state"].values())


def _array(x: Any, name: str, to_array: Any) -> Any:
    return to_array(x, name) if hasattr(x, "detach") else np.asarray(x)


def _safetensors(path: Path) -> Patient:
    from .._convert import safetensors_file

    return _of_record(safetensors_file.read(path), "functional-adam convert (safetensors)")


def _of_record(record: Any, kind: str) -> Patient:
    found = Patient(kind, [group.options for group in record.groups], values=dict(record.values))
    for name, leaf in record.leaves.items():
        arrays = {k: np.asarray(adam_moments.decoded(x, k)) for k, x in leaf.moments.items()}
        found.entries[name] = {"step": leaf.step, **arrays, **leaf.scalars} if arrays else {}
        found.group[name] = leaf.group
        options = record.groups[leaf.group].options
        if options.get("moments") in ("bfloat16", "int8"):
            found.random.add(name)
    return found


def _orbax(path: Path, model_key: str | None, optimizer_key: str | None) -> Patient:
    from .._convert import metadata
    from .._convert import orbax_directory as file

    held, custom = file._restore(path)
    state, key = at_key(held, optimizer_key, file.STATE, lambda x: True, "optimizer")
    params = None
    if key:
        params, _ = at_key(held, model_key, file.PARAMS, lambda x: True, "model", optional=True)
    saved = custom.get(file.KEY)
    found = Patient("optax or functional_adam (orbax)")
    if saved is not None:
        found.kind = "functional-adam convert (orbax)"
        found.groups = [group.options for group in metadata.groups_of(saved)]
        found.group = {n: i for i, own in enumerate(saved["groups"]) for n in own["names"]}
    else:
        _injected(found, state)
    found.values = {} if params is None else names.named_leaves(params, "params")
    nodes = adam_moments.adam_states(opened(state)[1])
    seeded = any("seed" in adam_moments.fields(node) for node in nodes)
    for name, own in adam_moments.read(state, stored=True).items():
        arrays = {k: np.asarray(adam_moments.decoded(x, k)) for k, x in own.moments.items()}
        found.entries[name] = {"step": np.asarray(own.count), **arrays, **own.scalars}
        if seeded:
            found.random.add(name)
    return found


def _injected(found: Patient, state: Any) -> None:
    """Hyperparameters that optax keeps beside a state, by torch's names: a group each."""
    for node, kept in states_of(state):
        options = {"lr": kept["learning_rate"]} if "learning_rate" in kept else {}
        options |= {"eps": kept["eps"]} if "eps" in kept else {}
        options |= {"betas": (kept["b1"], kept["b2"])} if {"b1", "b2"} <= kept.keys() else {}
        if options:
            own = adam_moments.read(node, stored=True)
            found.group |= dict.fromkeys(own, len(found.groups))
            found.groups.append(options)
