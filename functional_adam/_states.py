"""Whether a state is one of the algorithm that is to go on from it."""

from __future__ import annotations

from typing import Any

from ._leaf import Rule

_kinds: set[Any] = set()


def remember(kind: Any) -> None:
    """Note a type of state: only its own algorithm takes it."""
    _kinds.add(kind)


def check(state: Any, rule: Rule, *, coded: bool) -> None:
    """Raise TypeError where a rule cannot go on from a state.

    A type that is nobody's, such as a checkpoint's, will do if it has the fields.
    """
    own = rule.state
    if type(state) in _kinds and type(state) is not own:
        raise TypeError(
            f"state is of type {type(state).__name__}, another algorithm's: needed is "
            f"{own.__name__}, as init makes it"
        )
    needed = ("count", *(name for name, _ in rule.scalars), *rule.moments)
    if lacking := [name for name in needed if not hasattr(state, name)]:
        raise TypeError(
            f"state is of type {type(state).__name__}, without {', '.join(lacking)}: needed is "
            f"{own.__name__}, as init makes it. Take it out of the state of a chain or wrapper; "
            "one that optax made becomes ours by functional_adam.from_optax"
        )
    if coded == (getattr(state, "seed", None) is None):
        kept = "float32" if coded else "few bits"
        raise TypeError(f"state was made for other moments=: it keeps them in {kept}")
