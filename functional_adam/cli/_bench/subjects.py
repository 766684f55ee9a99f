"""The candidates: one row each, ours and what a user would otherwise pick. All are Adam."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

import functional_adam as fa

from .in_jax import InJax
from .in_torch import InTorch
from .workloads import Shapes

RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Subject:
    """One candidate.

    Attributes:
        name: as it is shown.
        start: shapes -> steps that can be called; it may raise whatever its framework raises.
        needs: module without which it is skipped.
        ours: whether it is ours; the others are peers.
        tensors: largest number of tensors it is tried on; None: any.
    """

    name: str
    start: Callable[[Shapes], Any]
    needs: str | None = None
    ours: bool = False
    tensors: int | None = None

    def missing(self, shapes: Shapes) -> str | None:
        """Why it cannot be measured on these shapes, or None."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        if self.tensors is not None and len(shapes) > self.tensors:
            return f"takes minutes to compile beyond {self.tensors} tensors"
        return None


def _jax(name: str, make: Callable[[], Any], **options: Any) -> Subject:
    ours = name.startswith("ours")
    return Subject(name, functools.partial(InJax, make, **options), ours=ours)


def _torch(
    name: str, make: Callable[[list[Any]], Any], needs: str = "torch", **more: Any
) -> Subject:
    compiled = more.pop("compiled", False)
    return Subject(name, functools.partial(InTorch, make, compiled=compiled), needs=needs, **more)


def _optim(**options: Any) -> Callable[[list[Any]], Any]:
    def make(params: list[Any]) -> Any:
        import torch

        return torch.optim.Adam(params, lr=RATE, **options)

    return make


def _bridge(engine: str) -> Subject:
    def make(params: list[Any]) -> Any:
        from functional_adam_torch import Adam

        return Adam(params, lr=RATE, engine=engine)

    return _torch(f"ours in torch, {engine}", make, ours=True)


def _named(module: str, name: str, **options: Any) -> Callable[[list[Any]], Any]:
    def make(params: list[Any]) -> Any:
        kind = getattr(importlib.import_module(module), name)
        return kind(params, lr=RATE, **options)

    return make


YARDSTICK = _jax("optax", lambda: optax.adam(RATE))
"""Every candidate is timed in turn with this one."""

SUBJECTS = (
    YARDSTICK,
    _jax("ours", lambda: fa.adam(RATE)),
    _jax("ours, packed", lambda: fa.adam(RATE), packed=True),
    _jax("ours, bfloat16 moments", lambda: fa.adam(RATE, moments="bfloat16")),
    _jax("ours, int8 moments", lambda: fa.adam(RATE, moments="int8")),
    _jax(
        "ours, bfloat16 weights, int8 moments",
        lambda: fa.with_master(fa.adam(RATE, moments="int8"), bits=16),
        dtype=jnp.bfloat16,
    ),
    _jax("optax, flatten", lambda: optax.flatten(optax.adam(RATE))),
    _torch("torch fused", _optim(fused=True)),
    _torch("torch foreach", _optim(foreach=True)),
    _torch("torch single", _optim(foreach=False)),
    _torch("torch compiled", _optim(), compiled=True, tensors=16),
    *map(_bridge, ("auto", "foreach", "compile", "flat", "jax")),
    _torch("heavyball", _named("heavyball", "AdamW", weight_decay=0.0), needs="heavyball"),
    _torch("optimi", _named("optimi", "Adam"), needs="optimi"),
    _torch("torchao, 8 bits", _named("torchao.optim", "Adam8bit"), needs="torchao"),
)
