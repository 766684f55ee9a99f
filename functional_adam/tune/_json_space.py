"""Spaces as JSON, for the head of a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ._dimension import Dimension
from .space import Space


def space_record(space: Space) -> dict[str, Any]:
    """A space as lists, numbers and names; raises TypeError where a value is none of these."""
    record = dict(
        dimensions=[dataclasses.asdict(d) for d in space.dimensions], fixed=dict(space.fixed)
    )
    return _plain(record, "the space")


def space_of(record: Mapping[str, Any]) -> Space:
    """The space that `space_record` wrote."""
    dimensions = []
    for fields in record["dimensions"]:
        fields = dict(fields)
        fields["choices"] = tuple(fields["choices"])
        fields["bounds"] = None if fields["bounds"] is None else tuple(fields["bounds"])
        dimensions.append(Dimension(**fields))
    return Space(tuple(dimensions), dict(record["fixed"]))


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{where}, {key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{where}: must be a number, a bool or a name to be logged, got {value!r}")
    return value
