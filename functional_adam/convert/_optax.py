"""optax's states as ours and back, so that a checkpoint of either resumes under the other."""

from __future__ import annotations

import collections
from typing import Any

import jax
import optax

from ..bounds import UpdateBoundState
from . import moments
from .moments import is_adam

# They count the updates made, as Adam does. What others count may be anything: an average that
# starts anew has seen nothing yet.
_SCHEDULES = (
    optax.ScaleByScheduleState,
    optax.InjectHyperparamsState,
    optax.InjectStatefulHyperparamsState,
    UpdateBoundState,
)


def from_optax(state: Any, like: Any = None) -> Any:
    """Turn the state of an optax transformation into that of one of ours.

    Moments, their dtypes and the count are kept. What other transformations of a chain keep is
    taken over where `like` has the same number of states of that type: schedules' counts,
    averages, `inject_hyperparams` (hyperparameters by name), `MultiSteps`' sums. A schedule that
    only `like` has stands at Adam's count; anything else stays as it is in `like`.

    The state does not say by which formula it was made. `optax.adam`, `adamw`, `adamax` go on as
    ours of that name (eps_root: 0), `optax.nadam` and `nadamw` as `adam(nesterov=True)` and
    `adamw(nesterov=True)`. `optax.amsgrad` corrects before it takes the maximum: its `nu_max` is
    another quantity than torch's, and stays what it is.

    Args:
        state: of optax, with `ScaleByAdamState` or `ScaleByAmsgradState` in chains, partitions,
            masks, `inject_hyperparams` and other wrappers.
        like: `tx.init(params)` of the transformation to go on with; may be left out where that is
            ours on its own and `state` holds one state of the family. Adamax, RAdam and ADOPT need
            it: optax's state is Adam's, and ours is of another type.

    Returns:
        The state to go on with.

    Raises:
        ValueError: leaves are missing, left over or of another shape: all are named; there is no
            state of Adam, or none can be made of it.

    Examples:
        >>> params = jnp.ones(2)
        >>> theirs = optax.adam(1e-3).init(params)
        >>> type(fa.from_optax(theirs)).__name__
        'AdamState'
    """
    if like is None:
        found = moments.adam_states(state)
        if len(found) != 1:
            raise ValueError(
                f"state holds {len(found)} states of Adam, not one: pass like=tx.init(params)"
            )
        own = moments.fields(found[0])
        makes = [
            kind
            for kind in moments.OURS
            if set(kind._fields) - kind._field_defaults.keys() == own.keys()
        ]
        if not makes:
            raise ValueError(f"no state of ours has the fields {', '.join(own)}")
        return makes[0](**own)
    return _transfer(state, like, "like=tx.init(params) of a functional_adam transformation")


def to_optax(state: Any, like: Any) -> Any:
    """Turn the state of one of our transformations into that of an optax transformation.

    Args:
        state: of ours, in whatever chains and wrappers.
        like: `tx.init(params)` of the optax transformation to go on with.

    Returns:
        The state to go on with; what is kept and what is not as in `from_optax`.

    Raises:
        ValueError: as `from_optax`; NAdam's `mu_product` has no place in any state of optax.

    Examples:
        >>> params = jnp.ones(2)
        >>> ours = fa.adam(1e-3).init(params)
        >>> theirs = fa.to_optax(ours, like=optax.adam(1e-3).init(params))
        >>> type(theirs[0]).__name__
        'ScaleByAdamState'
    """
    return _transfer(state, like, "like=tx.init(params) of an optax transformation")


def _transfer(source: Any, like: Any, what: str) -> Any:
    if not moments.adam_states(like):
        raise ValueError(f"like must hold a state of Adam: {what}")
    filled = moments.fill(like, moments.read(source))
    return _rebuild(filled, _twins(filled, source), None)


def _children(node: Any) -> dict[Any, Any] | None:
    """Fields, items or elements of a node; None of a leaf."""
    if is_adam(node):
        return None
    if hasattr(node, "_asdict"):
        return node._asdict()
    if isinstance(node, dict):
        return dict(node)
    return dict(enumerate(node)) if isinstance(node, tuple | list) else None


def _named_tuples(node: Any) -> list[Any]:
    """States of other transformations, outermost first."""
    found = [node] if hasattr(node, "_asdict") and not is_adam(node) else []
    return found + [x for child in (_children(node) or {}).values() for x in _named_tuples(child)]


def _twins(like: Any, source: Any) -> dict[int, Any]:
    """Pair states of one type, in their order, where both sides have the same number of them."""
    sides = []
    for side in (like, source):
        kinds: dict[type, list[Any]] = collections.defaultdict(list)
        for node in _named_tuples(side):
            kinds[type(node)].append(node)
        sides.append(kinds)
    ours, theirs = sides
    return {
        id(a): b
        for kind, nodes in ours.items()
        if len(nodes) == len(theirs[kind])
        for a, b in zip(nodes, theirs[kind], strict=True)
    }


def _is_schedule(node: Any) -> bool:
    # That of a schedule within `inject_hyperparams` has no public name.
    return isinstance(node, _SCHEDULES) or type(node).__name__ == "WrappedScheduleState"


def _rebuild(node: Any, twins: dict[int, Any], count: Any) -> Any:
    """Take over what twins hold; `count` is that of the nearest state of Adam."""
    children = _children(node)
    if children is None:
        return node
    counts = [
        moments.fields(x)["count"] for x in jax.tree.leaves(node, is_leaf=is_adam) if is_adam(x)
    ]
    if counts:
        count = counts[0]
    twin = _children(twins.get(id(node)))
    new = {}
    for name, child in children.items():
        if any(is_adam(x) for x in jax.tree.leaves(child, is_leaf=is_adam)):
            new[name] = _rebuild(child, twins, count)
        elif twin is not None and isinstance(child, dict):
            new[name] = child | {k: v for k, v in twin[name].items() if k in child}
        elif twin is not None:
            new[name] = twin[name]
        elif name == "count" and count is not None and _is_schedule(node):
            new[name] = count
        else:
            new[name] = _rebuild(child, twins, count)
    if hasattr(node, "_asdict"):
        return node._replace(**new)
    return new if isinstance(node, dict) else type(node)(new.values())
