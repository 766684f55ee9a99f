"""The step of `_stored` as one Inductor kernel for each formula and form, called per parameter."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engines import _compile
from ..engines._formula import Formula
from ..primitives import _functional
from . import _stored
from ._storage import Form, keys_of, zeros
from ._stored import Scalars


class Kernel:
    """A formula compiled for one form and device."""

    def __init__(self, formula: Formula, form: Form, k: Any, device: torch.device) -> None:
        program = _program(formula, form, type(k), tuple(_compile.kind_of(x) for x in k))
        # Any size would do, but the same one finds the cache on disk.
        p = torch.zeros(_compile.SHOWN // 128 * 128, dtype=form.dtype, device=device)
        shown = zeros(form, formula.algorithm, p)
        at = Scalars(k, 1.0, 1.0, (0, 0), (0, 0))
        columns = [torch.zeros_like(p), p, *shown.values()]
        self._run = _compile.compiled(program, *_arguments(at, device), *columns)

    def __call__(self, at: Scalars, columns: list[Tensor]) -> None:
        """Step in place; columns as in `_stored.step`."""
        self._run(*_arguments(at, columns[0].device), *columns)


def kernel(formula: Formula, form: Form, k: Any, device: torch.device) -> Kernel:
    """The kernel for these, compiled at the first call; raises what the compiler raises."""
    return _kernels(formula, form, _compile.Kinds(k), device.type)


def _arguments(at: Scalars, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scalars of the step, and the words of its random bits."""
    keys = torch.tensor([*at.moment_keys, *at.weight_keys], dtype=torch.int32, device=device)
    return _compile.pack((*at.k, at.limit), at.shrink, device), keys


@functools.cache
def _kernels(formula: Formula, form: Form, kinds: _compile.Kinds, device: str) -> Kernel:
    return Kernel(formula, form, kinds.k, torch.device(device))


def _program(formula: Formula, form: Form, row: Any, kinds: tuple[str, ...]) -> Callable[..., None]:
    names = ["", "", *keys_of(form, formula.algorithm)]
    longs = [not name.endswith("_exponent") for name in names]

    def program(scalars, keys, *columns):
        k, limit, shrink = _compile.unpacked(scalars, row, kinds)
        at = Scalars(k, shrink, limit, (keys[0], keys[1]), (keys[2], keys[3]))
        index = torch.arange(columns[1].shape[0], dtype=torch.int32, device=columns[1].device)
        if form.block is not None:
            # In rows of a block everywhere: what is flat beside them would not be vectorised.
            index = index.view(-1, form.block)
            columns = [
                c.view(-1, form.block) if is_long else c
                for c, is_long in zip(columns, longs, strict=True)
            ]
        results = _stored.step(_functional, formula, form, at, index, list(columns))
        for target, result in zip(columns[1:], results, strict=True):
            target.copy_(result)

    return _compile.program_of(program)
