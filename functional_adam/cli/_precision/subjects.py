"""What is measured: how weights and moments are stored, ours and optax's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

import functional_adam as fa


@dataclasses.dataclass(frozen=True)
class Subject:
    """One way to store a training run.

    Attributes:
        name: weights + moments.
        dtype: of the leaves.
        make: learning rate -> transformation.
    """

    name: str
    dtype: Any
    make: Callable[[Any], optax.GradientTransformation]


def _ours(bits: Any, moments: fa.Moments, dtype: Any = jnp.bfloat16) -> Subject:
    def make(rate: Any) -> optax.GradientTransformation:
        return fa.with_master(fa.adamw(rate, moments=moments), bits=bits)

    suffix = "" if dtype == jnp.bfloat16 else ", float16"
    return Subject(f"{bits} bits + {moments}{suffix}", dtype, make)


def _wide(moments: fa.Moments) -> Subject:
    return Subject(
        f"float32 + {moments}", jnp.float32, lambda rate: fa.adamw(rate, moments=moments)
    )


REFERENCE = _wide("float32")

SUBJECTS = (
    REFERENCE,
    _wide("bfloat16"),
    _wide("int8"),
    *(_ours(bits, moments) for bits in (32, 24, 16) for moments in ("float32", "bfloat16", "int8")),
    _ours(32, "int8", jnp.float16),
    _ours(16, "int8", jnp.float16),
    Subject("optax, all bfloat16", jnp.bfloat16, lambda rate: optax.adamw(rate, weight_decay=1e-2)),
    Subject("optax, all float16", jnp.float16, lambda rate: optax.adamw(rate, weight_decay=1e-2)),
)
