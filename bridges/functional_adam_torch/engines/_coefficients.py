"""The scalars of a step, by the core's own `coefficients`: on the host in double, or as tensors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._formula import Batch


def on_host(batch: Batch, *, in_lists: bool = False) -> list[Any]:
    """Count the step and return the rule's scalars for each parameter, in Python doubles.

    Args:
        batch: the parameters.
        in_lists: its own scalars are to be rounded as torch's lists of tensors are.
    """
    if all(map(operator.attrgetter("is_cpu"), batch.steps)):
        # A number would be wrapped into a tensor once for each step.
        torch._foreach_add_(batch.steps, torch.ones((), device="cpu"), alpha=1.0)
    else:
        torch._foreach_add_(batch.steps, 1)
    return rows(batch, list(map(Tensor.item, batch.steps)), in_lists=in_lists)


def rows(batch: Batch, counts: list[float], *, in_lists: bool = False) -> list[Any]:
    """The rule's scalars at these counts, which include the step; its own scalars are updated.

    Parameters at the same step share one object.
    """
    rule = batch.formula.algorithm.rule
    if not batch.scalars and len(set(counts)) == 1:
        return [rule.coefficients(counts[0], batch.h, {})] * len(counts)
    kept = [[_scalar(x, in_lists) for x in column] for column in batch.scalars.values()]
    # Equal numbers of two dtypes are one key without it, and multiply otherwise.
    dtypes = [map(operator.attrgetter("dtype"), column) for column in batch.scalars.values()]
    keys = list(zip(counts, *kept, *dtypes, strict=True))
    made = {
        key: rule.coefficients(key[0], batch.h, dict(zip(batch.scalars, key[1:], strict=False)))
        for key in dict.fromkeys(keys)
    }
    ks = [made[key] for key in keys]
    for name, column in batch.scalars.items():
        for stored, k in zip(column, ks, strict=True):
            stored.fill_(getattr(k, name))
    return ks


def for_autograd(batch: Batch) -> list[Any]:
    """As `on_host`, with the rule's own scalars as tensors that autograd follows."""
    if not batch.scalars:
        return on_host(batch)
    torch._foreach_add_(batch.steps, 1)
    rule = batch.formula.algorithm.rule
    ks = []
    for i, step in enumerate(batch.steps):
        kept = {name: column[i].clone() for name, column in batch.scalars.items()}
        ks.append(rule.coefficients(step.item(), batch.h, kept))
        for name, column in batch.scalars.items():
            column[i].copy_(getattr(ks[-1], name))
    return ks


def as_tensors(batch: Batch) -> list[Any]:
    """As `on_host`, in 0-d float64 tensors on the device of the steps, without reading a value.

    All parameters must have their steps on one device.
    """
    rule = batch.formula.algorithm.rule
    torch._foreach_add_(batch.steps, 1)
    scalars = {name: torch.stack(column) for name, column in batch.scalars.items()}
    k = rule.coefficients(torch.stack(batch.steps).double(), batch.h, scalars)
    for name, column in batch.scalars.items():
        torch._foreach_copy_(column, list(getattr(k, name).unbind()))
    # Numbers and the user's own 0-d tensors are the same for all.
    columns = [
        x.unbind() if isinstance(x, Tensor) and x.dim() else [x] * len(batch.steps) for x in k
    ]
    return [type(k)(*row) for row in zip(*columns, strict=True)]


def _scalar(stored: Tensor, in_lists: bool) -> Any:
    if stored.dtype in (torch.bfloat16, torch.float16):
        return _Half(stored, in_lists)
    # A NumPy scalar multiplies in its own precision, as the tensor would.
    return np.dtype(str(stored.dtype).removeprefix("torch.")).type(stored.item())


class _Half(float):
    """A half that multiplies as its tensor does, which in a list rounds the factor as well."""

    _stored: Tensor
    _in_list: bool

    def __new__(cls, stored: Tensor, in_list: bool) -> _Half:
        self = super().__new__(cls, stored.item())
        self._stored, self._in_list = stored, in_list
        return self

    def __mul__(self, factor: Any) -> float:
        product = self._stored.clone()
        if self._in_list:
            torch._foreach_mul_([product], [factor])
        else:
            product.mul_(factor)
        return product.item()
