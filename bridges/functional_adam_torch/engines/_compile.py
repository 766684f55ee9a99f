"""The compiled engine: one Inductor kernel for each formula and dtype, called tensor by tensor.

The kernel is given flat views of any length, and the scalars of the step in one float64 tensor, so
that one program serves all shapes, steps and hyperparameters.
"""

from __future__ import annotations

import functools
import itertools
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._memory import is_dense, is_plain
from ..primitives import _functional
from ._formula import Batch, Formula
from ._loops import as_real

SMALL = 16384
"""Elements up to which tensors are gathered: entering a compiled program costs some 30 us, as much
as copying so many (2 cores with AVX-512, float32)."""

HALF = (torch.bfloat16, torch.float16)
DTYPES = (torch.float32, torch.float64, *HALF)

OPTIONS = {
    # Contract the products that torch's own kernels contract.
    "cpp.enable_floating_point_contract_flag": "fast",
    # As many threads as torch has when it runs, not when it was compiled.
    "cpp.dynamic_threads": True,
}
SHOWN = 100_003
"""Length that a compiler is shown: any would do, but the same one finds the cache on disk."""

_number = itertools.count()


class Kernel:
    """A formula compiled for one dtype and device."""

    def __init__(self, formula: Formula, k: Any, dtype: torch.dtype, device: torch.device) -> None:
        program = _program(formula, type(k), tuple(kind_of(x) for x in k), dtype)
        columns = 2 + len(formula.algorithm.rule.moments)
        shown = [torch.zeros(SHOWN, dtype=dtype, device=device) for _ in range(columns)]
        self._run = compiled(program, pack(k, 1.0, device), *shown)

    def __call__(self, scalars: Tensor, columns: list[Tensor]) -> None:
        """Step in place: flat parameter, gradient (only read) and moments of one length."""
        self._run(scalars, *columns)


def kernel(formula: Formula, k: Any, like: Tensor) -> Kernel:
    """The kernel for these, compiled at the first call; raises what the compiler raises."""
    return _kernels(formula, Kinds(k), like.dtype, like.device.type)


def compiled(program: Callable[..., None], *shown: Tensor) -> Callable[..., None]:
    """The program, compiled by a call with these arguments; raises what the compiler raises."""
    # A compiler that fails must not fail in the middle of a step; what it warns of, already when
    # it is imported, is its own.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = torch.compile(program, dynamic=True, fullgraph=True, options=OPTIONS)
        run(*shown)
    return run


def pack(k: Any, shrink: Any, device: torch.device) -> Tensor:
    """The scalars of a step, in the order of the rule's, as one float64 tensor."""
    values = [float(x) for x in (*k, 1.0 if shrink is None else shrink) if x is not None]
    return torch.tensor(values, dtype=torch.float64, device=device)


def unpacked(scalars: Tensor, row: Any, kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """The rule's scalars, of these kinds, and those behind them: undoes `pack` within a program."""
    given = iter(range(scalars.shape[0]))
    make = {
        "none": lambda: None,
        "bool": lambda: scalars[next(given)] > 0,
        "number": lambda: scalars[next(given)],
    }
    k = row(*[make[kind]() for kind in kinds])
    return k, *(scalars[i] for i in given)


def program_of(function: Callable[..., None]) -> Callable[..., None]:
    """The function with a code object of its own: compilers keep a few programs for each."""
    code = function.__code__.replace(co_name=f"program_{next(_number)}")
    return types.FunctionType(code, function.__globals__, None, None, function.__closure__)


def flat_columns(batch: Batch, i: int) -> list[Tensor] | None:
    """Parameter, gradient and moments as vectors of the same storage, or None if there are none.

    The elements of a dense tensor are taken in the order of memory; a gradient laid out otherwise
    is copied.
    """
    columns = [batch.params[i], batch.grads[i], *(column[i] for column in batch.moments)]
    if not is_plain(columns) or batch.params[i].numel() < 2:
        return None
    p, g, *moments = as_real([t.detach() for t in columns])
    if p.dtype not in DTYPES or any(t.dtype != p.dtype for t in (g, *moments)):
        return None
    strides = p.stride()
    if any(m.stride() != strides or m.shape != p.shape for m in moments):
        batch.check_shapes(i)
        return None
    if not is_dense(p):
        return None
    if g.stride() != strides:
        g = torch.empty_strided(p.shape, strides, dtype=p.dtype, device=p.device).copy_(g)
    return [t.as_strided((t.numel(),), (1,)) for t in (p, g, *moments)]


class Kinds:
    """A row of scalars, hashed by what the program of a kernel depends on, not by its values."""

    def __init__(self, k: Any) -> None:
        self.k = k
        self._key = (type(k), tuple(kind_of(x) for x in k))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kinds) and self._key == other._key


@functools.cache
def _kernels(formula: Formula, kinds: Kinds, dtype: torch.dtype, device: str) -> Kernel:
    return Kernel(formula, kinds.k, dtype, torch.device(device))


def kind_of(x: Any) -> str:
    return "none" if x is None else "bool" if isinstance(x, bool) else "number"


def _program(
    formula: Formula, row: Any, kinds: tuple[str, ...], dtype: torch.dtype
) -> Callable[..., None]:
    wide = torch.float32 if dtype in HALF else dtype

    def program(scalars, p, g, *moments):
        k, shrink = unpacked(scalars, row, kinds)
        targets = (p, *moments)
        p, g, *moments = (t.to(wide) for t in (p, g, *moments))
        results = formula(_functional, p, g, moments, k, shrink)
        for target, result in zip(targets, results, strict=True):
            target.copy_(result)

    return program_of(program)
