"""States of `with_master` around states of Adam: looked into, and filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..precision import MasterState
from . import names


def is_master(node: Any) -> bool:
    """Whether a node is a state of `with_master`, or a dict of its fields (a checkpoint's)."""
    if isinstance(node, dict):
        return {"low", "inner"} <= node.keys()
    return isinstance(node, MasterState)


def opened(state: Any) -> tuple[dict[str, Any], Any]:
    """Remainders of weights by dotted name, and the state with the inner ones in the open."""
    lows: dict[str, Any] = {}
    for node in jax.tree.leaves(state, is_leaf=is_master):
        if is_master(node):
            lows |= names.named_leaves(field(node, "low"), "low")
    inner = jax.tree.map(
        lambda x: field(x, "inner") if is_master(x) else x, state, is_leaf=is_master
    )
    return lows, inner


def closed(like: Any, inner: Any, found: Mapping[str, Any]) -> Any:
    """Undo `opened`: states of `with_master` where `like` has them.

    Args:
        like: arrays or shapes.
        inner: with the inner states filled.
        found: `Moments` by dotted name; a remainder that is not there is zero.
    """

    def low(path: Any, x: Any) -> Any:
        own = found[names.dotted(path)].low
        return np.zeros(x.shape, x.dtype) if own is None else own

    def put(node: Any, filled: Any) -> Any:
        if not is_master(node):
            return filled
        lows = jax.tree_util.tree_map_with_path(low, node.low)
        if node.count is None:
            return MasterState(lows, filled)
        members = jax.tree_util.tree_leaves_with_path(node.low, is_leaf=lambda x: x is None)
        first = found[names.dotted(members[0][0])]
        return MasterState(lows, filled, first.count, first.seed)

    return jax.tree.map(put, like, inner, is_leaf=is_master)


def field(node: Any, name: str) -> Any:
    """Of a state, or of the dict that a checkpoint has made of it."""
    return node[name] if isinstance(node, dict) else getattr(node, name)
