"""An orbax directory: ``{"params": ..., "state": ...}``, nested dicts and a state of JAX.

The JSON of `metadata` is the checkpoint's custom metadata, under ``functional_adam``. Directories
written by others are read too: then the options must say what such a file does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from functional_adam import ALGORITHMS
from functional_adam.convert import moments as adam_moments
from functional_adam.convert import names as tree_names
from functional_adam.convert._masters import is_master, opened
from functional_adam_torch.moving import _in_jax
from functional_adam_torch.moving.record import Group, Leaf, Record
from functional_adam_torch.moving.state_entries import from_moments, other_algorithm

from .._output import UsageError
from ..convert import ORBAX_FILES
from . import as_optax, metadata
from .atomic import writing
from .choices import Choices, at_key

KEY = "functional_adam"
PARAMS, STATE = ("params", "model"), ("state", "opt_state", "optimizer")


def read(path: Path, choices: Choices) -> tuple[Record, list[str]]:
    """Read a directory, and what of it is not carried over.

    Raises:
        ValueError: it is no orbax checkpoint, or parameters and state do not fit.
        UsageError: nothing but an option can say what it holds.
    """
    held, custom = _restore(path)
    state, key = at_key(held, choices.optimizer_key, STATE, lambda x: True, "optimizer")
    params, model_key = None, None
    if key:
        params, model_key = at_key(
            held, choices.model_key, PARAMS, lambda x: True, "model", optional=True
        )
    values = {} if params is None else tree_names.named_leaves(params, "params")
    found = adam_moments.read(state, stored=True)
    kept = {name: x.moments["mu"].shape for name, x in found.items()}
    lines = tree_names.differences(tree_names.shapes(values) or kept, kept)
    lines = [line for line in lines if not line.startswith("missing")]
    tree_names.refuse(f"params and state of {path} do not fit", lines)
    saved = custom.get(KEY)
    if saved is None:
        left_out = [str(x) for x in held if x not in (key, model_key)] if key else []
        record = _foreign(values, found, choices, _stored_options(state, found))
        return record, left_out + [f"{key or 'state'}.{name}" for name in _others(state)]
    groups = metadata.groups_of(saved)
    member = {name: i for i, own in enumerate(saved["groups"]) for name in own["names"]}
    expected = {**member, **dict.fromkeys(saved["parameters"])}
    lines = [f"missing: {name}" for name in member if name not in found]
    lines += [f"missing: {n}" for n in saved["parameters"] if n not in values]
    lines += [f"extra: {name}" for name in {*values, *found} if name not in expected]
    tree_names.refuse(f"{path} does not hold what its metadata says", lines)
    leaves = {}
    for name, index in member.items():
        leaf = _leaf(name, index, groups[index], found[name])
        if leaf.step <= 2**24:
            leaf = dataclasses.replace(leaf, step=leaf.step.astype(saved["step_dtype"]))
        leaves[name] = leaf
    ordered = {name: values[name] for name in saved["parameters"]}
    layouts, aliases = metadata.layouts_of(saved), metadata.aliases_of(saved)
    return Record(groups, leaves, ordered, layouts, saved["named"], aliases), []


def write(record: Record, path: Path, choices: Choices) -> None:
    """Write a directory with the state of `choices.structure`.

    Raises:
        ValueError: orbax or optax have no place for something: it is named.
    """
    shapeless = [
        name
        for name, leaf in record.leaves.items()
        if not leaf.moments and name not in record.values
    ]
    tree_names.refuse("without the model there is no shape of", shapeless)
    # float64 is kept whatever JAX is set to: arrays stay NumPy's.
    with jax.enable_x64(True):
        if choices.structure == "optax":
            state = as_optax.state(record)
        else:
            state = _in_jax.state(record, _in_jax.transformation(record))
    tree: dict[str, Any] = {STATE[0]: jax.tree.map(np.asarray, state)}
    if record.values:
        tree[PARAMS[0]] = tree_names.nest(record.values)
    shapes = tree_names.shapes(tree_names.named_leaves(tree, "tree"))
    empty = [name for name, shape in shapes.items() if not math.prod(shape)]
    tree_names.refuse("orbax cannot keep arrays without elements", empty)
    _save(path, tree, {KEY: metadata.as_json(record)})


def _stored_options(state: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the bridge for moments and weights in few bits, where a state keeps such."""
    options: dict[str, Any] = {}
    if any(is_master(x) for x in jax.tree.leaves(state, is_leaf=is_master)):
        lows = [np.dtype(x.low.dtype).itemsize for x in found.values() if x.low is not None]
        options["master_bits"] = 16 + 8 * max(lows, default=0)
    nodes = [adam_moments.fields(node) for node in adam_moments.adam_states(opened(state)[1])]
    if seeds := [int(own["seed"]) for own in nodes if "seed" in own]:
        kept = [x for own in found.values() for x in own.moments.values()]
        half = any(not tree_names.is_code(x) and x.dtype == jnp.bfloat16 for x in kept)
        options |= {"moments": "bfloat16" if half else "int8", "seed": seeds[0]}
    return options


