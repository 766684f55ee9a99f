"""Many tensors as one: state, and in the flat engine parameters and gradients, side by side.

A call of torch costs more than the arithmetic on a few thousand elements. Tensors keep their
identity and become views of one buffer of each kind, on which one call does the work of many.
Whatever is not where it was left, by address, is copied in: nothing done to parameters, gradients
or state is lost. A slot that a parameter has left may be another's memory by now (`q.data =
p.data`): it is not used again.
"""

from __future__ import annotations

import itertools
import operator
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .._memory import is_shared
from ._coefficients import rows
from ._formula import Batch

_ALIGNED = 16  # elements: a view starts on its own line of the cache

Run = Callable[[list[Tensor], Any], None]
"""Step the flat columns parameter, gradient, moments, given the rule's scalars."""


class OtherFormError(Exception):
    """State was replaced by tensors that its slots cannot hold, or must not."""


class Buffers:
    """Buffers for parameters of one dtype on one device, each in its slot.

    Attributes:
        params: the parameters, in the order of the slots.
    """

    @torch.inference_mode(False)
    @torch.no_grad()  # which leaving inference mode ends
    def __init__(self, batch: Batch, *, whole: bool) -> None:
        """Make room for a batch; with `whole`, its parameters move in.

        Args:
            batch: plain dense parameters of one dtype and device, their state as well.
            whole: parameters and gradients live in the buffers too; else they are copied in, and
                parameters out, in every step.
        """
        self.params = list(batch.params)
        self._whole = whole
        like = batch.params if whole else batch.moments[0]
        shapes = [t.shape for t in like]
        # Side by side without gaps, one call copies them, if only their first dimensions differ.
        self._dense = not whole and all(
            len(s) > 0 and s.numel() > 1 and s[1:] == shapes[0][1:] and t.is_contiguous()
            for s, t in zip(shapes, like, strict=True)
        )
        unit = 1 if self._dense else _ALIGNED
        sizes = [-(-s.numel() // unit) * unit for s in shapes]
        self._bounds = [0, *itertools.accumulate(sizes)]
        self._buffers = [like[0].new_zeros(self._bounds[-1]) for _ in range(2 + len(batch.moments))]
        self._views = [
            [
                buffer.as_strided(t.shape, t.stride(), start)
                for start, t in zip(self._bounds, like, strict=False)
            ]
            for buffer in self._buffers
        ]
        rest = shapes[0][1:] if self._dense else ()
        self._joined = [buffer.view(-1, *rest) for buffer in self._buffers[:2]]
        self._steps = torch.zeros(len(like), dtype=batch.steps[0].dtype, device="cpu")
        self._kept = [list(self._steps.unbind()), *self._views[2:]]
        self._addresses = [_addresses(column) for column in self._kept]
        self._inside = set(itertools.chain(*self._addresses))
        # Who was moved to a slot of the state last.
        self._holders: list[list[Any]] = [[None] * len(like) for _ in self._kept]
        self._slots = {id(p): slot for slot, p in enumerate(self.params)}
        self._all = range(len(like))
        self._last: list[Any] = [None] * len(like)
        if whole:
            torch._foreach_copy_(self._views[0], batch.params)
            for p, view in zip(batch.params, self._views[0], strict=True):
                p.data = view

    def gradients(self) -> dict[int, int]:
        """Address of each slot for a gradient -> id of its parameter; none if they are copied."""
        if not self._whole:
            return {}
        return dict(zip(_addresses(self._views[1]), map(id, self.params), strict=True))

    def fits(self, batch: Batch, i: int) -> bool:
        """Whether its slot for a parameter of the batch still has the right layout.

        Where the parameter lives there, it has not left it either.
        """
        slot = self._slots[id(batch.params[i])]
        like = batch.params[i] if self._whole else batch.moments[0][i]
        view = self._views[0][slot]
        stays = not self._whole or view.data_ptr() == like.data_ptr()
        return stays and (view.shape, view.stride()) == (like.shape, like.stride())

    def gathered(self, batch: Batch) -> tuple[Batch, Sequence[int]]:
        """Those parameters that are in the batch, in the order of their slots, the state moved in.

        Raises:
            OtherFormError: state that has another shape, dtype or device than its slot, or that
                other processes see; nothing has changed.
        """
        if same(batch.params, self.params):
            slots = self._all
        else:
            position = {id(p): i for i, p in enumerate(batch.params)}
            slots = sorted(self._slots[id(p)] for p in batch.params)
            batch = batch.take([position[id(self.params[slot])] for slot in slots])
        self._adopt((batch.steps, *batch.moments), slots)
        return batch, slots

    def step(self, batch: Batch, slots: Sequence[int], run: Run) -> None:
        """Count and take a step of what is gathered."""
        if self._whole:
            self._adopt_gradients(batch, slots)
        else:
            self._copy_in(batch, slots)
        for k, start, end in _runs(slots, self._count(batch, slots)):
            run([buffer[self._bounds[start] : self._bounds[end]] for buffer in self._buffers], k)
        if self._whole:
            # Autograd must see that parameters it may have saved have changed.
            torch.autograd.graph.increment_version(batch.params)
        else:
            torch._foreach_copy_(batch.params, self._at(0, slots))

    def release(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Give what lies in the buffers and is state memory of its own."""
        for p in self.params:
            for t in state.get(p, {}).values():
                if isinstance(t, Tensor) and t.data_ptr() in self._inside:
                    _move_out(t)

    def _count(self, batch: Batch, slots: Sequence[int]) -> list[Any]:
        if slots is self._all:
            self._steps.add_(1)
            return rows(batch, self._steps.tolist())
        self._steps[slots] += 1
        return rows(batch, self._steps[slots].tolist())

    def _at(self, column: int, slots: Sequence[int]) -> list[Tensor]:
        views = self._views[column]
        return views if slots is self._all else [views[slot] for slot in slots]

    def _adopt(self, columns: Iterable[list[Tensor]], slots: Sequence[int]) -> None:
        """Copy in what state does not lie in the buffers, and move it there."""
        moved = []
        for column, own, there, holders in zip(
            columns, self._kept, self._addresses, self._holders, strict=True
        ):
            here = _addresses(column)
            if slots is self._all and here == there:
                continue
            moved += [
                (t, own[slot], holders, slot)
                for t, address, slot in zip(column, here, slots, strict=True)
                if address != there[slot]
            ]
        for t, own, *_ in moved:
            same_form = (t.shape, t.dtype, t.device) == (own.shape, own.dtype, own.device)
            if not same_form or (is_shared(t) and not is_shared(own)):
                raise OtherFormError
        # Tensors may have changed places: all are read before one is written, and who lies in a
        # slot that becomes another's leaves it with what it holds.
        values = [t.clone() if t.data_ptr() in self._inside else t for t, *_ in moved]
        for value, (t, own, holders, slot) in zip(values, moved, strict=True):
            last = holders[slot] and holders[slot]()
            if last is not None and last is not t and last.data_ptr() == own.data_ptr():
                _move_out(last)
            own.copy_(value)
            t.data = own
            holders[slot] = weakref.ref(t)

    def _adopt_gradients(self, batch: Batch, slots: Sequence[int]) -> None:
        """Copy in what is not the view itself: a gradient may be made anew in every step."""
        views = self._views[1]
        if slots is self._all and same(batch.grads, views):
            return
        new = [i for i, slot in enumerate(slots) if batch.grads[i] is not views[slot]]
        if new:
            torch._foreach_copy_([views[slots[i]] for i in new], [batch.grads[i] for i in new])
        for i in new:
            slot, g = slots[i], batch.grads[i]
            # What is made anew may be kept by the user; what stays from step to step is moved.
            last = self._last[slot]
            if last is not None and last() is g:
                batch.params[i].grad = views[slot]
            self._last[slot] = weakref.ref(g)

    def _copy_in(self, batch: Batch, slots: Sequence[int]) -> None:
        for column, source in enumerate((batch.params, batch.grads)):
            if self._dense and slots is self._all:
                torch.cat(source, out=self._joined[column])
            else:
                torch._foreach_copy_(self._at(column, slots), source)


def _addresses(tensors: list[Tensor]) -> list[int]:
    return list(map(Tensor.data_ptr, tensors))


@torch.inference_mode(False)
@torch.no_grad()
def _move_out(t: Tensor) -> None:
    """Give a tensor memory of its own."""
    t.data = t.clone()


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two lists hold the same objects."""
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _runs(slots: Sequence[int], ks: list[Any]) -> Iterable[tuple[Any, int, int]]:
    """Ranges of neighbouring slots with the same scalars."""
    if isinstance(slots, range) and len(set(map(id, ks))) == 1:
        yield ks[0], 0, len(slots)
        return
    start = 0
    for i in range(1, len(slots) + 1):
        if i == len(slots) or slots[i] != slots[i - 1] + 1 or ks[i] is not ks[i - 1]:
            yield ks[start], slots[start], slots[i - 1] + 1
            start = i
