"""The candidates: one row each, ours and what a user would otherwise pick, of one algorithm."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

import functional_adam as fa
from functional_adam import Algorithm
from functional_adam.applying import joins_loops

from .in_jax import InJax
from .in_torch import InTorch
from .workloads import Shapes

RATE = 1e-3
_DECAY = 1e-2  # of algorithms that decouple it


@dataclasses.dataclass(frozen=True)
class Subject:
    """One candidate.

    Attributes:
        name: as it is shown.
        start: shapes -> steps that can be called; it may raise whatever its framework raises.
        needs: module without which it is skipped.
        ours: whether it is ours; the others are peers.
        tensors: largest number of tensors it is tried on; None: any.
        joined: whether XLA must have been told to join loops.
    """

    name: str
    start: Callable[[Shapes], Any]
    needs: str | None = None
    ours: bool = False
    tensors: int | None = None
    joined: bool = False

    def missing(self, shapes: Shapes) -> str | None:
        """Why it cannot be measured on these shapes, or None."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        if self.tensors is not None and len(shapes) > self.tensors:
            return f"takes minutes to compile beyond {self.tensors} tensors"
        if self.joined and not joins_loops():
            return "XLA on a CPU was not told to join loops, see apply_update"
        return None


def _jax(name: str, make: Callable[[], Any], **options: Any) -> Subject:
    ours = name.startswith("ours")
    joined = options.get("joined", False)
    return Subject(name, functools.partial(InJax, make, **options), ours=ours, joined=joined)


def _torch(
    name: str, make: Callable[[list[Any]], Any], needs: str = "torch", **more: Any
) -> Subject:
    compiled = more.pop("compiled", False)
    return Subject(name, functools.partial(InTorch, make, compiled=compiled), needs=needs, **more)


def _in_torch(module: str, name: str, **options: Any) -> Callable[[list[Any]], Any]:
    def make(params: list[Any]) -> Any:
        return getattr(importlib.import_module(module), name)(params, lr=RATE, **options)

    return make


def _decay(row: Algorithm) -> dict[str, float]:
    """What every candidate is given, so that all do the same work; optax may have no decay."""
    decays = row.decay == "decoupled" and (row.optax is None or row.optax.decays)
    return {"weight_decay": _DECAY} if decays else {}


def _theirs(row: Algorithm) -> Callable[[], Any] | None:
    twin = row.optax
    return twin and functools.partial(twin.of(optax), RATE, **twin.arguments(_decay(row)))


def yardstick_of(row: Algorithm) -> Subject:
    """Every candidate is timed in turn with this one: optax's, or its Adam where it has none."""
    return _jax("optax", _theirs(row) or functools.partial(optax.adam, RATE))


def subjects_of(row: Algorithm) -> tuple[Subject, ...]:
    """The candidates of a row of the table, its yardstick first where that is the same algorithm.

    A mode or a form that a class has not is skipped by name when it is measured.
    """
    ours, theirs = functools.partial(row.make, RATE, **_decay(row)), _theirs(row)
    options = {**_decay(row), **row.torch_options}
    in_torch = functools.partial(_in_torch, "torch.optim", row.torch_class, **options)
    in_bridge = functools.partial(_in_torch, "functional_adam_torch", row.torch_class, **options)
    of_torch = (
        _torch("torch fused", in_torch(fused=True)),
        _torch("torch foreach", in_torch(foreach=True)),
        _torch("torch single", in_torch(foreach=False)),
        _torch("torch compiled", in_torch(), compiled=True, tensors=16),
    )
    return (
        *([yardstick_of(row)] if theirs else []),
        _jax("ours", ours),
        _jax("ours, one loop", ours, joined=True),
        _jax("ours, packed", ours, packed=True),
        _jax("ours, packed, one loop", ours, packed=True, joined=True),
        _jax("ours, bfloat16 moments", lambda: ours(moments="bfloat16")),
        _jax("ours, int8 moments", lambda: ours(moments="int8")),
        _jax(
            "ours, bfloat16 weights, int8 moments",
            lambda: fa.with_master(ours(moments="int8"), bits=16),
            dtype=jnp.bfloat16,
        ),
        *([_jax("optax, flatten", lambda: optax.flatten(theirs()))] if theirs else []),
        *(of_torch if row.torch_twin else ()),
        *(
            _torch(f"ours in torch, {engine}", in_bridge(engine=engine), ours=True)
            for engine in ("auto", "foreach", "compile", "flat", "jax")
        ),
        *(_KIN if row.name == "adam" else ()),
    )


_KIN = (
    _torch("heavyball", _in_torch("heavyball", "AdamW", weight_decay=0.0), needs="heavyball"),
    _torch("optimi", _in_torch("optimi", "Adam"), needs="optimi"),
    _torch("torchao, 8 bits", _in_torch("torchao.optim", "Adam8bit"), needs="torchao"),
)


def titled(what: str, row: Algorithm) -> str:
    """The title of what is measured of a row, which is Adam's where it says nothing else."""
    if row.name == "adam":
        return what
    return f"{what}, {row.name}{'' if row.optax else ' (optax: adam)'}"
