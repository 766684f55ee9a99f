"""`health` for torch: the core's figures, of the step that an optimizer would take now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from functional_adam import ALGORITHMS
from functional_adam.diagnostics import Figures, Health
from functional_adam.diagnostics._figures import Columns, Scalars, Sums, added, figures, sums
from functional_adam.diagnostics._find import refuse_unknown
from functional_adam.diagnostics._health import WIDTH, check_every

from ._health_columns import Sample, sample, stepped
from .few_bits import _storage
from .moving._parameters import Names, groups_of, named

_OPS = SimpleNamespace(
    abs=torch.abs,
    sqrt=torch.sqrt,
    where=lambda c, a, b: torch.where(c, a, b),
    total=lambda x: x.sum(-1),
    count=lambda x: x.sum(-1, dtype=torch.float32),
)


@torch.no_grad()
def health(optimizer: Optimizer, *, names: Names = None, every: int | None = None) -> Health:
    """Measure the step that `optimizer.step()` would take now, without taking it.

        loss.backward()
        found = health(optimizer)  # every so many steps
        optimizer.step()
        print(*summarize(found), sep="; ")

    What is measured is defined as for the core's `health`: moments after the step, parameters
    before it, gradients as they are in `p.grad` (unscaled ones: after `scaler.unscale_`). Called
    after `step()`, it is of a further step with the same gradients. Arithmetic is in float32 or
    wider; moments in few bits are decoded, and not rounded again. Nothing is changed, and only
    coordinates on a grid, at most 4096 of a parameter unless `every` says otherwise, are read.

    Args:
        optimizer: Adam, AdamW, NAdam, RAdam or Adamax, of `torch.optim` or of this package.
        names: `model.named_parameters()`; None: the names that the optimizer was given, else the
            parameters' numbers in the order of the groups.
        every: look at about one coordinate in so many; 1: at all of them.

    Returns:
        `functional_adam.diagnostics.Health` of Python floats: `groups` by the number of the
        optimizer's group, `leaves` a dict by name of the parameters with a gradient. `summarize`
        and `flatten` take it.

    Raises:
        TypeError: another optimizer; a sharded parameter or a sparse gradient.
        ValueError: no parameter has a gradient, a parameter has no name in names, the state is of
            another algorithm, every is out of range, or the figures are not defined for the
            optimizer (its rule has no `eps_cut`, as Lion's).

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = ft.Adam([p], lr=0.1)
        >>> p.sum().backward()
        >>> round(ft.health(optimizer, every=1).total.update_ratio, 4)
        0.1
    """
    check_every(every)
    owned = groups_of(optimizer)
    found: dict[str, tuple[Sums, Scalars, float]] = {}
    members: dict[str, list[str]] = {}
    known = _names(optimizer, names)
    for index, group in enumerate(optimizer.param_groups):
        algorithm = ALGORITHMS[owned[index].algorithm]
        refuse_unknown(algorithm)
        storage = _storage.storage_of(group)
        alike: dict[Any, dict[str, Sample]] = {}
        for p in group["params"]:
            if p.grad is None or p.numel() == 0:
                continue
            name = known[id(p)]
            one = sample(p, optimizer.state.get(p, {}), algorithm, storage, every, name)
            dtypes = (one.p.dtype, one.weight.dtype, one.g.dtype, *(m.dtype for m in one.moments))
            own = tuple(float(x) for x in one.scalars.values())
            alike.setdefault((one.before, own, one.p.device, dtypes), {})[name] = one
        for many in alike.values():
            columns, at = stepped([*many.values()], algorithm, group, storage)
            sizes = [one.p.numel() for one in many.values()]
            every_sum = _summed(columns, at, sizes, linear=algorithm.rule.linear)
            for (name, one), own in zip(many.items(), every_sum, strict=True):
                found[name] = own, at, one.stands_for
                members.setdefault(str(index), []).append(name)
    if not found:
        raise ValueError("no parameter has a gradient: call health between backward() and step()")
    leaves = {name: _of([x]) for name, x in found.items()}
    groups = {key: _of([found[name] for name in own]) for key, own in members.items()}
    return Health(_of([*found.values()]), groups, leaves)


def _summed(columns: Columns, at: Scalars, sizes: list[int], *, linear: bool) -> list[Sums]:
    """Sums of each parameter: of rows of all of them at once, zeros at their ends."""
    counts = [-(-size // WIDTH) for size in sizes]

    def rows(x: Tensor) -> Tensor:
        parts = [
            torch.nn.functional.pad(part, (0, -part.numel() % WIDTH)) for part in x.split(sizes)
        ]
        return torch.cat(parts).view(-1, WIDTH)

    by_row = sums(_OPS, Columns(*map(rows, columns)), at, linear)
    # One transfer from the device.
    table = torch.stack([x.double() for x in by_row if x is not None]).cpu().numpy()
    edges = np.cumsum([0, *counts[:-1]])
    each = iter(np.add.reduceat(table, edges, axis=1))
    totals = [None if x is None else next(each) for x in by_row]
    return [
        Sums(*(None if x is None else float(x[i]) for x in totals))._replace(seen=float(size))
        for i, size in enumerate(sizes)
    ]


def _of(many: list[tuple[Sums, Scalars, float]]) -> Figures:
    """Figures of some parameters, as floats."""
    sums_of, scalars, weights = zip(*many, strict=True)
    b1, c1, c2 = (min(getattr(at, field) for at in scalars) for field in ("b1", "c1", "c2"))
    with np.errstate(all="ignore"):
        made = figures(added(sums_of, weights), b1, c1, c2)
    return Figures(*(None if x is None else float(x) for x in made))


def _names(optimizer: Optimizer, names: Names) -> dict[int, str]:
    """Name of each parameter, by identity."""
    groups = optimizer.param_groups
    if names is None and not all("param_names" in group for group in groups):
        every = [p for group in groups for p in group["params"]]
        return {id(p): str(i) for i, p in enumerate(every)}
    return {id(p): name for name, p in named(optimizer, names)[0].items()}
