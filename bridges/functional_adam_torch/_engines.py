"""Where the arithmetic of a step happens: the choice of an engine and the memory engines keep."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from . import _compile, _jax, _loops, _single
from ._coefficients import on_host
from ._flat import Flat, can_flatten
from ._formula import Batch, Formula
from ._gather import SMALL, Run, Scratches, can_gather

ENGINES = ("auto", "single", "foreach", "compile", "flat", "jax")


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
        self._scratches = Scratches()
        self._flats: dict[Any, Flat] = {}
        self._broken = False

    def step(self, engine: str, batch: Batch, group: int, state: Any) -> None:
        """Count and take one step of a batch, in place.

        Args:
            engine: one of `ENGINES`; "auto" is the loop of "single", small tensors gathered.
            batch: the parameters.
            group: the number of their param group.
            state: the optimizer's state, into which "flat" puts its views.
        """
        if engine == "flat":
            batch = batch.take(self._flat(batch, group, state))
        if not batch.params:
            return
        rows = on_host(batch)
        members = range(len(batch.params))
        if engine == "auto":
            members = self._gathered(batch, rows, members)
        elif engine == "compile":
            members = self._compiled(batch, rows, members)
        elif engine == "foreach":
            members = _loops.foreach(batch, rows, members)
        elif engine == "jax":
            members = _jax.step(batch, rows, members)
        _loops.single(batch, rows, members)

    def _gathered(self, batch: Batch, rows: list[Any], members: Iterable[int]) -> list[int]:
        """Step small tensors as one, as the loop would; return the positions of the others."""
        small, others = _split(members, lambda i: can_gather(batch, i, SMALL))
        if len(small) > 1:
            self._scratches.step(batch, rows, small, _eager(batch))
            return others
        return small + others

    def _compiled(self, batch: Batch, rows: list[Any], members: Iterable[int]) -> list[int]:
        """Step what can be seen as vectors; return the positions of the others."""
        if self._kernel(batch.formula, rows[0], batch.params[0]) is None:
            return _loops.foreach(batch, rows, members)
        run, others = self._run(batch), []
        small, large = _split(
            members, lambda i: can_gather(batch, i, _compile.SMALL, _compile.DTYPES)
        )
        for i in large:
            columns = _compile.flat_columns(batch, i)
            if columns is None:
                others.append(i)
            else:
                run(columns, rows[i])
        self._scratches.step(batch, rows, small, run)
        return others

    def _flat(self, batch: Batch, group: int, state: Any) -> list[int]:
        """Step what may live in buffers; return the positions of the others."""
        buckets: dict[Any, list[int]] = {}
        for i, p in enumerate(batch.params):
            key = (group, p.dtype, p.device) if can_flatten(batch, i) else None
            buckets.setdefault(key, []).append(i)
        others = buckets.pop(None, [])
        for key, members in buckets.items():
            part = batch if len(members) == len(batch.params) else batch.take(members)
            flat = self._flats.get(key)
            if flat is None or not flat.fits(part.params):
                flat = self._flats[key] = Flat.around(part, flat)
            flat.step(part, state, self._run(part))
        return others

    def _run(self, batch: Batch) -> Run:
        """Step columns by the compiled kernel, or one by one operation where there is none."""
        eager = _eager(batch)
        packed: dict[int, Tensor] = {}

        def run(columns: list[Tensor], k: Any) -> None:
            kernel = self._kernel(batch.formula, k, columns[0])
            if kernel is None:
                return eager(columns, k)
            if id(k) not in packed:
                packed[id(k)] = _compile.pack(k, batch.shrink, columns[0].device)
            kernel(packed[id(k)], columns)

        return run

    def _kernel(self, formula: Formula, k: Any, like: Tensor) -> _compile.Kernel | None:
        if self._broken:
            return None
        try:
            return _compile.kernel(formula, k, like)
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


def _eager(batch: Batch) -> Run:
    def run(columns: list[Tensor], k: Any) -> None:
        p, g, *moments = columns
        batch.formula(_single, p, g, moments, k, batch.shrink)

    return run


def _split(members: Iterable[int], condition: Callable[[int], bool]) -> tuple[list[int], list[int]]:
    chosen, others = [], []
    for i in members:
        (chosen if condition(i) else others).append(i)
    return chosen, others
