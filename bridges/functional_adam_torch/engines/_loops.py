"""The engines of torch itself: a loop over tensors, in place or not, and lists of tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..primitives import _foreach, _functional, _single
from ._formula import Batch


def single(batch: Batch, rows: list[Any], members: Iterable[int]) -> None:
    """Step parameters one by one, in place: `torch.optim` with `foreach=False`, bit for bit."""
    formula = batch.formula
    for i in members:
        # Of a complex number torch's kernel negates zeros otherwise than of two real ones.
        p, g = batch.params[i], formula.directed(_single, batch.grads[i])
        if not batch.decays_complex:
            p, g = as_real([p, g])
        p, g = formula.decayed(_single, p, g, batch.shrink)
        moments = [column[i] for column in batch.moments]
        formula.algorithm.rule.step(_single, *as_real([p, g, *moments]), rows[i])


def functional(batch: Batch, rows: list[Any], members: Iterable[int], *, keep: bool) -> None:
    """Step parameters one by one, computing out of place; what changes is written at the end.

    Args:
        batch, rows: as for every engine.
        members: positions of the parameters.
        keep: autograd follows: it may have saved what is overwritten, so it is given copies.
    """
    for i in members:
        targets = as_real([batch.params[i], *(column[i] for column in batch.moments)])
        p, *moments = [t.clone() for t in targets] if keep else targets
        (g,) = as_real([batch.grads[i]])
        results = batch.formula(_functional, p, g, moments, rows[i], batch.shrink)
        for target, result in zip(targets, results, strict=True):
            target.copy_(result)


def foreach(batch: Batch, rows: list[Any], members: Iterable[int]) -> list[int]:
    """Step lists of tensors: `torch.optim` with `foreach=True`, bit for bit.

    Returns:
        Positions that are left: none.
    """

    def kind(i: int) -> tuple[str, str]:
        return str(batch.params[i].device), str(batch.params[i].dtype)

    for _, same in itertools.groupby(sorted(members, key=kind), key=kind):
        bucket = list(same)
        ps, gs, *moments = (
            as_real([column[i] for i in bucket])
            for column in (batch.params, batch.grads, *batch.moments)
        )
        k = _columns([rows[i] for i in bucket])
        batch.formula(_foreach, ps, gs, moments, k, batch.shrink)
    return []


def as_real(tensors: list[Tensor]) -> list[Tensor]:
    """Complex tensors as two reals, views of the same storage."""
    return [torch.view_as_real(t) if torch.is_complex(t) else t for t in tensors]


def _columns(rows: list[Any]) -> Any:
    """Scalars of many tensors: one number where all agree, else a list."""
    if all(row is rows[0] for row in rows):
        return rows[0]
    columns = (list(column) for column in zip(*rows, strict=True))
    merged = (c[0] if all(x == c[0] for x in c) else c for c in columns)
    return type(rows[0])(*merged)
