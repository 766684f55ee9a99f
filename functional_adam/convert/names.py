"""The name of a leaf, its path with dots between, and what to say where two sides differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .._int8 import Int8


def dotted(path: Sequence[Any]) -> str:
    """``layers.0.kernel`` for a path of `jax.tree_util`; the root is the empty name."""
    return ".".join(str(_key(entry)) for entry in path)


def _key(entry: Any) -> Any:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return entry


def is_code(x: Any) -> bool:
    """Whether a node is an 8-bit moment, one leaf to whoever moves states."""
    return isinstance(x, Int8)


def named_leaves(tree: Any, what: str) -> dict[str, Any]:
    """Leaves by dotted name.

    Raises:
        ValueError: two leaves have one name.
    """
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_code):
        name = dotted(path)
        if name in found:
            raise ValueError(f"{what} has two leaves named {name!r}")
        found[name] = leaf
    return found


def nest(flat: Mapping[str, Any]) -> Any:
    """Nested dicts of leaves, split at the dots; the empty name is the root itself.

    Raises:
        ValueError: a name is both a leaf and the beginning of another.
    """
    if set(flat) == {""}:
        return flat[""]
    tree: dict[str, Any] = {}
    folders = {id(tree)}
    for name, leaf in flat.items():
        *parents, last = name.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict) or (node and id(node) not in folders):
                raise ValueError(f"{name!r} lies below another leaf's name")
            folders.add(id(node))
        if last in node:
            raise ValueError(f"{name!r} is the beginning of another leaf's name")
        node[last] = leaf
    return tree


def told(name: str) -> str:
    """The name of a leaf for a message, where the root needs one too."""
    return name or "the root"


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Every mismatch of two mappings from names to shapes, a line for each."""
    lines = [f"missing: {told(name)}" for name in wanted if name not in found]
    lines += [f"extra: {told(name)}" for name in found if name not in wanted]
    lines += [
        f"shape: {told(name)} is {tuple(found[name])}, must be {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    return lines


def refuse(heading: str, lines: Sequence[str]) -> None:
    """Raise ValueError with all lines where there are any."""
    if lines:
        raise ValueError("\n  ".join([f"{heading}:", *lines]))


def shapes(leaves: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of each leaf."""
    return {name: shape_of(leaf) for name, leaf in leaves.items()}


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Shape of an array, or of what an 8-bit moment decodes to."""
    return leaf.shape if is_code(leaf) else np.shape(leaf)
