"""Which tensor of a torch optimizer is which: names of parameters, in torch and in JAX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from .record import Group, algorithm_of

Names = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None
"""``model.named_parameters()``, or a dict of it; None where the optimizer was given names."""

Paths = Mapping[str, str | Sequence[Any]] | None
"""torch's name -> path in the JAX tree: keys with dots between, or a sequence of keys."""


def named(optimizer: Optimizer, names: Names) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parameters by name, shared ones once, by their first name; and the other names of these.

    Raises:
        ValueError: the optimizer has parameters without a name, or two have the same.
    """
    given = _own_names(optimizer) if names is None else names
    pairs: list[Any] = list(given.items() if isinstance(given, Mapping) else given)
    found: dict[str, Tensor] = {}
    first: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name, p in pairs:
        if not isinstance(p, Tensor):
            raise TypeError(f"names must be pairs of a name and a parameter, got {name!r}: {p!r}")
        if id(p) in first:
            aliases[name] = first[id(p)]
        elif name in found:
            raise ValueError(f"two parameters are named {name!r}")
        else:
            found[name], first[id(p)] = p, name
    nameless = [
        f"group {i}, parameter {j}, shape {tuple(p.shape)}"
        for i, group in enumerate(optimizer.param_groups)
        for j, p in enumerate(group["params"])
        if id(p) not in first
    ]
    if nameless:
        raise ValueError("the optimizer has parameters that names lacks: " + "; ".join(nameless))
    return found, aliases


def _own_names(optimizer: Optimizer) -> list[tuple[str, Tensor]]:
    if not all("param_names" in group for group in optimizer.param_groups):
        raise ValueError(
            "names is needed: pass names=model.named_parameters(), or give the optimizer "
            "model.named_parameters() in place of model.parameters()"
        )
    return [
        pair
        for group in optimizer.param_groups
        for pair in zip(group["param_names"], group["params"], strict=True)
    ]


def dotted_paths(paths: Paths, known: Iterable[str]) -> dict[str, str]:
    """Torch's name -> dotted path, of those that change.

    Raises:
        ValueError: a name is unknown.
    """
    paths = paths or {}
    if unknown := sorted(paths.keys() - {*known}):
        raise ValueError(f"paths names parameters that are not there: {', '.join(unknown)}")
    return {
        name: path if isinstance(path, str) else ".".join(map(str, path))
        for name, path in paths.items()
    }


def group_of(optimizer: Optimizer) -> dict[int, int]:
    """Index of the group of each parameter, by identity."""
    return {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}


def is_frozen(p: Tensor) -> bool:
    """Whether no gradient can come: torch's optimizers then leave a parameter alone."""
    return not p.requires_grad and p.grad is None


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group says besides its parameters."""
    return {key: value for key, value in group.items() if key not in ("params", "param_names")}


def groups_of(optimizer: Optimizer) -> list[Group]:
    """The algorithm and the options of each group.

    Raises:
        TypeError: it is an optimizer of no class that is known.
    """
    family = family_of(optimizer)
    every = [options_of(group) for group in optimizer.param_groups]
    return [Group(algorithm_of(family, options).name, options) for options in every]


def family_of(optimizer: Optimizer) -> str:
    """Name of the class of torch.optim, or of ours of the table, that an optimizer is.

    Raises:
        TypeError: it is none of them.
    """
    from torch import optim

    from .._made import Made

    if isinstance(optimizer, Made):
        return optimizer.row.torch_class

    for kind in (optim.AdamW, optim.Adam, optim.NAdam, optim.RAdam, optim.Adamax):
        if isinstance(optimizer, kind):
            return kind.__name__
    raise TypeError(
        f"optimizer must be Adam, AdamW, NAdam, RAdam or Adamax, of torch.optim or of "
        f"functional_adam_torch, or another of its classes, got {type(optimizer).__name__}"
    )
