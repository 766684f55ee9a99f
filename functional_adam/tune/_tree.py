"""Small things about pytrees of arrays whose first axis counts examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


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
