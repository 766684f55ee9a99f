"""Where the elements of tensors lie: which of them lie together, and which are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_PLAIN = {Tensor, torch.nn.Parameter}


def sharing_memory(params: Sequence[Tensor]) -> set[int]:
    """Ids of parameters that have elements in common with others, or are given twice: torch steps
    them in turn, each from where the last one ended. Interleaved ones are taken for such.
    """
    spans = []
    for p in params:
        if p.numel() and is_plain([p]):
            start = p.data_ptr()
            spans.append((start, start + _reach(p) * p.element_size(), id(p)))
    found: set[int] = set()
    end, holder = 0, -1
    for start, stop, own in sorted(spans):
        if start < end:
            found |= {own, holder}
        if stop > end:
            end, holder = stop, own
    return found


def overlaps_itself(t: Tensor) -> bool:
    """Whether elements of a tensor share memory, as those of an expanded or unfolded one."""
    repeats = any(step == 0 and n > 1 for n, step in zip(t.shape, t.stride(), strict=True))
    return t.numel() > 0 and (repeats or _reach(t) < t.numel())


def _reach(t: Tensor) -> int:
    """Elements from the first to the last."""
    return 1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))


def is_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether they are ordinary tensors, not of a subclass with operations of its own."""
    return _PLAIN.issuperset(map(type, tensors))


def is_dense(t: Tensor) -> bool:
    """Whether its elements fill a piece of memory, in any order of dimensions."""
    return t.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(t)


def is_shared(t: Tensor) -> bool:
    """Whether other processes may see its memory: it must stay where it is."""
    return t.is_cpu and t.is_shared()
