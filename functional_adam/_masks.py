"""Trees that say something of every leaf: masks, labels, and functions that make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ._packed import holds_packed, is_packed

Mask = Any | Callable[[Any], Any] | None


def tree_of(given: Any, params: Any) -> Any:
    """The tree: `given`, or what it makes of params if it is a function.

    As optax tells them: a tree whose class happens to be callable, an Equinox module of bools, is
    no function; it has leaves that are not callable. Of packed parameters a function is shown the
    shapes and dtypes of the leaves.

    Raises:
        ValueError: it does not say the same of all leaves of a buffer.
    """
    leaves = jax.tree.leaves(given)
    if not (leaves and all(map(callable, leaves))):
        return given
    if not holds_packed(params):
        return given(params)
    shown = jax.tree.map(
        lambda x: x.layout.shown() if is_packed(x) else x, params, is_leaf=is_packed
    )
    made = given(shown)
    if holds_packed(made):
        return made
    made = spread(made, shown, "what a function returns")
    return jax.tree.map(
        lambda x, part: x.layout.labels(part) if is_packed(x) else part,
        params,
        made,
        is_leaf=is_packed,
    )


def spread(tree: Any, params: Any, what: str, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """For each leaf of params what a tree, or a prefix of one, says of it.

    Raises:
        ValueError: structures differ; `what` names the argument.
    """
    try:
        return jax.tree.broadcast(tree, params, is_leaf=is_leaf)
    except ValueError as error:
        raise ValueError(f"{what} must be a tree like params, or a prefix: {error}") from error
