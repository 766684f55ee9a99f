"""Which parameters of a batch are stepped in buffers, and the buffers of all groups."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._buffers import Buffers, Run, same
from ._formula import Batch

_PLAIN = {Tensor, torch.nn.Parameter}
_dtype, _device = operator.attrgetter("dtype"), operator.attrgetter("device")


@dataclasses.dataclass(frozen=True)
class Terms:
    """Which parameters an engine steps in buffers.

    Attributes:
        whole: parameters and gradients are to live there too.
        dtypes: those of the parameters.
        small: elements up to which; None: any.
    """

    whole: bool
    dtypes: tuple[torch.dtype, ...]
    small: int | None


class Arena:
    """The buffers of an optimizer. A parameter, once in a buffer, stays there while it fits."""

    def __init__(self) -> None:
        self._owners: dict[Any, dict[int, Buffers]] = {}
        self._plans: dict[Any, _Plan] = {}

    def step(
        self,
        batch: Batch,
        group: int,
        terms: Terms,
        run: Run,
        groups: Sequence[Mapping[str, Any]],
    ) -> list[int]:
        """Count and take a step of the parameters that meet the terms.

        Args:
            batch: parameters of one group.
            group: its number.
            terms: which of them.
            run: steps what lies side by side.
            groups: all param groups: what has left them is let go of.

        Returns:
            Positions of the others.
        """
        plan = self._plans.get((group, terms))
        signature = _signature(batch, terms)
        if plan is None or not (same(batch.params, plan.params) and signature == plan.signature):
            self._forget({id(p) for g in groups for p in g["params"]})
            plan = self._plans[group, terms] = self._plan(batch, group, terms, signature)
        for buffers, members in plan.parts:
            part = batch if len(members) == len(batch.params) else batch.take(members)
            buffers.step(part, run)
        return plan.others

    def release(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Move all state out of the buffers; the next step moves it in again."""
        for buffers in {
            id(b): b for owners in self._owners.values() for b in owners.values()
        }.values():
            buffers.release(state)

    def _forget(self, present: set[int]) -> None:
        """Let go of parameters that are not in the optimizer any more."""
        for key, owners in list(self._owners.items()):
            # A buffer holds its parameters: an id is theirs as long as it is here.
            gone = {id(b) for i, b in owners.items() if i not in present}
            if gone:
                self._owners[key] = {i: b for i, b in owners.items() if id(b) not in gone}
                self._plans.clear()

    def _plan(self, batch: Batch, group: int, terms: Terms, signature: list[Any]) -> _Plan:
        kinds: dict[Any, list[int]] = {}
        shared = _sharing_memory(batch.params)
        for i, p in enumerate(batch.params):
            key = None
            if i not in shared and _meets(batch, i, terms):
                key = (group, terms, p.dtype, p.device, batch.steps[i].dtype)
            kinds.setdefault(key, []).append(i)
        others = kinds.pop(None, [])
        parts: dict[int, tuple[Buffers, list[int]]] = {}
        for key, members in kinds.items():
            owners = self._owners.setdefault(key, {})
            new = [i for i in members if not _fits(owners.get(id(batch.params[i])), batch, i)]
            if len(new) == 1 and not terms.whole:
                others += new
            elif new:
                buffers = Buffers(batch.take(new), whole=terms.whole)
                owners.update((id(batch.params[i]), buffers) for i in new)
            for i in members:
                owner = owners.get(id(batch.params[i]))
                if owner is not None and i not in others:
                    parts.setdefault(id(owner), (owner, []))[1].append(i)
        return _Plan(list(batch.params), signature, list(parts.values()), others)


class _Plan(NamedTuple):
    """Who steps which parameters, as long as they are what they were."""

    params: list[Tensor]
    signature: list[Any]
    parts: list[tuple[Buffers, list[int]]]
    others: list[int]


def _signature(batch: Batch, terms: Terms) -> list[Any]:
    """What may change under the same parameters, by `p.data = ...`, `p.grad = ...` or `to`."""
    signature = [
        list(map(Tensor.size, batch.params)),
        list(map(_dtype, batch.params)),
        list(map(_dtype, batch.grads)),
        list(map(_device, batch.params)),
        list(map(_dtype, batch.steps)),
        list(map(Tensor.size, batch.steps)),
    ]
    # Parameters that are copied in and out may be tied at any time.
    own = Tensor.stride if terms.whole else Tensor.data_ptr
    return [*signature, list(map(own, batch.params))]


def _meets(batch: Batch, i: int, terms: Terms) -> bool:
    p = batch.params[i]
    moments = [column[i] for column in batch.moments]
    tensors = [p, batch.grads[i], *moments]
    return (
        p.dtype in terms.dtypes
        and p.numel() > 0
        and (terms.small is None or p.numel() <= terms.small)
        and is_plain(tensors)
        and all(t.dtype == p.dtype and t.device == p.device for t in tensors)
        and all(is_dense(t) for t in ([p] if terms.whole else moments))
        and batch.steps[i].is_cpu
        and batch.steps[i].ndim == 0
    )


def _sharing_memory(params: Sequence[Tensor]) -> set[int]:
    """Positions of parameters that have elements in common with others: torch steps them in turn,
    each from where the last one ended.
    """
    spans = []
    for i, p in enumerate(params):
        if p.numel() and is_plain([p]):
            last = sum((n - 1) * step for n, step in zip(p.shape, p.stride(), strict=True))
            start = p.data_ptr()
            spans.append((start, start + (last + 1) * p.element_size(), i))
    found: set[int] = set()
    end, holder = 0, -1
    for start, stop, i in sorted(spans):
        if start < end:
            found |= {i, holder}
        if stop > end:
            end, holder = stop, i
    return found


def _fits(buffers: Buffers | None, batch: Batch, i: int) -> bool:
    return buffers is not None and buffers.fits(batch, i)


def is_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether they are ordinary tensors, not of a subclass with operations of its own."""
    return _PLAIN.issuperset(map(type, tensors))


def is_dense(t: Tensor) -> bool:
    """Whether its elements fill a piece of memory, in any order of dimensions."""
    return t.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(t)
