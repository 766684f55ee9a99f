"""A `Record` in JAX: one transformation, or one for each group and step in a partition."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from functional_adam import ALGORITHMS, with_master
from functional_adam.convert import names as tree_names
from functional_adam.convert._masters import closed, opened
from functional_adam.convert.moments import Moments, fill

from ..few_bits._storage import Storage, storage_of
from . import _recode
from .record import Leaf, Record, initial

FROZEN = "frozen"

Rates = Callable[[int, int], Mapping[str, Any]]
"""Group and count -> hyperparameters that are schedules from there on."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Parameters that one transformation can step: of one group, all at the same count."""

    label: str
    group: int
    count: int
    names: tuple[str, ...]


def parts(record: Record) -> list[Part]:
    """Split a record where one state cannot hold all: by group, count, and NAdam's product."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for name, leaf in record.leaves.items():
        scalars = tuple(float(leaf.scalars[field]) for field in sorted(leaf.scalars))
        found.setdefault((leaf.group, int(leaf.step), scalars), []).append(name)
    made, within = [], collections.Counter()
    for group, count, scalars in sorted(found):
        alone = sum(key[0] == group for key in found) == 1
        # No step in the name: the partition of the next hop is then the same to jit.
        label = f"group{group}" if alone else f"group{group}_{within[group]}"
        within[group] += 1
        made.append(Part(label, group, count, tuple(found[group, count, scalars])))
    return made


def transformation(record: Record, rates: Rates | None = None, like: Any = None) -> Any:
    """The gradient transformation that goes on with a record.

    Args:
        record: its names are paths of the JAX tree.
        rates: schedules; without, every hyperparameter is the number in the group.
        like: structure of the parameters; None: nested dicts.
    """
    own = parts(record)
    made: dict[Hashable, Any] = {part.label: _make(record, part, rates) for part in own}
    labels = {name: part.label for part in own for name in part.names}
    rest = dict.fromkeys(record.values.keys() - labels.keys(), FROZEN)
    if len(own) == 1 and not rest:
        return made[own[0].label]
    if rest:
        made[FROZEN] = optax.with_extra_args_support(optax.set_to_zero())
    return optax.partition(made, arrange(labels | rest, like))


def state(record: Record, tx: Any, like: Any = None) -> Any:
    """The state of `transformation(record)`, arrays as they are in the record."""
    shapes = {
        name: jax.ShapeDtypeStruct(x.shape, _dtype(record, name))
        for name, x in _arrays(record).items()
    }
    empty = jax.eval_shape(tx.init, arrange(shapes, like))
    found = {}
    for part in parts(record):
        group = record.groups[part.group]
        algorithm, storage = ALGORITHMS[group.algorithm], storage_of(group.options)
        count = np.asarray(part.count, np.int32)
        scalars = record.leaves[part.names[0]].scalars
        for name in part.names:
            own = record.leaves[name]
            # No gradient came yet: torch has no state, and ours is that before the first step.
            kept = own.moments or initial(algorithm, record.values[name])[0]
            if storage is None:
                found[name] = Moments(count, kept, scalars)
                continue
            kept = _stored(storage, own, kept, name)
            found[name] = Moments(count, kept, scalars, own.low, np.uint32(storage.seed))
    return closed(empty, fill(opened(empty)[1], found), found)


def _stored(storage: Storage, leaf: Leaf, moments: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Moments as the transformation keeps them; 8-bit codes as they are, if blocks stayed so."""
    if storage.moments == "bfloat16":
        return {field: np.asarray(x, jnp.bfloat16) for field, x in moments.items()}
    if storage.moments != "int8":
        return dict(moments)
    if not leaf.moments:
        return {field: _recode.zeros(x.shape) for field, x in moments.items()}
    step = np.int32(leaf.step)
    return {field: _recode.as_int8(x, field, step, name) for field, x in moments.items()}


def arrange(flat: Mapping[str, Any], like: Any) -> Any:
    """Leaves by name as a tree: nested dicts, or the structure of `like`.

    Raises:
        ValueError: `like` has other leaves; all are named.
    """
    if like is None:
        return tree_names.nest(flat)
    wanted = tree_names.named_leaves(like, "like")
    lines = [f"missing: {name}" for name in wanted if name not in flat]
    lines += [f"extra: {name}" for name in flat if name not in wanted]
    tree_names.refuse("the parameters do not fit like", lines)
    return jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in wanted])


def _arrays(record: Record) -> dict[str, Any]:
    return {**{n: x.moments["mu"] for n, x in record.leaves.items() if x.moments}, **record.values}


def _dtype(record: Record, name: str) -> Any:
    """Dtype to make a state for: only half-precision weights have remainders."""
    if name in record.values:
        own = record.values[name].dtype
        return own if own.itemsize == 2 else jnp.float32
    kept = record.leaves[name].low
    return jnp.float32 if kept is None else jnp.bfloat16


def _make(record: Record, part: Part, rates: Rates | None) -> Any:
    group = record.groups[part.group]
    algorithm = ALGORITHMS[group.algorithm]
    values: dict[str, Any] = dict(group.hyperparameters)
    if rates is not None:
        values |= rates(part.group, part.count)
    storage = storage_of(group.options)
    if storage is not None:
        own = algorithm.make(**values, maximize=group.maximize, moments=storage.moments)
        if storage.master_bits is None:
            return own
        return with_master(own, bits=storage.master_bits, seed=storage.seed)
    dtypes = {
        f"{field}_dtype": dtype
        for field, dtype in _dtypes(record, part).items()
        if f"{field}_dtype" in ("mu_dtype", "nu_dtype")
    }
    return algorithm.make(**values, maximize=group.maximize, **dtypes)


def _dtypes(record: Record, part: Part) -> dict[str, Any]:
    """Dtypes that moments are kept in, where they are not what the transformation would choose."""
    chosen: dict[str, Any] = {}
    leaves = [(record.leaves[name], record.values.get(name)) for name in part.names]
    for field in ALGORITHMS[record.groups[part.group].algorithm].rule.moments:
        kept = {np.asarray(x.moments[field]).dtype for x, _ in leaves if x.moments}
        usual = all(_is_usual(x, p, field) for x, p in leaves if x.moments)
        if len(kept) == 1 and not usual:
            chosen[field] = kept.pop()
    return chosen


def _is_usual(leaf: Leaf, parameter: Any, field: str) -> bool:
    moment = np.asarray(leaf.moments[field])
    if parameter is None or np.iscomplexobj(moment):
        return True
    return moment.dtype == (parameter.dtype if parameter.dtype.itemsize > 2 else np.float32)


def in_jax_arrays(tree: Any) -> Any:
    """Arrays of JAX, which may share the memory of those given: they are nobody else's.

    Raises:
        TypeError: an array is float64 or complex128 and x64 is off: it would be narrowed.
    """
    wide = [
        f"{tree_names.dotted(path)} ({leaf.dtype})"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype
    ]
    if wide:
        raise TypeError(f"x64 is off and would narrow {', '.join(wide)}: set jax_enable_x64")
    return jax.tree.map(jnp.asarray, tree)
