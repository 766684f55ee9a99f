"""Which state of Adam holds the moments of a parameter, and with which hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._hyperparameters import read, resolve
from .._numerics import one_minus_power, rounded, x64_enabled
from .._two_float import TwoFloat, as_two_float
from ..convert import moments as adam_moments
from ..convert import names
from ..convert._masters import field, is_master
from ..dialects import OPTAX, TORCH, Dialect
from ..rules import ALGORITHMS, Algorithm
from ._figures import Scalars


class Found(NamedTuple):
    """What one state of Adam keeps of one leaf."""

    state: int  # which of the states
    moments: Mapping[str, Any]  # field -> array or code


class State(NamedTuple):
    """One state of Adam."""

    row: Algorithm
    dialect: Dialect
    scalars: Scalars
    random: bool  # whether moments are rounded at random
    certain: bool  # whether it is that algorithm's


def states_of(state: Any) -> list[tuple[Any, dict[str, Any]]]:
    """States of Adam, each with the hyperparameters that `inject_hyperparams` keeps around it.

    Raises:
        ValueError: there is none.
    """
    found = list(_walk(state, {}))
    if not found:
        kinds = sorted(kind.__name__ for kind in adam_moments.OURS + adam_moments.OPTAX)
        raise ValueError(f"state holds no state of Adam: it has to contain one of {kinds}")
    return found


def _walk(state: Any, known: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    def stop(x: Any) -> bool:
        return adam_moments.is_adam(x) or is_master(x) or _injects(x)

    for node in jax.tree.leaves(state, is_leaf=stop):
        if _injects(node):
            own = known | dict(field(node, "hyperparams"))
            yield from _walk(field(node, "inner_state"), own)
        elif is_master(node):
            yield from _walk(field(node, "inner"), known)
        elif adam_moments.is_adam(node):
            yield node, known


def _injects(x: Any) -> bool:
    if isinstance(x, dict):
        return {"hyperparams", "inner_state"} <= x.keys()
    return hasattr(x, "hyperparams") and hasattr(x, "inner_state")


def algorithm_of(node: Any, name: str | None) -> tuple[Algorithm, bool]:
    """The algorithm of a state, and whether it is certain: optax's Adam, Adamax and RAdam keep one
    type of state, and a checkpoint's dict has none.

    Args:
        node: a state of Adam.
        name: the algorithm's; None: by the type of the state, else by its fields.

    Raises:
        ValueError: the name is unknown, that algorithm keeps something else, or the figures are not
            defined for it.
    """
    if name is not None and name not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {name!r}")
    rows = list(ALGORITHMS.values()) if name is None else [ALGORITHMS[name]]
    rows.sort(key=lambda row: not is_known(row))
    typed = isinstance(node, adam_moments.OURS)
    own = adam_moments.fields(node).keys() - {"count", "seed"}
    fit = [
        row
        for row in rows
        if (type(node) is row.rule.state if typed else own == _kept(row)) and _kept(row) == own
    ]
    if not fit:
        kind = type(node).__name__ if typed else f"with {', '.join(sorted(own))}"
        raise ValueError(f"state is {kind}: not a state of {name or 'any algorithm'}")
    refuse_unknown(fit[0])
    return fit[0], len({row.rule.state for row in fit if is_known(row)}) == 1


def is_known(row: Algorithm) -> bool:
    """Whether the figures are defined for an algorithm: those of Adam's own family."""
    return row.rule.eps_cut is not None


def refuse_unknown(row: Algorithm) -> None:
    """Raise ValueError where the figures are not defined for an algorithm."""
    if not is_known(row):
        known = ", ".join(name for name, own in ALGORITHMS.items() if is_known(own))
        raise ValueError(f"health does not know {row.name}: its figures are those of {known}")


def _kept(row: Algorithm) -> set[str]:
    return {*row.rule.moments, *dict(row.rule.scalars)}


def described(
    node: Any, algorithm: tuple[Algorithm, bool], dialect: Dialect | None, values: Any
) -> State:
    """Scalars of a state after its last step.

    Args:
        node: a state of Adam.
        algorithm: as `algorithm_of` returns it.
        dialect: None: OPTAX for optax's states, else TORCH.
        values: hyperparameters by name; None, or not there: the dialect's.
    """
    row, certain = algorithm
    if dialect is None:
        dialect = OPTAX if isinstance(node, adam_moments.OPTAX) else TORCH
    own = adam_moments.fields(node)
    count = jnp.maximum(jnp.asarray(own["count"], jnp.int32), 1)
    rate = values.get("learning_rate")
    given = {name: values.get(name) for name in ("b1", "b2", "eps", "eps_root")}
    given["b1"] = 0.9 if given["b1"] is None else given["b1"]
    if "momentum_decay" in row.hyperparameters:
        given["momentum_decay"] = values.get("momentum_decay")
    filled = dialect.fill(given, decoupled=False)
    if rate is not None:
        filled["learning_rate"] = rate
    filled = {name: read(name, value) for name, value in filled.items()}
    # A schedule has read the count before the step.
    constants, data = resolve(filled, count - 1, {})
    h = SimpleNamespace(**{"learning_rate": 1.0, **dict(constants), **data})
    t = count.astype(jnp.float64) if x64_enabled() else as_two_float(count)
    wide = (lambda x: x) if x64_enabled() else as_two_float
    kept = {name: wide(jnp.asarray(own.get(name, x))) for name, x in row.rule.scalars}
    rule = row.rule_in(dialect)
    k = jax.tree.map(rounded, rule.coefficients(t, h, kept), is_leaf=_is_pair)

    def scalar(x: Any) -> Any:
        return jnp.asarray(rounded(x), jnp.float32)

    corrections = (one_minus_power(b, t) for b in (h.b1, h.b2))
    assert rule.eps_cut is not None
    cut = scalar(rule.eps_cut(k)) if certain else None
    b1, b2 = scalar(h.b1), scalar(h.b2)
    c1, c2 = corrections
    at = scalar(h.learning_rate) if rate is not None else None
    scalars = Scalars(b1, b2, scalar(c1), scalar(c2), cut, at)
    return State(row, dialect, scalars, own.get("seed") is not None, certain)


def leaves_of(states: list[Any], rows: list[Algorithm], params: Mapping[str, Any]) -> Any:
    """Name of a parameter -> `Found`.

    Raises:
        ValueError: two states hold one parameter, or one of them holds what params lack.
    """
    found: dict[str, Found] = {}
    for index, (node, row) in enumerate(zip(states, rows, strict=True)):
        own = adam_moments.fields(node)
        trees = {
            field: dict(_at(own[field], params, f"state.{field}")) for field in row.rule.moments
        }
        for name in trees[row.rule.moments[0]]:
            if name in found:
                raise ValueError(
                    f"two states of Adam hold params {name!r}: give one of them, not the chain"
                )
            found[name] = Found(index, {field: tree[name] for field, tree in trees.items()})
    return found


def _at(tree: Any, params: Mapping[str, Any], what: str) -> Iterator[tuple[str, Any]]:
    """Nodes of a tree of moments at the places of the parameters; masked ones are left out."""
    leaves = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda path, x: names.dotted(path) in params, is_leaf_takes_path=True
    )[0]
    for path, x in leaves:
        name = names.dotted(path)
        if name not in params:
            raise ValueError(f"{what} holds {name!r}, which params does not have")
        if x is not None and not isinstance(x, optax.MaskedNode):
            yield name, x


def _is_pair(x: Any) -> bool:
    return isinstance(x, TwoFloat)
