"""The JAX engine: the core's rule jitted by XLA on views of torch's memory. For parity, not speed.

JAX is given NumPy views and takes them to be immutable; nothing is written before every result is
ready, and results are copied back, so no buffer has two owners.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from functional_adam import _ops

from .._memory import is_plain
from ._formula import Batch, Formula
from ._loops import as_real

_HALF = {torch.bfloat16: (torch.int16, jnp.bfloat16)}
_DTYPES = (torch.float32, torch.float64, torch.float16, *_HALF)


def step(batch: Batch, rows: list[Any], members: Iterable[int]) -> list[int]:
    """Step parameters one by one; a shape is compiled when it is first met.

    Returns:
        Positions that are left: none.

    Raises:
        TypeError: a parameter's dtype that JAX does not have, or a tensor subclass.
        RuntimeError: a parameter that is not on the CPU.
    """
    cpu = jax.local_devices(backend="cpu")[0]
    for i in members:
        batch.check_shapes(i)
        columns = [batch.params[i], batch.grads[i], *(column[i] for column in batch.moments)]
        _check(columns)
        p, g, *moments = as_real([t.detach() for t in columns])
        wide = np.float64 if p.dtype == torch.float64 else np.float32
        scalars = tuple(None if x is None else _scalar(x, wide) for x in rows[i])
        x64 = jax.enable_x64(True) if wide is np.float64 else contextlib.nullcontext()
        with x64, jax.default_device(cpu):
            results = jax.block_until_ready(
                _program(
                    batch.formula,
                    type(rows[i]),
                    scalars,
                    wide(1 if batch.shrink is None else batch.shrink),
                    *(_view(t) for t in (p, g, *moments)),
                )
            )
        for target, result in zip((p, *moments), results, strict=True):
            target.copy_(torch.from_dlpack(result))
    return []


@functools.partial(jax.jit, static_argnums=(0, 1))
def _program(
    formula: Formula, row: Any, scalars: tuple[Any, ...], shrink: Any, p: Any, g: Any, *moments: Any
) -> tuple[Any, ...]:
    kept = [x.dtype for x in (p, *moments)]
    p, g, *wide = (x.astype(shrink.dtype) for x in (p, g, *moments))
    results = formula(_ops, p, g, wide, row(*scalars), shrink)
    return tuple(x.astype(dtype) for x, dtype in zip(results, kept, strict=True))


def _scalar(x: Any, wide: Any) -> Any:
    return np.bool_(x) if isinstance(x, bool) else wide(x)


def _view(t: Tensor) -> np.ndarray:
    """A NumPy view; torch and NumPy know no bfloat16 in common."""
    if t.dtype not in _HALF:
        return t.numpy()
    bits, dtype = _HALF[t.dtype]
    return t.view(bits).numpy().view(dtype)


def _check(columns: list[Tensor]) -> None:
    if not is_plain(columns):
        kinds = sorted({type(t).__name__ for t in columns})
        raise TypeError(f"engine='jax' steps ordinary tensors only, got {', '.join(kinds)}")
    for t in columns:
        if t.device.type != "cpu":
            raise RuntimeError(f"engine='jax' steps tensors on the CPU, got one on {t.device}")
        if torch.empty((), dtype=t.dtype).real.dtype not in _DTYPES:
            raise TypeError(f"engine='jax' has no counterpart of dtype {t.dtype}")
