"""One jitted step of a param group: any transformation, with absent gradients as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

Build = Callable[[Mapping[str, Any]], Any]


def compiled_step(build: Build, names: list[str] | None, rebuild_extra: Callable[..., Any]) -> Any:
    """Compile ``(params, grads, state, present, data, extra, spare) -> (state, params)``.

    Args:
        build: data -> transformation.
        names: of the parameters, or None: they are the keys of the tree, or its positions.
        rebuild_extra: traced extra arguments -> keyword arguments of `update`.

    Returns:
        The jitted function. Parameters and gradients are lists and may be lent; `state` and
        `spare`, old results whose memory the new ones take, are given away. `present` is None, or
        a bool for each parameter: one without a gradient stands still with its own state.
    """

    def step(params, grads, state, present, data, extra, spare):
        del spare
        if present is not None:
            # In place of the absent gradient its parameter is given: anything of that shape.
            grads = [jnp.where(present[i], g, jnp.zeros_like(g)) for i, g in enumerate(grads)]
        tree = as_tree(params, names)
        updates, new_state = build(data).update(
            as_tree(grads, names), state, tree, **rebuild_extra(extra)
        )
        new_tree: Any = optax.apply_updates(tree, updates)
        new = new_tree if names is None else [new_tree[name] for name in names]
        if present is not None:
            new = [
                jnp.where(present[i], x, p)
                for i, (x, p) in enumerate(zip(new, params, strict=True))
            ]
            new_state = _stand_still(present, state, new_state, names, len(params))
        # Memory given away is taken in this order: the state's by the state, what is left by `new`.
        return jax.tree.map(strong, new_state), new

    return jax.jit(step, donate_argnums=(2, 6), keep_unused=True)


def as_tree(leaves: list[Any], names: list[str] | None) -> Any:
    """The tree that transformations and masks see: a dict by name where there are names."""
    return list(leaves) if names is None else dict(zip(names, leaves, strict=True))


def strong(x: Any) -> jax.Array:
    """The same array without JAX's weak type, which a checkpoint would not keep."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jnp.asarray(x, dtype=x.dtype)


def _stand_still(present, old, new, names, size):
    """Keep the old state of absent parameters: of the children of containers like the params."""

    def like_params(x):
        if names is None:
            return type(x) is list and len(x) == size
        return type(x) is dict and x.keys() == set(names)

    def choose(was, now):
        if not like_params(was):
            return now
        pairs = zip(_children(was, names), _children(now, names), strict=True)
        kept = [
            jax.tree.map(lambda a, b, i=i: jnp.where(present[i], b, a), a, b)
            for i, (a, b) in enumerate(pairs)
        ]
        return as_tree(kept, names)

    return jax.tree.map(choose, old, new, is_leaf=like_params)


def _children(container, names):
    return container if names is None else [container[name] for name in names]
