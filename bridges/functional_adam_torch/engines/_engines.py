"""Where the arithmetic of a step happens: the choice of an engine and the memory engines keep."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..primitives import _single
from . import _compile, _jax, _loops
from ._arena import Arena, Terms
from ._buffers import Run
from ._coefficients import on_host
from ._formula import Batch, Formula

Kernel = TypeVar("Kernel")

ENGINES = ("auto", "single", "foreach", "compile", "flat", "jax")

SMALL = 4096
"""Elements up to which the default engine steps tensors as one; from about twice as many on a
tensor alone is faster, where copies cost what calls did (2 cores, float32)."""

_CHUNK = 65536  # elements stepped by one operation after another: six arrays fit a cache

# In half precision, the result of torch's kernels depends on where in a tensor an element stands.
_TERMS = {
    "auto": Terms(whole=False, dtypes=(torch.float32, torch.float64), small=SMALL),
    "compile": Terms(whole=False, dtypes=_compile.DTYPES, small=_compile.SMALL),
    "flat": Terms(whole=True, dtypes=_compile.DTYPES, small=None),
}


def check(
    engine: str,
    *,
    foreach: bool | None,
    fused: bool | None,
    capturable: bool,
    differentiable: bool,
) -> str:
    """Return the engine's name, or raise where torch's own options contradict it.

    Raises:
        ValueError: an unknown name, or an option that asks for another engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    contradictions = {
        "fused=True": fused and engine != "auto",
        "foreach=True": foreach and engine not in ("auto", "foreach"),
        "foreach=False": foreach is False and engine not in ("auto", "single"),
        "differentiable=True": differentiable and engine not in ("auto", "single"),
        "capturable=True": capturable and engine not in ("auto", "single", "foreach"),
    }
    for option, contradicts in contradictions.items():
        if contradicts:
            raise ValueError(f"{option} contradicts engine={engine!r}: leave one of them out")
    return engine


class Engines:
    """The engines of one optimizer: what they keep from step to step, none of it state."""

    def __init__(self) -> None:
        self._arena = Arena()
        self._broken = False

    def step(
        self, engine: str, batch: Batch, group: int, groups: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count and take one step of a batch, in place.

        Args:
            engine: one of `ENGINES`; "auto" is the loop of "single", small tensors stepped as one.
            batch: the parameters.
            group: the number of their param group.
            groups: all param groups of the optimizer.
        """
        if engine == "auto" and not _is_uniform(batch):
            engine = "single"
        if engine in _TERMS:
            run = _eager(batch) if engine == "auto" else self._run(batch)
            others = self._arena.step(batch, group, _TERMS[engine], run, groups)
            if not others:
                return
            batch = batch if len(others) == len(batch.params) else batch.take(others)
        # A list steps all at once, which torch's own does with what is given twice as well.
        together = engine == "foreach" and not batch.scalars
        for part in [batch] if together else batch.in_turn():
            self._step_each(engine, part)

    def _step_each(self, engine: str, batch: Batch) -> None:
        rows = on_host(batch, in_lists=engine == "foreach")
        members: Iterable[int] = range(len(rows))
        if engine == "compile":
            members = self._compiled(batch, rows)
        elif engine == "foreach":
            members = _loops.foreach(batch, rows, members)
        elif engine == "jax":
            members = _jax.step(batch, rows, members)
        _loops.single(batch, rows, members)

    def release(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Give the state of every parameter memory of its own again, until the next step."""
        self._arena.release(state)

    def _compiled(self, batch: Batch, rows: list[Any]) -> Iterable[int]:
        """Step what can be seen as vectors; return the positions of the others."""
        (like,) = _loops.as_real([batch.params[0].detach()])
        if self._kernel(batch.formula, rows[0], like) is None:
            every = range(len(rows))
            # Lists of tensors take no tensor for a scalar.
            in_lists = not any(isinstance(x, Tensor) for k in rows for x in k)
            return _loops.foreach(batch, rows, every) if in_lists else every
        run, others = self._run(batch), []
        for i, k in enumerate(rows):
            columns = _compile.flat_columns(batch, i)
            if columns is None:
                others.append(i)
            else:
                run(columns, k)
        return others

    def _run(self, batch: Batch) -> Run:
        """Step columns by the compiled kernel, or one by one operation where there is none."""
        eager = _eager(batch)
        packed: dict[int, tuple[Any, Tensor]] = {}  # with the row, whose identity is the key

        def run(columns: list[Tensor], k: Any) -> None:
            kernel = self._kernel(batch.formula, k, columns[0])
            if kernel is None:
                return eager(columns, k)
            if id(k) not in packed:
                packed[id(k)] = k, _compile.pack(k, batch.shrink, columns[0].device)
            kernel(packed[id(k)][1], columns)

        return run

    def _kernel(self, formula: Formula, k: Any, like: Tensor) -> _compile.Kernel | None:
        return self.attempt(lambda: _compile.kernel(formula, k, like))

    def attempt(self, make: Callable[[], Kernel]) -> Kernel | None:
        """What `make` compiles; None, after one warning, where there is no compiler."""
        if self._broken:
            return None
        try:
            return make()
        except Exception as error:  # whatever a compiler and its tools may raise
            self._broken = True
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(
                f"the step could not be compiled and is taken by torch's own operations: "
                f"{type(error).__name__}: {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None


def _is_uniform(batch: Batch) -> bool:
    """Whether torch's kernels give an element the same result wherever in a tensor it stands.

    Not where a tensor hyperparameter meets a 0-d parameter: that is computed in the wider dtype of
    the two. Nor at b1 = 0, where the sign of a zero moment depends on it.
    """
    given = vars(batch.h)
    return not any(isinstance(x, Tensor) for x in given.values()) and given["b1"] != 0


def _eager(batch: Batch) -> Run:
    def run(columns: list[Tensor], k: Any) -> None:
        for p, g, *moments in zip(*(column.split(_CHUNK) for column in columns), strict=True):
            batch.formula(_single, p, g, moments, k, batch.shrink)

    return run
