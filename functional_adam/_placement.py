"""New arrays that live where another array lives, under jit and without it.

Zeros do not depend on the parameters: a compiled `init` would put all of them on one device, or
refuse to. Here the compiler is told to shard them as the parameters are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec


def zeros_like(x: Any, dtype: Any) -> jax.Array:
    """Zeros of the shape and sharding of x."""
    return _alike(x, jnp.zeros_like(x, dtype=dtype))


def full_blocks(x: Any, blocks: tuple[int, ...], value: Any, dtype: Any) -> jax.Array:
    """One value for each block of the last axis, where the block's elements are.

    Args:
        x: array, traced or not, or the shape and dtype of one.
        blocks: shape of x, with the number of its blocks as the last axis.
        value: of every element.
        dtype: of the result.

    Raises:
        ValueError: devices share a block on an axis whose type is explicit.
    """
    found, where = _named(x), None
    if found is not None:
        mesh, spec = found
        *others, last = (*spec, *[None] * (len(blocks) - len(spec)))
        if blocks[-1] % axis_size(mesh, last):
            _refuse_shared_blocks(x, blocks, mesh, last)
            last = None
        where = NamedSharding(mesh, PartitionSpec(*others, last))
    full = jnp.full(blocks, value, dtype, device=where)
    if not isinstance(x, Tracer):
        return full
    return _alike(jnp.max(x.reshape(*blocks, -1), axis=-1), full)


def put(mesh: Any, x: Any, spec: PartitionSpec) -> Any:
    """Constrain x to a sharding, on axes of either type; without jit, move it there."""
    if not isinstance(x, Tracer):
        return jax.device_put(x, NamedSharding(mesh, spec))
    explicit, automatic = ({*axes} for axes in (mesh.explicit_axes, mesh.auto_axes))
    if explicit:
        x = jax.sharding.reshard(x, NamedSharding(mesh, _only(spec, explicit)))
    if automatic:
        x = lax.with_sharding_constraint(x, NamedSharding(mesh, _only(spec, automatic)))
    return x


def spec_of(x: Any) -> PartitionSpec | None:
    """Named sharding of an array as far as it is known; None where it is not known.

    Of a traced array only mesh axes of the explicit type are known.
    """
    found = _named(x)
    return None if found is None else found[1]


def axis_size(mesh: Any, axes: Any) -> int:
    """Devices along an entry of a PartitionSpec: a name, some of them, or None."""
    names = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
    size = 1
    for name in names:
        size *= mesh.shape[name]
    return size


def _only(spec, names):
    def keep(entry):
        if isinstance(entry, tuple):
            return tuple(name for name in entry if name in names) or None
        return entry if entry in names else None

    return PartitionSpec(*map(keep, spec))


def _alike(x, new):
    """`new`, which the compiler shards as x: it is added to a zero made of each element of x.

    That zero is 0.0 times 0 or 1, a product of floats, which no simplifier leaves out.
    """
    if not isinstance(x, Tracer):
        return new
    nothing = 0.0 * (x != x).astype(jnp.float32)
    return new + nothing.astype(new.dtype)


def _refuse_shared_blocks(x, blocks, mesh, entry):
    if {*mesh.explicit_axes} & {*(entry if isinstance(entry, tuple) else (entry,))}:
        length = jnp.shape(x)[-1]
        raise ValueError(
            f"moments of a parameter of shape {jnp.shape(x)} are kept in blocks of "
            f"{length // blocks[-1]}, which devices would share: its last axis is sharded over "
            f"{entry}, {length // axis_size(mesh, entry)} elements each. Give smaller blocks: "
            "moments=(int8_codec(signed=True, block=...), int8_codec(signed=False, block=...))"
        )


def _named(x):
    if isinstance(x, Tracer):
        sharding = jax.typeof(x).sharding
        return (sharding.mesh, sharding.spec) if sharding.mesh.explicit_axes else None
    sharding = getattr(x, "sharding", None)
    return (sharding.mesh, sharding.spec) if isinstance(sharding, NamedSharding) else None
