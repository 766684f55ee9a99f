"""Which parameter a leaf of an optimizer's state belongs to, and how both are cut across a mesh."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import PartitionSpec

from . import _check
from ._masks import spread
from ._placement import axis_size, spec_of

Path = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Two shardings of one parameter: its own, and that of its gradient, state and step."""

    shape: tuple[int, ...]
    own: PartitionSpec
    state: PartitionSpec


def owner(
    path: Path,
    shape: tuple[int, ...],
    params: Mapping[Path, tuple[int, ...]],
    *,
    stacked: bool = False,
) -> Any:
    """Path of the parameter within the path of a leaf of the state; None: it has no parameter.

    Chains, masks, partitions and wrappers put keys before it, codes of moments put keys behind it.
    The longest wins, then the last: a parameter may be called 0, and so may a part of a chain.
    With `stacked` a leaf may hold several of its parameter, as the memory of L-BFGS does.
    """
    for length in sorted({len(own) for own in params}, reverse=True):
        for start in reversed(range(len(path) - length + 1)):
            found = path[start : start + length]
            if found in params and _belongs(shape, params[found], stacked):
                return found
    return None


def cut(
    shape: tuple[int, ...],
    own: PartitionSpec,
    mesh: Any,
    axes: tuple[str, ...],
    members: Iterable[tuple[int, ...]],
) -> Cut:
    """Cut a parameter's state along one dimension that divides evenly; not at all if none does.

    Args:
        shape: of the parameter.
        own: its sharding.
        mesh: of both.
        axes: mesh axes to cut across; one that the parameter uses already leaves it as it is.
        members: shapes of all of its state, which are cut alike.
    """
    entries: list[Any] = [*own, *[None] * (len(shape) - len(own))]
    used = {name for entry in entries for name in names(entry)}
    # One element is a placeholder, such as Adafactor has.
    alike = [shape]
    alike += [own for own in members if len(own) == len(shape) and math.prod(own) > 1]
    # A free dimension first; then the first, where a shard is one piece of memory.
    for d in sorted(range(len(shape)), key=lambda d: entries[d] is not None):
        both = [*names(entries[d]), *axes]
        size = math.prod(mesh.shape[name] for name in both)
        if not used & {*axes} and all(member[d] % size == 0 for member in alike):
            entries[d] = tuple(both) if len(both) > 1 else both[0]
            return Cut(shape, own, PartitionSpec(*entries))
    return Cut(shape, own, own)


def fitted(
    spec: PartitionSpec, of: tuple[int, ...], shape: tuple[int, ...], mesh: Any
) -> PartitionSpec:
    """A parameter's spec for a leaf of its state: without what does not divide a smaller one.

    Args:
        spec: of the parameter.
        of: its shape.
        shape: of the leaf; dimensions before the parameter's are not cut.
        mesh: of both.
    """
    before = len(shape) - len(of)
    return PartitionSpec(
        *[None] * before,
        *(
            entry if size % axis_size(mesh, entry) == 0 else None
            for entry, size in zip(spec, shape[before:], strict=False)
        ),
    )


def shapes(tree: Any) -> dict[Path, tuple[int, ...]]:
    """Path of every leaf -> its shape."""
    return {path: jnp.shape(x) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def own_specs(params: Any, mesh: Any, specs: Any) -> dict[Path, PartitionSpec]:
    """Sharding of each parameter by its path: what is given, else what is known of it.

    Raises:
        ValueError: specs do not fit, or compiled code would not know of a sharding.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    if specs is not None:
        is_spec = lambda x: isinstance(x, PartitionSpec)  # noqa: E731
        tree = spread(specs, params, "specs", is_spec)
        found = _check.flatten_like(treedef, params, tree, "specs")
    else:
        found = [spec_of(p) for _, p in leaves]
    own = {}
    for (path, p), spec in zip(leaves, found, strict=True):
        spec = PartitionSpec() if spec is None else spec
        name = jax.tree_util.keystr(path)
        _check_spec(spec, p, mesh, name)
        used = {axis for entry in spec for axis in names(entry)}
        if specs is None and not isinstance(p, Tracer) and used & {*mesh.auto_axes}:
            raise ValueError(
                f"params{name} is sharded as {spec}, which compiled code cannot know of on axes "
                "of the automatic type: give specs="
            )
        own[path] = spec
    return own


def names(entry: Any) -> tuple[str, ...]:
    """Mesh axes of an entry of a PartitionSpec."""
    return entry if isinstance(entry, tuple) else () if entry is None else (entry,)


def _belongs(shape, of, stacked):
    if stacked and len(shape) > len(of):
        return shape[len(shape) - len(of) :] == of
    # Blocks are fewer than elements, but as many dimensions.
    return len(shape) == len(of) and all(
        own == 0 or (size and own % size == 0) for size, own in zip(shape, of, strict=True)
    )


def _check_spec(spec, p, mesh, name):
    if not isinstance(spec, PartitionSpec):
        raise ValueError(f"specs{name} must be a PartitionSpec, got {spec!r}")
    if len(spec) > jnp.ndim(p):
        raise ValueError(f"specs{name} is {spec}, but the parameter has shape {jnp.shape(p)}")
    for entry in spec:
        for axis in names(entry):
            if axis not in mesh.axis_names:
                raise ValueError(f"params{name} is sharded as {spec}; mesh has {mesh.axis_names}")
