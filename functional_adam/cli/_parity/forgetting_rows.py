"""The rows of `parity --forgetting`: ours, and any torch optimizer or optax transformation."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

import functional_adam as fa

from .forgetting import B2, RATE, Forgetting, forgetting_optax, forgetting_torch

WITHIN = 0.25  # of exact Adam's v, in the mean: what our stored moments are held to
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something to measure.

    Attributes:
        name: as it is shown.
        measure: runs it.
        ours: whether it is held to `WITHIN`.
    """

    name: str
    measure: Callable[[], Forgetting]
    ours: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """Figures relative to exact Adam's: `v_true` as it is, `update` as a share; or an error."""

    name: str
    v_true: float = math.nan
    update: float = math.nan
    error: str | None = None
    within: bool | None = None  # None: not held to anything


def ours() -> list[Subject]:
    """Our ways to store moments, and weights under them; float32 is what the others are held to."""

    def stored(moments: fa.Moments) -> Callable[[], Forgetting]:
        return lambda: forgetting_optax(fa.adam(RATE, moments=moments))

    def all_in_four_bytes() -> Forgetting:
        tx = fa.with_master(fa.adam(RATE, moments="int8"), bits=16)
        return forgetting_optax(tx, jnp.bfloat16)

    return [
        Subject("functional_adam, float32", stored("float32"), True),
        Subject("functional_adam, bfloat16 moments", stored("bfloat16"), True),
        Subject("functional_adam, int8 moments", stored("int8"), True),
        Subject("functional_adam, int8 moments, 16-bit weights", all_in_four_bytes, True),
    ]


def peer(spec: str) -> Subject:
    """Subject of `package.module:Class` or `...@dtype` of the weights.

    Raises:
        ValueError: it is not such a name, or cannot be imported.
    """
    path, _, dtype = spec.partition("@")
    module, _, name = path.partition(":")
    dtype = dtype or "float32"
    if not module or module.startswith(".") or not name or dtype not in DTYPES:
        raise ValueError(f"must be package:Class or package:Class@dtype, dtype of {DTYPES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return Subject(f"{path}, {dtype} weights", lambda: _measure(make, dtype))


def measure(subjects: list[Subject], done: Callable[[str], None]) -> list[Result]:
    """Measure all of them; the first is what the others' updates are compared with."""
    results: list[Result] = []
    exact: Forgetting | None = None
    for subject in subjects:
        try:
            found = subject.measure()
        except Exception as error:
            if subject.ours:
                raise
            first = str(error).strip().splitlines() or [""]
            results.append(Result(subject.name, error=f"{type(error).__name__}: {first[0]}"[:120]))
            done(subject.name)
            continue
        exact = exact or found
        within = abs(found.v_true / exact.v_true - 1) <= WITHIN if subject.ours else None
        results.append(
            Result(subject.name, found.v_true, found.update / exact.update, None, within)
        )
        done(subject.name)
    return results


def as_markdown(results: list[Result]) -> str:
    """A table for the README."""
    lines = ["| implementation | v / true | mean update / float32 |", "|---|---:|---:|"]
    for result in results:
        cells = (result.name, *_cells(result))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_lines(results: list[Result]) -> list[str]:
    """The table for a terminal."""
    width = max(len(result.name) for result in results)
    lines = [f"{'':<{width}} {'v/true':>8} {'update':>8}"]
    for result in results:
        v, update = _cells(result)
        verdict = {None: "", True: "  ok", False: "  BEYOND"}[result.within]
        lines.append(f"{result.name:<{width}} {v:>8} {update:>8}{verdict}")
    return lines


def as_json(results: list[Result]) -> str:
    """Every row; figures that are no numbers as null."""
    rows = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in dataclasses.asdict(result).items()
        }
        for result in results
    ]
    return json.dumps({"within": WITHIN, "rows": rows}, indent=1, allow_nan=False) + "\n"


def _cells(result: Result) -> tuple[str, str]:
    if result.error is not None:
        return "not run", result.error
    return _text(result.v_true), _text(result.update)


def _text(x: float) -> str:
    if not math.isfinite(x):
        return "-"
    return f"{x:.0f}" if abs(x) >= 20 else f"{x:.2f}"


def _measure(make: Any, dtype: str) -> Forgetting:
    if isinstance(make, type):
        return forgetting_torch(
            lambda parameters: make(parameters, lr=RATE, betas=(0.9, B2), weight_decay=0.0), dtype
        )
    tx = make(RATE)
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"{make} makes no optax transformation, but {type(tx).__name__}")
    return forgetting_optax(tx, jnp.dtype(dtype))
