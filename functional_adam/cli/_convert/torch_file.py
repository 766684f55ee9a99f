"""A torch checkpoint: ``{"model": state_dict, "optimizer": state_dict}``, or the latter alone.

Read with ``weights_only=True``: nothing in the file is executed.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from functional_adam import ALGORITHMS
from functional_adam.convert import names as tree_names
from functional_adam.convert.moments import misshapen
from functional_adam_torch.moving._parameters import options_of
from functional_adam_torch.moving._tensors import to_array, to_tensor
from functional_adam_torch.moving.record import Group, Record, algorithm_of, in_torch_layout
from functional_adam_torch.moving.state_entries import read_entry, write_entry

from .atomic import writing
from .choices import Choices, at_key, placed

MODEL, OPTIMIZER = (
    ("model", "model_state_dict", "state_dict"),
    ("optimizer", "optimizer_state_dict", "optimizer_states"),
)


def read(path: Path, choices: Choices) -> tuple[Record, list[str]]:
    """Read a checkpoint, and the keys of it that are not carried over.

    Raises:
        ValueError: it holds other things than tensors, no optimizer, or what does not fit.
    """
    held = _load(path)
    optimizer, key = at_key(held, choices.optimizer_key, OPTIMIZER, _is_optimizer, "optimizer")
    model, model_key = (None, None)
    if key:
        model, model_key = at_key(held, choices.model_key, MODEL, _is_model, "model", optional=True)
    left_out = [str(x) for x in held if x not in (key, model_key)] if key else []
    tensors, others = _tensors(model or {})
    left_out += [f"{model_key}.{name}" for name in others]
    own_names = {x for group in optimizer["param_groups"] for x in group.get("param_names", ())}
    if isinstance(choices.names, list):
        own_names |= {*choices.names}
    aliases = _aliases(tensors, own_names)
    values = {name: to_array(x, name) for name, x in tensors.items() if name not in aliases}
    members = [list(group["params"]) for group in optimizer["param_groups"]]
    tree_names.refuse(
        f"state of {path} has entries that belong to no parameter of its groups",
        strays(optimizer),
    )
    named = all("param_names" in group for group in optimizer["param_groups"])
    name_of = _names(optimizer["param_groups"], members, values, choices)
    groups, leaves = [], {}
    for index, (group, ids) in enumerate(zip(optimizer["param_groups"], members, strict=True)):
        options = options_of(group)
        entries = [optimizer["state"].get(i, {}) for i in ids]
        algorithm = _algorithm(options, entries, choices.algorithm)
        groups.append(Group(algorithm, options))
        _check_numbers(groups[-1], index)
        for i, entry in zip(ids, entries, strict=True):
            leaves[name_of[i]] = read_entry(entry, ALGORITHMS[algorithm], index, name_of[i])
    record = Record(tuple(groups), leaves, values, named=named, aliases=aliases)
    _check_shapes(path, record)
    return record, left_out


def write(record: Record, path: Path, choices: Choices) -> None:
    """Write a checkpoint; without values, the optimizer's state_dict alone."""
    record = in_torch_layout(record)
    groups: list[dict[str, Any]] = []
    state: dict[int, Any] = {}
    position = {name: i for i, name in enumerate(record.leaves)}
    for index, group in enumerate(record.groups):
        own = [name for name, leaf in record.leaves.items() if leaf.group == index]
        named = {"param_names": own} if record.named else {}
        groups.append(named | dict(group.options) | {"params": [position[name] for name in own]})
    for name, leaf in record.leaves.items():
        if entry := write_entry(leaf, record.groups[leaf.group]):
            state[position[name]] = entry
    optimizer = {"state": state, "param_groups": groups}
    if not record.values:
        with writing(path):
            torch.save(optimizer, path)
        return
    model = {name: to_tensor(x) for name, x in record.values.items()}
    model |= {name: model[first] for name, first in record.aliases.items()}
    keys = choices.model_key or MODEL[0], choices.optimizer_key or OPTIMIZER[0]
    held = placed(dict(zip(keys, (model, optimizer), strict=True)))
    with writing(path):
        torch.save(held, path)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error: ")[2].partition("\n")[0]
        raise ValueError(
            f"{path} is refused: it is not a torch checkpoint of tensors only, and reading "
            f"anything else could run code ({reason or 'not a checkpoint'}). Save state_dicts: "
            "torch.save({'model': model.state_dict(), 'optimizer': optimizer.state_dict()}, path)"
        ) from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file is whatever it is taken for
        raise ValueError(
            f"{path} is not a torch checkpoint: {str(error).partition('.')[0]} "
            f"({type(error).__name__})"
        ) from None
    if not isinstance(held, Mapping):
        raise ValueError(f"{path} holds a {type(held).__name__}, not a dict of state_dicts")
    return held


