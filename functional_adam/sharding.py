"""Optimizer state on a mesh of devices: ZeRO-1, what to restore into, what a step communicates.

Sharded parameters (FSDP, tensor parallel) need nothing from here: `init` gives the state their
sharding, under jit and without it, and `update` works on each element where it is.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from . import _owners
from ._halves import is_half
from ._placement import put
from .precision import MasterState

_COLLECTIVES = (
    "all-gather", "all-reduce", "all-to-all", "collective-broadcast", "collective-permute",
    "ragged-all-to-all", "reduce-scatter",
)  # fmt: skip


def zero1(
    inner: optax.GradientTransformation,
    mesh: Mesh,
    axis: str | tuple[str, ...] = "data",
    *,
    specs: Any = None,
    min_size: int = 4096,
) -> optax.GradientTransformationExtraArgs:
    """Shard the state of any transformation over the data axis while parameters stay whole there.

    Each device keeps and updates one part of the state. Gradients are cut to it: a sum over
    devices followed by that may become a reduce-scatter (on CPUs XLA keeps the sum). Updates are
    gathered, one all-gather for each leaf; where `inner` is a `with_master`, and not a chain that
    ends in one, in the 16 bits of the new weight, not in the 32 of the update. The numbers are
    those of `inner`; norms and other sums over several elements communicate as they must.

    Works under jit and without it, with mesh axes of the automatic and the explicit type. It is the
    outermost transformation, or stands inside wrappers that hand it arrays as they are.

    Args:
        inner: any optax transformation or chain.
        mesh: of the parameters.
        axis: mesh axis (or axes) along which the batch is split.
        specs: `PartitionSpec` of the parameters on other axes (tensor parallel), a tree like them
            or a prefix of one. None: whole on every device; on explicit axes, what their type says.
        min_size: leaves of fewer elements keep their state whole: a message costs more.

    Returns:
        `optax.GradientTransformationExtraArgs` with the state of `inner`. A leaf is cut along a
        dimension that the axis divides; one that has none stays whole, and so does state that
        belongs to no parameter (of `optax.flatten`, say): `init` warns of both.

    Raises:
        ValueError: the mesh has no such axis; specs do not fit the parameters; or parameters are
            sharded in a way that compiled code could not know of, and specs were not given; or a
            gradient is None and `update` is called without parameters.
        TypeError: mesh is no `jax.sharding.Mesh`.

    Reference: Rajbhandari et al. 2020, section 5.1 (P_os), https://arxiv.org/abs/1910.02054;
    by sharding annotations: Xu et al. 2020, https://arxiv.org/abs/2004.13336.

    Examples:
        >>> mesh = jax.make_mesh((jax.device_count(),), ("data",))
        >>> tx = fa.zero1(fa.adam(1e-3), mesh)
        >>> params = jax.device_put(jnp.zeros((512, 64)), jax.NamedSharding(mesh, jax.P()))
        >>> fa.abstract_state(tx, params).mu.sharding.spec[0]
        'data'
    """
    axes = _axes(mesh, axis)
    inner = optax.with_extra_args_support(inner)

    def cuts(params, state):
        own = _owners.own_specs(params, mesh, specs)
        sizes, members = _owners.shapes(params), {}
        for path, shape in _owners.shapes(state).items():
            found = _owners.owner(path, shape, sizes, stacked=True)
            members.setdefault(found, []).append(shape)
        return {
            path: _owners.cut(shape, own[path], mesh, axes, members.get(path, ()))
            if math.prod(shape) >= min_size
            else _owners.Cut(shape, own[path], own[path])
            for path, shape in sizes.items()
        }

    def place_state(state, by_path):
        sizes = {path: found.shape for path, found in by_path.items()}

        def place(path, x):
            shape = jnp.shape(x)
            found = _owners.owner(path, shape, sizes, stacked=True)
            if found is None:
                return put(mesh, x, PartitionSpec())
            own = by_path[found]
            return put(mesh, x, _owners.fitted(own.state, own.shape, shape, mesh))

        return jax.tree_util.tree_map_with_path(place, state)

    def init(params):
        by_path = cuts(params, jax.eval_shape(inner.init, params))
        parts = _place(mesh, params, by_path, "state")
        state = inner.init(parts)
        _warn_of_whole(by_path, state, axes, mesh, min_size)
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(parts)):
            # jit drops arguments that are not read, and with them which devices there are.
            state, _ = lax.optimization_barrier((state, parts))
        return place_state(state, by_path)

    def update(updates, state, params=None, **extra_args):
        if params is None and any(map(_is_none, jax.tree.leaves(updates, is_leaf=_is_none))):
            raise ValueError(
                "zero1 needs the parameters where a gradient is None: update(grads, state, params)"
            )
        by_path = cuts(updates if params is None else params, state)
        parts = _place(mesh, params, by_path, "state")
        gradients = _place(mesh, updates, by_path, "state")
        steps, state = inner.update(gradients, state, parts, **extra_args)
        if isinstance(state, MasterState):
            steps = _gather_weights(mesh, steps, parts, params, by_path)
        else:
            steps = _place(mesh, steps, by_path, "own")
        return steps, place_state(state, by_path)

    return optax.GradientTransformationExtraArgs(init, update)


def abstract_state(tx: optax.GradientTransformation, params: Any) -> Any:
    """Shapes, dtypes and shardings of `tx.init(params)`: what a checkpoint is restored into.

    The parameters may live on another mesh than those that were saved: so will the state. Where
    `tx` leaves an array whole that belongs to a sharded parameter, as optax's own do under jit, it
    takes the parameter's sharding: `jax.jit(tx.init, out_shardings=...)` then does the same.

    Args:
        tx: any optax transformation or chain, `zero1` included.
        params: arrays, or `jax.ShapeDtypeStruct` with shardings; nothing is allocated.

    Returns:
        The state, of `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: a parameter has no sharding.

    Examples:
        >>> fa.abstract_state(fa.adam(1e-3), jnp.zeros((2, 3))).mu.shape
        (2, 3)
    """
    where = {}
    for path, p in jax.tree_util.tree_flatten_with_path(params)[0]:
        if getattr(p, "sharding", None) is None:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} has no sharding: give arrays of JAX, or "
                "jax.ShapeDtypeStruct(shape, dtype, sharding=...)"
            )
        where[path] = p.sharding
    # Arguments that init does not read would not tell it of their devices.
    lowered = jax.jit(tx.init, keep_unused=True).lower(params)
    sizes = _owners.shapes(params)

    def describe(path, x, found):
        name = _owners.owner(path, x.shape, sizes, stacked=True)
        own = where.get(name)
        if isinstance(own, NamedSharding):
            spec = _owners.fitted(own.spec, sizes[name], x.shape, own.mesh)
            if found.is_fully_replicated or _is_part_of(found, spec):
                found = NamedSharding(own.mesh, spec)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=found)

    return jax.tree_util.tree_map_with_path(
        describe, lowered.out_info, lowered.compile().output_shardings
    )


def collectives(compiled: Any) -> Counter[str]:
    """Count the collectives of a compiled step, by name: `all-gather`, `all-reduce`, ...

    Args:
        compiled: `jax.jit(step).lower(...).compile()`, or its text.

    Returns:
        How many of each the program holds; one inside a loop counts once.

    Examples:
        >>> step = jax.jit(lambda x: x + 1).lower(jnp.zeros(2)).compile()
        >>> fa.collectives(step)
        Counter()
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    return Counter(re.findall(rf"\s({'|'.join(_COLLECTIVES)})(?:-start)?\(", text))


def _is_part_of(found, spec):
    """Whether a sharding is a spec without some of its axes: compiled code knows of those only."""
    entries = itertools.zip_longest(getattr(found, "spec", (True,)), spec)
    return all(_owners.names(a) == _owners.names(b)[: len(_owners.names(a))] for a, b in entries)


def _axes(mesh, axis):
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, got {mesh!r}")
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or len({*axes}) < len(axes):
        raise ValueError(f"axis must name one or more different axes, got {axis!r}")
    for name in axes:
        if name not in mesh.axis_names:
            raise ValueError(f"axis must be of the mesh's {mesh.axis_names}, got {axis!r}")
    return axes


def _place(mesh, tree, by_path, which):
    def place(path, x):
        return put(mesh, x, getattr(by_path[path], which)) if path in by_path else x

    return jax.tree_util.tree_map_with_path(place, tree)


def _gather_weights(mesh, steps, parts, params, by_path):
    """Updates of whole leaves that land where those of the parts do, from 16 bits a weight."""

    def gather(path, u, part, p):
        if u is None:
            return None
        if not is_half(p):
            return put(mesh, u, by_path[path].own)
        new = (part.astype(jnp.float32) + u).astype(p.dtype)
        # As a difference of integers, for some backends widen 16-bit floats before they send them.
        moved = put(mesh, _bits(new) ^ _bits(part), by_path[path].own)
        new = lax.bitcast_convert_type(moved ^ _bits(p), p.dtype).astype(jnp.float32)
        return jnp.where(moved == 0, 0.0, new - p.astype(jnp.float32))

    return jax.tree_util.tree_map_with_path(gather, steps, parts, params, is_leaf=_is_none)


def _is_none(x):
    return x is None


def _bits(x):
    return lax.bitcast_convert_type(x, jnp.uint16)


def _warn_of_whole(by_path, state, axes, mesh, min_size):
    size = math.prod(mesh.shape[name] for name in axes)
    whole, sizes = {}, {path: found.shape for path, found in by_path.items()}
    for path, found in by_path.items():
        used = {name for entry in found.own for name in _owners.names(entry)}
        if found.state == found.own and used.isdisjoint(axes):
            name = f"the state of params{jax.tree_util.keystr(path)}"
            whole[name] = found.shape, f"{size} devices divide no dimension"
    for path, shape in _owners.shapes(state).items():
        if _owners.owner(path, shape, sizes, stacked=True) is None:
            whole[f"state{jax.tree_util.keystr(path)}"] = shape, "it belongs to no parameter"
    for name, (shape, why) in whole.items():
        if math.prod(shape) >= min_size and size > 1:
            warnings.warn(
                f"zero1 keeps {name} of shape {shape} whole on every device: {why}", stacklevel=3
            )
