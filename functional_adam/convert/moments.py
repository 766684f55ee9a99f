"""What the states of Adam hold, leaf by leaf, wherever they stand within other states."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._int8 import Int8, decode
from .._leaf import is_signed
from ..rules import ALGORITHMS
from . import names
from ._masters import is_master, opened

OURS: tuple[Any, ...] = tuple(dict.fromkeys(row.rule.state for row in ALGORITHMS.values()))
_TWINS = [row.optax for row in ALGORITHMS.values() if row.optax is not None]
_STATES = [functools.reduce(getattr, twin.state.split("."), optax) for twin in _TWINS]
OPTAX: tuple[Any, ...] = tuple(dict.fromkeys([optax.ScaleByAmsgradState, *_STATES]))
_OWN_NAMES: dict[Any, dict[str, str]] = {
    state: {theirs: ours for ours, theirs in twin.fields.items()}
    for state, twin in zip(_STATES, _TWINS, strict=True)
}
_COUNTS = {name for twin in _TWINS for name in twin.counts}
SCALARS = tuple({name for row in ALGORITHMS.values() for name, _ in row.rule.scalars})


@dataclasses.dataclass(frozen=True)
class Moments:
    """What is kept of one parameter.

    Attributes:
        count: updates made so far, int32 scalar.
        moments: field of the state -> array like the parameter, or its 8-bit code.
        scalars: further scalars of the state by field: NAdam's `mu_product`.
        low: remainder of a master weight; None: there is none.
        seed: of the rounding, to fill states with; None: they keep their own.
    """

    count: Any
    moments: Mapping[str, Any]
    scalars: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    low: Any = None
    seed: Any = None


def _own_names(node: Any) -> dict[str, str]:
    """Its names of fields -> ours; a dict, which has no type, is told by the names themselves."""
    if not isinstance(node, dict):
        return _OWN_NAMES.get(type(node), {})
    return next((x for x in _OWN_NAMES.values() if "mu" in x.values() and {*x} <= {*node}), {})


def is_adam(node: Any) -> bool:
    """Whether a node is a state of ours or optax's, or a dict of its fields (a checkpoint's)."""
    if isinstance(node, dict):
        return {"count", "mu"} <= {_own_names(node).get(name, name) for name in node}
    return isinstance(node, OURS + OPTAX)


def adam_states(state: Any) -> list[Any]:
    """Every state of Adam inside a state of optax: chains, partitions, masks, wrappers.

    Raises:
        ValueError: `with_master` is among them: its float32 weights would be lost.
    """
    nodes = jax.tree.leaves(state, is_leaf=lambda x: is_adam(x) or is_master(x))
    if any(map(is_master, nodes)):
        raise ValueError(
            "with_master keeps the float32 weights in its state: convert "
            "functional_adam.master_params(params, state) and state.inner"
        )
    return [node for node in nodes if is_adam(node)]


def fields(node: Any) -> dict[str, Any]:
    """Fields of a state of Adam by our names; without the seed that only coded moments have."""
    given: dict[str, Any] = dict(node) if isinstance(node, dict) else node._asdict()
    known: dict[str, str] = _own_names(node)
    own = {known.get(name, name): x for name, x in given.items() if name not in _COUNTS}
    if own.get("seed") is None:
        own.pop("seed", None)
    return own


def read(state: Any, *, stored: bool = False) -> dict[str, Moments]:
    """Moments of every leaf by its dotted name.

    Args:
        state: anything with states of Adam in it.
        stored: keep 8-bit moments as they are, and what `with_master` keeps; else they are decoded,
            and it is refused.

    Raises:
        ValueError: there is no state of Adam, or two of them hold the same leaf.
    """
    found: dict[str, Moments] = {}
    lows: dict[str, Any] = {}
    if stored:
        lows, state = opened(state)
    states = adam_states(state)
    if not states:
        raise ValueError(
            f"state holds no state of Adam: it has to contain one of "
            f"{', '.join(sorted(kind.__name__ for kind in OURS + OPTAX))}"
        )
    for node in states:
        own = fields(node)
        count = own.pop("count")
        own.pop("seed", None)
        scalars = {name: own.pop(name) for name in SCALARS if name in own}
        trees = {name: names.named_leaves(_codes(tree), name) for name, tree in own.items()}
        for name in trees["mu"]:
            if name in found:
                raise ValueError(
                    f"two states of Adam hold the leaf {name!r}: convert one at a time"
                )
            leaf = {field: leaves[name] for field, leaves in trees.items()}
            if not stored:
                leaf = {field: decoded(x, field) for field, x in leaf.items()}
            found[name] = Moments(count, leaf, scalars, lows.get(name))
    return found


def decoded(x: Any, field: str) -> Any:
    """A moment as an array, whose field tells whether it has a sign."""
    x = _as_code(x)
    return decode(x, x.shape, signed=is_signed(field)) if isinstance(x, Int8) else x


def _codes(tree: Any) -> Any:
    """Mappings that were 8-bit moments, of a checkpoint or `flax.nnx.Optimizer`, as these."""
    return jax.tree.map(_as_code, tree, is_leaf=_was_code)


def _as_code(x: Any) -> Any:
    return Int8(**x) if _was_code(x) else x


def _was_code(x: Any) -> bool:
    if not isinstance(x, Mapping) or x.keys() != {*Int8._fields}:
        return False
    return getattr(x["code"], "dtype", None) == np.uint8


def misshapen(name: str, own: Any, shape: tuple[int, ...]) -> list[str]:
    """Say which moments of a leaf, but the first, have another shape, or no floating dtype.

    Args:
        name: of the leaf.
        own: `moments` by field, and `low` or None.
        shape: of the parameter.
    """
    kept = dict(own.moments) | ({} if own.low is None else {"low": own.low})
    lines = [
        f"shape: {field} of {names.told(name)} is {names.shape_of(x)}, must be {shape}"
        for field, x in kept.items()
        if field != "mu" and names.shape_of(x) != shape
    ]
    arrays = {field: x for field, x in own.moments.items() if not names.is_code(x)}
    dtypes = {
        field: x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
        for field, x in arrays.items()
    }
    return lines + [
        f"dtype: {field} of {names.told(name)} is {dtype}, must be floating"
        for field, dtype in dtypes.items()
        if not jnp.issubdtype(dtype, jnp.inexact)
    ]


def fill(like: Any, found: Mapping[str, Moments]) -> Any:
    """Replace what the states of Adam in `like` hold by what was found, values and dtypes.

    Args:
        like: any state that contains states of Adam; arrays or shapes.
        found: by dotted name, as `read` returns.

    Returns:
        The state with the structure of `like`.

    Raises:
        ValueError: leaves are missing, left over or of another shape (all are listed); one state
            of `like` would need two counts; a field (NAdam's product) is missing.
    """
    nodes = adam_states(like)
    wanted: dict[str, Any] = {}
    for node in nodes:
        wanted |= names.named_leaves(fields(node)["mu"], "mu")
    present = {name: names.shape_of(leaf.moments["mu"]) for name, leaf in found.items()}
    lines = names.differences(names.shapes(wanted), present)
    for name, leaf in found.items():
        lines += misshapen(name, leaf, tuple(present[name]))
    names.refuse("the state does not fit", lines)
    return jax.tree.map(lambda x: _filled(x, found) if is_adam(x) else x, like, is_leaf=is_adam)


def _filled(node: Any, found: Mapping[str, Moments]) -> Any:
    own = fields(node)
    paths, treedef = jax.tree_util.tree_flatten_with_path(own["mu"], is_leaf=names.is_code)
    leaves = {names.dotted(path): found[names.dotted(path)] for path, _ in paths}
    new = {"count": _common(leaves, own["count"], "count", lambda leaf: leaf.count)}
    if "seed" in own:
        given = [leaf.seed for leaf in leaves.values() if leaf.seed is not None]
        new["seed"] = given[0] if given else own["seed"]
    for field in own.keys() - {"count", "seed"}:
        lacking = [n for n, x in leaves.items() if field not in {**x.moments, **x.scalars}]
        names.refuse(f"{type(node).__name__} needs {field}, which is not kept of", lacking)
        if field in SCALARS:
            new[field] = _common(leaves, own[field], field, lambda x, f=field: x.scalars[f])
        else:
            new[field] = treedef.unflatten([leaf.moments[field] for leaf in leaves.values()])
    unused = {field for leaf in leaves.values() for field in {**leaf.moments, **leaf.scalars}}
    if lost := sorted(unused - own.keys()):
        raise ValueError(
            f"{type(node).__name__} has no place for {', '.join(lost)}: another algorithm"
        )
    return _renamed(node, new)


def _renamed(node: Any, new: Mapping[str, Any]) -> Any:
    """A state like the node of these fields, by its own names."""
    given: dict[str, Any] = node if isinstance(node, dict) else node._asdict()
    known: dict[str, str] = _own_names(node)
    own = {name: "count" if name in _COUNTS else known.get(name, name) for name in given}
    return type(node)(**{name: new[field] for name, field in own.items() if field in new})


def _common(leaves: Mapping[str, Moments], default: Any, field: str, read: Any) -> Any:
    """The value that all leaves have; what `like` has where there are no leaves."""
    values = {id(read(leaf)): read(leaf) for leaf in leaves.values()}
    if not values:
        return default
    first, *others = values.values()
    if any(np.asarray(other) != np.asarray(first) for other in others):
        each = ", ".join(f"{name}: {np.asarray(read(leaf))}" for name, leaf in leaves.items())
        raise ValueError(f"one state cannot hold different values of {field} ({each})")
    return first
