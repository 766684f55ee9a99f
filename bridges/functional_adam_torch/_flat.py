"""The flat engine: parameters, gradients and state as views of one buffer of each kind.

One kernel steps all parameters of a dtype in a group. Whatever is not as it was left is noticed, by
address or identity, and copied in: nothing done to parameters, gradients or state is lost.
"""

from __future__ import annotations

import itertools
import operator
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ._coefficients import rows
from ._compile import DTYPES
from ._formula import Batch
from ._gather import Run, is_plain

_ALIGNED = 16  # elements: every view starts on its own line of the cache


def can_flatten(batch: Batch, i: int) -> bool:
    """Whether a parameter may live in a buffer: plain, dense, real, its state of its dtype."""
    columns = [batch.params[i], batch.grads[i], *(column[i] for column in batch.moments)]
    p = batch.params[i]
    return (
        is_plain(columns)
        and p.dtype in DTYPES
        and p.numel() > 0
        and all(t.dtype == p.dtype for t in columns)
        and _is_dense(p)
    )


class Flat:
    """The buffers of one dtype and device in one group, for parameters that have had gradients.

    Attributes:
        params: the parameters, each in its slot.
    """

    @classmethod
    def around(cls, batch: Batch, old: Flat | None) -> Flat:
        """New buffers for the batch and, where they still fit, for the parameters of old ones."""
        like = batch.params[0]
        kept = [p for p in (old.params if old else ()) if p.dtype == like.dtype and _is_dense(p)]
        params = list({id(p): p for p in [*kept, *batch.params]}.values())
        return cls(params, 2 + len(batch.moments), batch.steps[0])

    def __init__(self, params: list[Tensor], columns: int, steps: Tensor) -> None:
        sizes = [-(-p.numel() // _ALIGNED) * _ALIGNED for p in params]
        self.params = params
        self._slots = {id(p): slot for slot, p in enumerate(params)}
        self._bounds = [0, *itertools.accumulate(sizes)]
        self._shapes = [(p.shape, p.stride()) for p in params]
        self._buffers = [params[0].new_zeros(self._bounds[-1]) for _ in range(columns)]
        self._views = [
            [
                buffer.as_strided(*layout, start)
                for start, layout in zip(self._bounds, self._shapes, strict=False)
            ]
            for buffer in self._buffers
        ]
        self._addresses = [view.data_ptr() for view in self._views[0]]
        self._steps = torch.zeros(len(params), dtype=steps.dtype)
        self._step_views = list(self._steps.unbind())
        self._last: list[Any] = [None] * len(params)

    def fits(self, params: list[Tensor]) -> bool:
        """Whether these are among its parameters, in shapes and strides that it made room for."""
        if not _same(params, self.params):
            slots = [self._slots.get(id(p)) for p in params]
            if None in slots:
                return False
            layouts = [self._shapes[slot] for slot in slots if slot is not None]
        else:
            layouts = self._shapes
        return all(
            p.shape == shape and p.stride() == stride
            for p, (shape, stride) in zip(params, layouts, strict=True)
        )

    def step(self, batch: Batch, state: Any, run: Run) -> None:
        """Step those of its parameters that are in the batch."""
        everything = _same(batch.params, self.params)
        slots = (
            list(range(len(self.params)))
            if everything
            else sorted(self._slots[id(p)] for p in batch.params)
        )
        if not everything:
            position = {id(p): i for i, p in enumerate(batch.params)}
            batch = batch.take([position[id(self.params[slot])] for slot in slots])
        self._adopt(batch, slots, state)
        if everything:
            self._steps.add_(1)
        else:
            self._steps[slots] += 1
        counts = self._steps.tolist()
        ks = rows(batch, [counts[slot] for slot in slots])
        for k, start, end in _runs(slots, ks):
            run([buffer[self._bounds[start] : self._bounds[end]] for buffer in self._buffers], k)

    def _adopt(self, batch: Batch, slots: list[int], state: Any) -> None:
        """Copy in what is not a view of the buffers, and put the view in its place."""
        algorithm = batch.formula.algorithm
        for slot, p in zip(slots, batch.params, strict=True):
            if p.data_ptr() != self._addresses[slot]:
                view = self._views[0][slot]
                view.copy_(p)
                p.data = view
        keys = [algorithm.torch_state[name] for name in algorithm.rule.moments]
        kept = zip(
            ["step", *keys],
            [batch.steps, *batch.moments],
            [self._step_views, *self._views[2:]],
            strict=True,
        )
        for key, column, views in kept:
            for i, slot in enumerate(slots):
                if column[i] is not views[slot]:
                    views[slot].copy_(column[i])
                    state[batch.params[i]][key] = views[slot]
        self._adopt_gradients(batch, slots)

    def _adopt_gradients(self, batch: Batch, slots: list[int]) -> None:
        views = self._views[1]
        new = [i for i, slot in enumerate(slots) if batch.grads[i] is not views[slot]]
        if not new:
            return
        torch._foreach_copy_([views[slots[i]] for i in new], [batch.grads[i] for i in new])
        for i in new:
            slot, g = slots[i], batch.grads[i]
            # A gradient made anew in every step may be kept by the user; one that stays is ours.
            last = self._last[slot]
            if last is not None and last() is g:
                batch.params[i].grad = views[slot]
            self._last[slot] = weakref.ref(g)


def _is_dense(p: Tensor) -> bool:
    return p.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(p)


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _runs(slots: list[int], ks: list[Any]) -> Iterable[tuple[Any, int, int]]:
    """Ranges of neighbouring slots with the same scalars."""
    start = 0
    for i in range(1, len(slots) + 1):
        if i == len(slots) or slots[i] != slots[i - 1] + 1 or ks[i] is not ks[i - 1]:
            yield ks[start], slots[start], slots[i - 1] + 1
            start = i