def _is_optimizer(x: Any) -> bool:
    if not isinstance(x, Mapping) or not {"state", "param_groups"} <= x.keys():
        return False
    groups = x["param_groups"]
    return isinstance(x["state"], Mapping) and isinstance(groups, list | tuple) and all(
        isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple)
        for group in groups
    )  # fmt: skip


def _is_model(x: Any) -> bool:
    return isinstance(x, Mapping) and any(isinstance(v, torch.Tensor) for v in x.values())


def _tensors(model: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Tensors by name, and the names of what a module has put beside them (`get_extra_state`)."""
    tensors = {name: x for name, x in model.items() if isinstance(x, torch.Tensor)}
    return tensors, [name for name in model if name not in tensors]


def strays(optimizer: Mapping[str, Any]) -> list[str]:
    """Entries of the state that belong to no parameter of any group."""
    members = {i for group in optimizer["param_groups"] for i in group["params"]}
    return [repr(i) for i in optimizer["state"] if i not in members]


def _aliases(tensors: Mapping[str, torch.Tensor], own: set[str]) -> dict[str, str]:
    """Further names of shared tensors -> the name that the optimizer has, else the first one."""
    shared: dict[Any, list[str]] = {}
    for name, x in tensors.items():
        if x.numel():
            place = x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride(), x.dtype
            shared.setdefault(place, []).append(name)
    found = {}
    for names in shared.values():
        first = next((name for name in names if name in own), names[0])
        found |= {name: first for name in names if name != first}
    return found


def _algorithm(
    options: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], asked: str | None
) -> str:
    """What the file says; what was asked for where it does not."""
    try:
        return _infer(options, entries)
    except ValueError:
        if asked is None:
            raise
        return asked


def _check_numbers(group: Group, index: int) -> None:
    try:
        _ = group.hyperparameters
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"options of group {index} are damaged: {error}") from None


def _infer(options: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    """Which algorithm a group belongs to, by the keys that only one class has."""
    keys = {key for entry in entries for key in entry} - {"step"}
    only = [row for row in ALGORITHMS.values() if {*row.torch_state.values()} == keys]
    if len(only) == 1:
        return only[0].name
    if "decoupled_weight_decay" not in options:
        raise ValueError(
            "the checkpoint does not say by which class it was made: pass --algorithm with one of "
            f"{', '.join(ALGORITHMS)}"
        )
    family = "NAdam" if "momentum_decay" in options else "RAdam"
    return algorithm_of("Adam" if "amsgrad" in options else family, options).name


def _names(
    groups: Sequence[Mapping[str, Any]],
    members: list[list[int]],
    values: Mapping[str, Any],
    choices: Choices,
) -> dict[int, str]:
    ids = [i for own in members for i in own]
    if isinstance(choices.names, list):
        names = choices.names
    elif choices.names == "model":
        names = list(values)
    elif all("param_names" in group for group in groups):
        names = [name for group in groups for name in group["param_names"]]
    else:
        raise ValueError(
            "the optimizer does not name its parameters: pass --names FILE with a name a line, in "
            "the optimizer's order, or --names model where that is the model's own order"
        )
    if len(names) != len(ids) or len({*names}) != len(ids):
        raise ValueError(
            f"the optimizer has {len(ids)} parameters, but there are {len({*names})} different "
            f"names for them (of {len(names)})"
        )
    return dict(zip(ids, names, strict=True))


def _check_shapes(path: Path, record: Record) -> None:
    kept = {n: x.moments["mu"].shape for n, x in record.leaves.items() if x.moments}
    wanted = tree_names.shapes(record.values) or kept
    lines = [
        line
        for line in tree_names.differences(wanted, kept)
        if not line.startswith("missing")  # frozen, or without a gradient so far
    ]
    lines += [f"missing: {name}" for name in record.leaves if wanted and name not in wanted]
    for name, leaf in record.leaves.items():
        lines += misshapen(name, leaf, tuple(wanted.get(name, kept.get(name, ()))))
    tree_names.refuse(f"model and optimizer of {path} do not fit", sorted({*lines}))
