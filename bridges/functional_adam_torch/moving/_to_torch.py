"""From JAX to a torch optimizer: parameters filled in place, moments put where torch keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import optax
import torch
from torch import Tensor
from torch.optim import Optimizer

from functional_adam import ALGORITHMS
from functional_adam.convert import names as tree_names
from functional_adam.convert._masters import opened
from functional_adam.convert.moments import Moments, adam_states, misshapen, read

from ..few_bits._storage import form_of, storage_of
from ..few_bits._stored_state import adopted
from ._layouts import Layout, inverse, permutations, permute
from ._parameters import Names, Paths, dotted_paths, group_of, groups_of, is_frozen, named
from ._recode import as_float32
from ._tensors import dtype_name, to_tensor
from .record import Group, Leaf
from .state_entries import as_torch_scalars, from_moments, other_algorithm, write_entry

Torch = TypeVar("Torch", bound=Optimizer)


def to_torch(
    params: Any,
    state: Any,
    optimizer: Torch,
    names: Names = None,
    *,
    paths: Paths = None,
    layout: Layout = None,
    cast_moments: bool = False,
) -> Torch:
    """Put a run of JAX into a torch model and its optimizer, where training goes on.

    Make the model and its optimizer as usual, with the hyperparameters to go on with (the state of
    a transformation does not hold them), then fill both. Nothing is written before everything
    fits. Moments keep their dtype, which ``optimizer.load_state_dict`` would not (it casts them to
    the parameters': pytorch#43706); torch itself steps only moments of the parameters' dtype, so
    a half-precision model needs `cast_moments`, float32 parameters, or one of our optimizers with
    `moments` or `master_bits`.

    Moments that the optimizer stores as the state does go over as they are, and so do the bits of
    `with_master`; others are encoded or decoded. 8-bit moments have blocks along the last axis:
    where a layout moves it they are encoded anew. Seeds are the optimizer's own.

    A count beyond 2**24, where torch's float32 ``step`` would stand still, makes a float64 one
    (not with ``fused`` and ``capturable``, whose kernels take only float32: there the bias
    corrections have long been 1).

    Args:
        params: tree of arrays, with a leaf for each name.
        state: of transformations of ours, or of `optax.adam`, `adamw`, `adamax`, `radam`, in
            whatever chains, partitions, masks. What else is in it is left out. AMSGrad's maximum in
            the dialect OPTAX is another quantity than torch's, which the state does not say.
        optimizer: one of torch.optim's or any class of ours, of that algorithm;
            its groups may differ from the partition's.
        names: see `to_jax`.
        paths: see there: torch's name -> path in `params`.
        layout: see there: from torch to JAX, as for the way there; it is undone here.
        cast_moments: round moments to the dtype of their parameters.

    Returns:
        The optimizer. Its parameters and state are overwritten, its groups are not.

    Raises:
        TypeError: another optimizer, or sharded parameters.
        ValueError: leaves are missing, left over, of another shape or dtype, or the state is that
            of another algorithm: every mismatch is named.

    Examples:
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = ft.AdamW(model.parameters(), lr=1e-3)
        >>> model(torch.ones(4, 3)).sum().backward()
        >>> optimizer.step()
        >>> tx, params, state = ft.to_jax(optimizer, model.named_parameters())
        >>> ft.to_torch(params, state, optimizer, model.named_parameters()) is optimizer
        True
    """
    parameters, aliases = named(optimizer, names)
    members, groups = group_of(optimizer), groups_of(optimizer)
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    axes = permutations(layout, shapes, aliases)
    path_of = {name: name for name in parameters} | dotted_paths(paths, {*shapes, *aliases})
    values, moments = tree_names.named_leaves(params, "params"), read(state, stored=True)
    # The state of what is frozen is not taken along, and stays here.
    stepped = {
        name
        for name, p in parameters.items()
        if id(p) in members and (path_of[name] in moments or not is_frozen(p))
    }
    wanted = {path_of[n]: _permuted_shape(shapes[n], axes.get(n)) for n in parameters}
    problems = _problems(wanted, {path_of[n] for n in stepped}, values, moments)
    for name, p in parameters.items():
        path = path_of[name]
        if path in values and dtype_name(values[path]) != dtype_name(p):
            problems.append(f"dtype: {path} is {dtype_name(values[path])}, must be {dtype_name(p)}")
    if any(isinstance(x, optax.ScaleByAmsgradState) for x in adam_states(opened(state)[1])):
        problems.append(
            "state is that of optax.amsgrad, whose nu_max is of corrected moments: torch would "
            "correct them again"
        )
    refused = "params and state do not fit the optimizer"
    tree_names.refuse(refused, problems)
    leaves = {}
    for name in parameters:
        path = path_of[name]
        if name in stepped and path in moments:
            index = members[id(parameters[name])]
            problems += other_algorithm(path, moments[path], groups[index].algorithm)
            leaf = from_moments(moments[path], index, inverse(axes.get(name)))
            problems += _other_master(path, leaf, groups[index], parameters[name])
            step, scalars = as_torch_scalars(leaf)
            leaves[name] = dataclasses.replace(leaf, step=step, scalars=scalars)
    tree_names.refuse(refused, problems)
    _write(optimizer, parameters, groups, leaves, cast_moments=cast_moments)
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(to_tensor(permute(values[path_of[name]], inverse(axes.get(name)))))
    return optimizer


def _write(
    optimizer: Optimizer,
    parameters: Mapping[str, Tensor],
    groups: list[Group],
    leaves: Mapping[str, Leaf],
    *,
    cast_moments: bool,
) -> None:
    entries = {}
    for name, leaf in leaves.items():
        storage = storage_of(groups[leaf.group].options)
        if storage is None:
            kept = {field: as_float32(x, field) for field, x in leaf.moments.items()}
            leaf = dataclasses.replace(leaf, moments=kept, low=None)
        entry = write_entry(leaf, groups[leaf.group], parameters[name])
        if storage is not None:
            algorithm = ALGORITHMS[groups[leaf.group].algorithm]
            entry = adopted(entry, parameters[name], storage, algorithm, name)
        elif cast_moments:
            keys = ALGORITHMS[groups[leaf.group].algorithm].torch_state
            fields = {keys[field] for field in leaf.moments}
            dtype = parameters[name].dtype
            entry = {key: x.to(dtype) if key in fields else x for key, x in entry.items()}
        entries[name] = entry
    for name, entry in entries.items():
        # Not by load_state_dict, which casts; in place of the mapping, as torch's first step does.
        optimizer.state.pop(parameters[name], None)
        if entry:
            optimizer.state[parameters[name]] = entry


def _other_master(path: str, leaf: Leaf, group: Group, p: Tensor) -> list[str]:
    """Say where a state has bits of a weight that the optimizer does not keep, or fewer."""
    storage = storage_of(group.options)
    kept = None if storage is None else form_of(storage, ALGORITHMS[group.algorithm], p).extra
    has = 0 if leaf.low is None else 8 * leaf.low.dtype.itemsize
    if has in (0, kept):
        return []
    return [
        f"state of {path} has {has} more bits of the weight: the optimizer needs "
        f"master_bits={16 + has}"
    ]


def _permuted_shape(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    return shape if axes is None else tuple(shape[i] for i in axes)


def _problems(
    wanted: Mapping[str, tuple[int, ...]],
    stepped: set[str],
    values: Mapping[str, Any],
    moments: Mapping[str, Moments],
) -> list[str]:
    """Mismatches of the parameters, and of the moments of those that are optimized."""
    found = [f"params {x}" for x in tree_names.differences(wanted, tree_names.shapes(values))]
    present = {name: tree_names.shape_of(leaf.moments["mu"]) for name, leaf in moments.items()}
    lines = tree_names.differences({n: s for n, s in wanted.items() if n in stepped}, present)
    for name, leaf in moments.items():
        lines += misshapen(name, leaf, tuple(present[name]))
        if np.shape(leaf.count) != () or not 0 <= int(np.asarray(leaf.count)) < 2**31:
            lines.append(f"count of {name} is {leaf.count}: must be one number, at least 0")
    return found + [f"state {line}" for line in lines]
