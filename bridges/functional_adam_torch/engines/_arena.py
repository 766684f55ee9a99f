"""Which parameters of a batch are stepped in buffers, and the buffers of all groups."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._memory import is_dense, is_plain, is_shared, sharing_memory
from ._buffers import Buffers, OtherFormError, Run, same
from ._formula import Batch

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
        self._gradients: dict[int, int] = {}  # address of a slot -> id of its parameter

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
        if plan is None or not plan.holds(batch, terms):
            plan = self._plan(batch, group, terms, groups)
        try:
            gathered = _gathered(plan, batch)
        except OtherFormError:
            plan = self._plan(batch, group, terms, groups)
            gathered = _gathered(plan, batch)
        if self._gradients and self._have_moved(batch):
            _part_gradients(self._gradients, groups)
            grads = [p.grad for p in batch.params]
            gathered = _gathered(plan, dataclasses.replace(batch, grads=grads))
        for (buffers, _), (part, slots) in zip(plan.parts, gathered, strict=True):
            buffers.step(part, slots, run)
        return plan.others

    def release(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Move all state out of the buffers; the next step moves it in again."""
        for buffers in self._buffers():
            buffers.release(state)

    def _buffers(self) -> Iterable[Buffers]:
        return {id(b): b for owners in self._owners.values() for b in owners.values()}.values()

    def _have_moved(self, batch: Batch) -> bool:
        """Whether a gradient lies in the slot of another parameter."""
        slots = self._gradients
        addresses = map(Tensor.data_ptr, batch.grads)
        return any(
            address in slots and slots[address] != id(p)
            for address, p in zip(addresses, batch.params, strict=True)
        )

    def _forget(self, present: set[int]) -> None:
        """Let go of parameters that are not in the optimizer any more."""
        for key, owners in list(self._owners.items()):
            # A buffer holds its parameters: an id is theirs as long as it is here.
            gone = {id(b) for i, b in owners.items() if i not in present}
            if gone:
                self._owners[key] = {i: b for i, b in owners.items() if id(b) not in gone}
                self._plans.clear()

    def _plan(
        self, batch: Batch, group: int, terms: Terms, groups: Sequence[Mapping[str, Any]]
    ) -> _Plan:
        everything = [p for g in groups for p in g["params"]]
        self._forget(set(map(id, everything)))
        kinds: dict[Any, list[int]] = {}
        # What moves must not leave behind what it is tied to, stepped here or not.
        shared = sharing_memory(everything if terms.whole else batch.params)
        for i, p in enumerate(batch.params):
            batch.check_shapes(i)
            key = None
            if id(p) not in shared and _meets(batch, i, terms):
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
        # Parameters may have moved: what is to stay as it is now.
        signature = _signature(batch, terms)
        plan = _Plan(list(batch.params), signature, list(parts.values()), others)
        self._plans[group, terms] = plan
        self._gradients = {
            k: v for buffers in self._buffers() for k, v in buffers.gradients().items()
        }
        return plan


class _Plan(NamedTuple):
    """Who steps which parameters, as long as they are what they were."""

    params: list[Tensor]
    signature: list[Any]
    parts: list[tuple[Buffers, list[int]]]
    others: list[int]

    def holds(self, batch: Batch, terms: Terms) -> bool:
        """Whether it is one for this batch."""
        return same(batch.params, self.params) and _signature(batch, terms) == self.signature


def _gathered(plan: _Plan, batch: Batch) -> list[tuple[Batch, Sequence[int]]]:
    """What each part steps; nothing is stepped before all have their state."""
    return [
        buffers.gathered(batch if len(members) == len(batch.params) else batch.take(members))
        for buffers, members in plan.parts
    ]


def _part_gradients(slots: Mapping[int, int], groups: Sequence[Mapping[str, Any]]) -> None:
    """Give gradients that lie in the slots of other parameters memory of their own."""
    for p in (p for g in groups for p in g["params"]):
        if p.grad is not None and slots.get(p.grad.data_ptr(), id(p)) != id(p):
            p.grad = p.grad.clone()


def _signature(batch: Batch, terms: Terms) -> list[Any]:
    """What may change under the same parameters, by `p.data = ...`, `p.grad = ...` or `to`."""
    signature = [
        list(map(Tensor.size, batch.params)),
        list(map(_dtype, batch.params)),
        list(map(_dtype, batch.grads)),
        list(map(_device, batch.params)),
        list(map(_dtype, batch.steps)),
        list(map(Tensor.size, batch.steps)),
        # Parameters may be tied at any time.
        list(map(Tensor.data_ptr, batch.params)),
    ]
    return [*signature, list(map(Tensor.stride, batch.params))] if terms.whole else signature


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
        and not any(map(is_shared, (p, *moments, batch.steps[i])))
        and batch.steps[i].is_cpu
        and batch.steps[i].ndim == 0
    )


def _fits(buffers: Buffers | None, batch: Batch, i: int) -> bool:
    return buffers is not None and buffers.fits(batch, i)
