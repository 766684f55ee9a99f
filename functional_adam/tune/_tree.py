"""Small things about pytrees of arrays whose first axis counts examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._halves import HALF


def examples(tree: Any) -> int:
    """How many examples a pytree of arrays holds."""
    return jnp.shape(jax.tree.leaves(tree)[0])[0]


def take(tree: Any, index: Any) -> Any:
    """The examples at these indices."""
    return jax.tree.map(lambda x: x[index], tree)


def cast(tree: Any, dtype: Any) -> Any:
    """Floating leaves in a dtype; others, such as labels and keys, as they are."""

    def one(x):
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)


def stored(tree: Any, dtype: Any) -> Any:
    """Initial parameters as a task in this dtype trains them.

    In 16 bits where that is the dtype, and in no fewer bits than those of any other.
    """

    def one(p):
        if not jnp.issubdtype(p.dtype, jnp.floating):
            return p
        if jnp.dtype(dtype) in HALF:
            return p.astype(dtype) if p.dtype in (jnp.float32, *HALF) else p
        return p.astype(jnp.promote_types(p.dtype, dtype))

    return jax.tree.map(one, tree)