def _others(state: Any) -> list[str]:
    """Arrays of other transformations, by dotted name; counts apart, which Adam has as well."""
    inner = opened(state)[1]
    leaves = jax.tree_util.tree_leaves_with_path(inner, is_leaf=adam_moments.is_adam)
    names = [tree_names.dotted(path) for path, x in leaves if not adam_moments.is_adam(x)]
    return [name for name in names if name.rpartition(".")[2] != "count"]


def _foreign(values: Any, found: Any, choices: Choices, stored: Mapping[str, Any]) -> Record:
    """A directory by someone else: one group, with the hyperparameters of the command line."""
    if choices.algorithm is None:
        raise UsageError(f"SOURCE does not say its algorithm: --algorithm {' | '.join(ALGORITHMS)}")
    row = ALGORITHMS[choices.algorithm]
    if "nu_max" in row.rule.moments and choices.structure != "ours":
        raise UsageError(
            "optax corrects before it takes AMSGrad's maximum: no state of torch can be made of "
            "it. If the state is of functional_adam, say --structure ours"
        )
    if "lr" not in choices.options:
        raise UsageError("SOURCE does not hold the hyperparameters: --option lr=1e-3, and others")
    order = _order(choices, {**found, **values})
    group = Group(row.name, _options(row, choices.options) | dict(stored))
    leaves = {name: _leaf(name, 0, group, found[name]) for name in order if name in found}
    values = {name: values[name] for name in order if name in values}
    return Record((group,), leaves, values)


def _order(choices: Choices, known: Mapping[str, Any]) -> list[str]:
    """Torch's optimizers know parameters by their position only, which a tree does not have."""
    order = choices.names if isinstance(choices.names, list) else list(choices.renames)
    if not order:
        raise UsageError(
            "SOURCE does not say the order of the parameters in torch's optimizer: --names FILE, "
            "with a name a line, or a JSON object old: new in that order"
        )
    lines = [f"missing: {name}" for name in known if name not in order]
    lines += [f"extra: {name}" for name in order if name not in known]
    tree_names.refuse("--names does not fit SOURCE", lines)
    return order


def _options(row: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new optimizer of the bridge's class, which are torch's.

    Raises:
        UsageError: one is not known there, or refused.
    """
    import torch

    import functional_adam_torch

    kind = getattr(functional_adam_torch, row.torch_class)
    known = {*inspect.signature(kind).parameters} - {"params", "engine"}
    if unknown := sorted(given.keys() - known):
        raise UsageError(
            f"--option {', '.join(unknown)}: {row.torch_class} has {', '.join(sorted(known))}"
        )
    try:
        made = kind([torch.nn.Parameter(torch.zeros(()))], **{**row.torch_options, **given})
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"--option: {row.torch_class} refuses it: {error}") from None
    return {key: x for key, x in made.state_dict()["param_groups"][0].items() if key != "params"}


def _leaf(name: str, index: int, group: Group, own: Any) -> Leaf:
    tree_names.refuse("state of another algorithm", other_algorithm(name, own, group.algorithm))
    if np.shape(own.count) != ():
        raise ValueError(
            f"count of {name} has shape {np.shape(own.count)}: convert one run of many"
        )
    return from_moments(own, index)


def _save(path: Path, tree: Any, custom: Any) -> None:
    import orbax.checkpoint as ocp

    handler = ocp.PyTreeCheckpointHandler()
    with _quiet(), writing(path), ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(path.absolute(), ocp.args.PyTreeSave(tree), custom_metadata=custom)


def _restore(path: Path) -> tuple[Any, dict[str, Any]]:
    import orbax.checkpoint as ocp

    with _quiet(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        found = checkpointer.metadata(path.absolute())
        if found.item_metadata is None:
            if any((path / name).exists() for name in ORBAX_FILES):
                raise ValueError(f"{path} is damaged: orbax cannot read its arrays")
            raise ValueError(f"{path} is not an orbax checkpoint{_hint(path)}")
        as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
        args = jax.tree.map(lambda _: as_numpy, found.item_metadata.tree)
        held = checkpointer.restore(path.absolute(), args=ocp.args.PyTreeRestore(restore_args=args))
    return held, dict(found.custom_metadata or {})


def _hint(path: Path) -> str:
    """Where a checkpoint manager has put its newest one."""
    steps = [x for x in path.glob("*/*") if x.is_dir() and x.parent.name.isdecimal()]
    if not steps:
        return ""
    return f"; below it there is {max(steps, key=lambda x: int(x.parent.name))}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what orbax logs: files that others need not have, and errors that it raises as well."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
