"""One step of parameters that are stored in few bits: decode, step, clip at the bound, encode.

The counterpart of the core's `_coded` and `with_master`. What is computed, eagerly or compiled, is
one function of flat columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from functional_adam._bits import hashed, keys, of_moment
from functional_adam._codecs import as_bfloat16
from functional_adam._halves import join, split
from functional_adam._int8 import completed, decoded, encoded
from functional_adam._leaf import is_signed
from functional_adam._ops import Keeping

from ..engines._formula import Formula
from ..primitives import _words
from ._storage import Form

CHUNK = 65536
"""Elements that one operation after another is done on, on a CPU: what they need fits a cache."""


class Scalars(NamedTuple):
    """What the elements of a parameter share in a step: numbers, or 0-d tensors."""

    k: Any  # the rule's coefficients
    shrink: Any  # coefficient of coupled decay; with coded moments minus the share that is lost
    limit: Any  # largest step; unused where moments are not coded
    moment_keys: tuple[Any, Any]
    weight_keys: tuple[Any, Any]


def random_keys(seed: int, counts: list[int], leaves: list[int]) -> list[tuple[int, int]]:
    """The two words of each leaf, at these counts of updates made so far."""
    given = ([seed] * len(leaves), counts, leaves)
    columns = [torch.tensor([_words.constant(x) for x in c], dtype=torch.int32) for c in given]
    return list(zip(*(x.tolist() for x in keys(*columns, ops=_words)), strict=True))


def step(
    ops: Any, formula: Formula, form: Form, at: Scalars, index: Tensor, columns: list[Tensor]
) -> list[Tensor]:
    """New values of what is stored.

    Args:
        ops: namespace of the rules' primitives.
        formula: rule, decay, direction.
        form: how the parameter is stored.
        at: scalars of the step.
        index: row-major indices of the elements, int32, flat.
        columns: flat: gradient, parameter, then what `keys_of` names; exponents are shorter.

    Returns:
        The columns but the first; those that `ops` stepped in place are the same tensors.
    """
    g, p, *rest = columns
    low, rest = (rest[0], rest[1:]) if form.extra else (None, rest)
    codes, fields = _grouped(form, rest), formula.algorithm.rule.moments
    weight = p.to(form.wide) if form.extra is None else join(p, low, _words)
    moments = [
        decode(kind, code, is_signed(field), form.block).to(form.wide)
        for field, kind, code in zip(fields, form.kinds, codes, strict=True)
    ]
    g = g.to(form.wide)
    stored = []
    bits = hashed(index, *at.moment_keys, ops=_words) if form.coded else None

    def keep(*new):
        for i, (field, kind, x) in enumerate(zip(fields, form.kinds, new, strict=True)):
            own = None if bits is None else of_moment(bits, i, _words)
            stored.append(encode(kind, x, own, is_signed(field), form.block))
        return [
            decode(kind, code, is_signed(field), form.block).to(form.wide)
            for field, kind, code in zip(fields, form.kinds, stored, strict=True)
        ]

    if form.coded:
        keeping = Keeping(ops, keep)
        new, *_ = formula.clipped(keeping, weight, g, moments, at.k, at.shrink, at.limit)
    else:
        new, *moments = formula(ops, weight, g, moments, at.k, at.shrink)
        keep(*moments)
    kept = [column for code in stored for column in code]
    if form.extra is None:
        return [new.to(form.dtype), *kept]
    bits = hashed(index, *at.weight_keys, ops=_words) if form.extra < 16 else None
    leaf, low = split(new, form.dtype, form.extra, bits, _words)
    return [leaf, *([] if low is None else [low]), *kept]


def decode(kind: str, code: list[Tensor], signed: bool, block: int | None) -> Tensor:
    """A moment's flat column of what is kept of it."""
    if kind == "int8":
        y = decoded(code[0].view(-1, block or 1), code[1], signed, _words)
        return y.view(code[0].shape)
    return _words.float32(code[0]) if kind == "bfloat16" else code[0]


def encode(
    kind: str, x: Tensor, bits: Tensor | None, signed: bool, block: int | None
) -> list[Tensor]:
    """What is kept of a moment's flat column; `bits` round it."""
    if kind == "int8" and bits is not None:
        rows = (-1, block or 1)
        x = _words.float32(x)
        code, exponent = encoded(x.view(rows), bits.view(rows), signed, _words)
        return [completed(code.view(x.shape), x, signed, _words), exponent]
    if kind == "bfloat16":
        return [as_bfloat16(_words.float32(x), bits, _words)]
    return [x.to(getattr(torch, kind))]


def step_eagerly(
    ops: Any, formula: Formula, form: Form, at: Scalars, columns: list[Tensor]
) -> None:
    """Step one parameter in place, so many elements at a time; columns as in `step`."""
    g, p, *rest = columns
    block, size = form.block or 1, p.numel()
    rows = size // block
    chunk = max(1, CHUNK // block) if p.is_cpu else max(1, rows)
    for start in range(0, rows, chunk):
        end = min(start + chunk, rows)
        index = indices(start * block, end * block, p.device)
        part = [
            c[start:end] if c.numel() != size else c[start * block : end * block]
            for c in (g, p, *rest)
        ]
        results = step(ops, formula, form, at, index, part)
        for target, result in zip(part[1:], results, strict=True):
            if target is not result:
                target.copy_(result)


def indices(start: int, end: int, device: torch.device) -> Tensor:
    """Row-major indices as words."""
    if end <= 2**31:
        return torch.arange(start, end, dtype=torch.int32, device=device)
    return torch.arange(start, end, device=device).to(torch.int32)


def _grouped(form: Form, columns: list[Tensor]) -> list[list[Tensor]]:
    """The columns of each moment: one, or code and exponent."""
    given = iter(columns)
    return [[next(given) for _ in range(2 if kind == "int8" else 1)] for kind in form.kinds]
