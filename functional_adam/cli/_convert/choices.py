"""The options of `functional-adam convert`, read and checked."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._output import UsageError


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user chose.

    Attributes:
        algorithm: name, or None: to be inferred.
        model_key: where parameters lie, keys with dots between; None: the usual names.
        optimizer_key: where the optimizer's state lies.
        names: in the optimizer's order; "model"; or None: those in the source.
        renames: name in the source -> in the target.
        transpose: pattern and axes (None: reversed, or a convolution's).
        structure: of states of JAX: "ours" or "optax"; None: ours, and in a source unknown.
        options: torch's options of the group where the source has none.
    """

    algorithm: str | None = None
    model_key: str | None = None
    optimizer_key: str | None = None
    names: list[str] | str | None = None
    renames: Mapping[str, str] = dataclasses.field(default_factory=dict)
    transpose: Sequence[tuple[str, tuple[int, ...] | None]] = ()
    structure: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def names_file(given: str | None) -> tuple[list[str] | str | None, dict[str, str]]:
    """Names in order, or renames: a name a line, a JSON list, or a JSON object."""
    if given in (None, "model"):
        return given, {}
    try:
        text = Path(given).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--names {given}: cannot be read: {error}") from None
    if text.lstrip()[:1] not in ("[", "{"):
        return [line.strip() for line in text.splitlines() if line.strip()], {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"--names {given}: not JSON: {error}") from None
    if isinstance(found, dict) and all(isinstance(x, str) for x in found.values()):
        return None, found
    if isinstance(found, list) and all(isinstance(x, str) for x in found):
        return found, {}
    raise UsageError(f"--names {given}: must be a JSON list of names or an object of renames")


def transposes(given: Sequence[str]) -> list[tuple[str, tuple[int, ...] | None]]:
    """``PATTERN`` or ``PATTERN=1,0``."""
    found = []
    for text in given:
        pattern, equals, axes = text.partition("=")
        try:
            order = tuple(int(x) for x in axes.split(",")) if equals else None
        except ValueError:
            raise UsageError(f"--transpose {text}: axes must be numbers, as in 'x=1,0'") from None
        found.append((pattern, order))
    return found


def permutations(
    transpose: Sequence[tuple[str, tuple[int, ...] | None]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The permutation from torch of each parameter that matches; the last pattern counts."""
    found = {}
    for pattern, axes in transpose:
        names = fnmatch.filter(shapes, pattern)
        if not names:
            raise UsageError(f"--transpose {pattern}: no parameter has such a name")
        for name in names:
            rank = len(shapes[name])
            order = axes if axes is not None else (*range(2, rank), 1, 0)
            if sorted(order) == list(range(rank)):
                found[name] = order
            elif axes is not None:
                raise UsageError(
                    f"--transpose {pattern}: {axes} does not permute {name} of shape "
                    f"{tuple(shapes[name])}"
                )
    return found


def options(given: Sequence[str]) -> dict[str, Any]:
    """``lr=1e-3``, ``betas=[0.9,0.99]``: JSON values of torch's options."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            equals = ""
            read = None
        if not equals:
            raise UsageError(f"--option {text}: must be NAME=VALUE, as in lr=1e-3")
        found[key] = tuple(read) if isinstance(read, list) else read
    return found


def at_key(
    held: Any,
    key: str | None,
    usual: Sequence[str],
    fits: Callable[[Any], bool],
    what: str,
    *,
    optional: bool = False,
) -> tuple[Any, str | None]:
    """What lies at a key, at one of the usual keys, or is the whole; and its first key.

    Raises:
        ValueError: there is none, or it is something else.
    """
    if key is not None:
        found = held
        for part in key.split("."):
            try:
                found = _entered(found, part)
            except (KeyError, IndexError, ValueError, TypeError):
                raise ValueError(f"--{what}-key {key}: there is no {part!r}") from None
        if not fits(found):
            raise ValueError(f"--{what}-key {key}: what lies there is no {what}'s state")
        return found, key.split(".")[0]
    for name in usual:
        found = held[name] if isinstance(held, Mapping) and name in held else None
        if isinstance(found, list | tuple) and len(found) == 1:  # Lightning's optimizer
            found = found[0]
        if found is not None and fits(found):
            return found, name
    if not optional and fits(held):
        return held, None
    if optional:
        return None, None
    keys = ", ".join(map(str, held)) if isinstance(held, Mapping) else type(held).__name__
    raise ValueError(f"found no {what}'s state: pass --{what}-key; there are {keys}")


def _entered(found: Any, part: str) -> Any:
    return found[int(part)] if isinstance(found, list | tuple) else found[part]


def placed(values: Mapping[str, Any]) -> Any:
    """Values by keys with dots between, where `at_key` finds them: in dicts, and a list for 0.

    Raises:
        UsageError: one of them lies within another.
    """
    members: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        first, _, rest = key.partition(".")
        members.setdefault(first, {})[rest] = value
    for first, own in members.items():
        if "" in own and len(own) > 1:
            raise UsageError(f"--model-key and --optimizer-key: one lies within the other, {first}")
    made = {first: own[""] if "" in own else placed(own) for first, own in members.items()}
    return [made["0"]] if [*made] == ["0"] else made
