"""Many small tensors as one: copied side by side, stepped at once, copied back.

A call of torch costs more than the arithmetic on a few thousand elements; copying a list of tensors
is one call. torch's kernels give an element of float32 or float64 the same result wherever in a
tensor it stands, so nothing changes but the time. In half precision they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ._formula import Batch

SMALL = 4096
"""Elements up to which the default engine gathers a tensor; alone it is faster from about twice as
many on, where the copies cost what the calls did (2 cores with AVX-512, float32)."""

_CHUNK = 65536  # elements stepped at once: six such arrays of float32 fit a second-level cache
_EXACT = (torch.float32, torch.float64)
_PLAIN = (Tensor, torch.nn.Parameter)
_KEPT = 8  # scratches kept, each for one list of shapes

Run = Callable[[list[Tensor], Any], None]
"""Step the columns parameter, gradient, moments of a batch, given the rule's scalars."""


class Scratches:
    """Scratch memory for lists of tensors met before."""

    def __init__(self) -> None:
        self._kept: dict[Any, _Scratch] = {}

    def step(self, batch: Batch, rows: list[Any], members: Iterable[int], run: Run) -> None:
        """Step parameters that `can_gather`, as many at once as have the same scalars."""
        for k, chunk in _chunks(batch, rows, members):
            columns = [
                [column[i] for i in chunk] for column in (batch.params, batch.grads, *batch.moments)
            ]
            scratch = self._for(columns[0], len(columns))
            scratch.load(columns)
            run(scratch.columns, k)
            scratch.store(columns)

    def _for(self, params: list[Tensor], columns: int) -> _Scratch:
        key = (params[0].dtype, params[0].device, columns, tuple(p.shape for p in params))
        if key not in self._kept:
            if len(self._kept) == _KEPT:
                self._kept.clear()
            self._kept[key] = _Scratch(params, columns)
        return self._kept[key]


def is_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether they are ordinary tensors, not of a subclass with operations of its own."""
    return all(type(t) in _PLAIN for t in tensors)


def can_gather(batch: Batch, i: int, small: int, dtypes: tuple[torch.dtype, ...] = _EXACT) -> bool:
    """Whether a parameter may be stepped as part of a larger tensor: plain, small, of one dtype."""
    p = batch.params[i]
    dtype = p.dtype
    return (
        p.is_cpu
        and 0 < p.numel() <= small
        and dtype in dtypes
        and type(p) in _PLAIN
        and batch.grads[i].dtype == dtype
        and all(column[i].dtype == dtype for column in batch.moments)
    )


class _Scratch:
    """One contiguous array for each column of a list of tensors, and views of their shapes."""

    def __init__(self, params: list[Tensor], columns: int) -> None:
        sizes = [p.numel() for p in params]
        # At least a vector's worth: a compiler would make a program of its own for one element.
        room = max(sum(sizes), 64)
        self.columns = [params[0].new_zeros(room) for _ in range(columns)]
        self._filled = [column[: sum(sizes)] for column in self.columns]
        self._views = [
            [part.view(p.shape) for part, p in zip(filled.split(sizes), params, strict=True)]
            for filled in self._filled
        ]
        self._vectors = all(p.dim() == 1 for p in params)

    def load(self, columns: list[list[Tensor]]) -> None:
        """Copy all columns in."""
        for filled, views, column in zip(self._filled, self._views, columns, strict=True):
            if self._vectors:
                torch.cat(column, out=filled)
            else:
                torch._foreach_copy_(views, column)

    def store(self, columns: list[list[Tensor]]) -> None:
        """Copy all but the gradients back."""
        for i, column in enumerate(columns):
            if i != 1:
                torch._foreach_copy_(column, self._views[i])


def _chunks(
    batch: Batch, rows: list[Any], members: Iterable[int]
) -> Iterable[tuple[Any, list[int]]]:
    """Positions of the same dtype and scalars, with those scalars, a chunk at a time."""
    open_chunks: dict[Any, list[int]] = {}
    sizes: dict[Any, int] = {}
    for i in members:
        key = (id(rows[i]), batch.params[i].dtype)
        size = sizes.get(key, 0) + batch.params[i].numel()
        if size > _CHUNK and key in open_chunks:
            chunk = open_chunks.pop(key)
            yield rows[chunk[0]], chunk
            size = batch.params[i].numel()
        sizes[key] = size
        open_chunks.setdefault(key, []).append(i)
    for chunk in open_chunks.values():
        yield rows[chunk[0]], chunk
