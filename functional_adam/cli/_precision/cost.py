"""Bytes that stay, bytes that come and go in a step, and its time relative to float32."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .subjects import REFERENCE, Subject

RATE = 1e-3
# Neither side is a power of two: caches would conflict.
WIDTH = 1920


def step_of(tx: optax.GradientTransformation) -> Any:
    """A compiled step that reuses the memory of parameters and state."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def memory(subject: Subject, parameters: int) -> dict[str, float]:
    """Bytes per parameter: weights and state that stay, and temporaries of a compiled step."""
    params, gradients, tx = _inputs(subject, parameters)
    state = tx.init(params)
    kept = [x for x in jax.tree.leaves((params, state)) if x.ndim]
    analysis = step_of(tx).lower(params, state, gradients).compile().memory_analysis()
    temporary = None if analysis is None else analysis.temp_size_in_bytes
    return {
        "bytes": sum(x.nbytes for x in kept) / params.size,
        "temporary": float("nan") if temporary is None else temporary / params.size,
    }


def times(
    subjects: Sequence[Subject], parameters: int, rounds: int, done: Callable[[str], None]
) -> dict[str, float]:
    """Median time of a step over the reference's, the rounds of both taken in turn."""
    ratios = {}
    for subject in subjects:
        pair = [_Runner(REFERENCE, parameters), _Runner(subject, parameters)]
        seconds: list[list[float]] = [[], []]
        for _ in range(rounds):
            for runner, found in zip(pair, seconds, strict=True):
                found.append(runner())
        ratios[subject.name] = statistics.median(seconds[1]) / statistics.median(seconds[0])
        done(subject.name)
    return ratios


class _Runner:
    """Steps of one subject, from where the last one ended."""

    def __init__(self, subject: Subject, parameters: int):
        params, self.gradients, tx = _inputs(subject, parameters)
        self.carry = params, tx.init(params)
        self.step = step_of(tx)
        self()
        self()

    def __call__(self) -> float:
        start = time.perf_counter()
        self.carry = jax.block_until_ready(self.step(*self.carry, self.gradients))
        return time.perf_counter() - start


def _inputs(subject: Subject, parameters: int):
    shape = (max(1, parameters // WIDTH), WIDTH)
    rng = np.random.default_rng(0)
    gradients = jnp.asarray(rng.standard_normal(shape, np.float32), subject.dtype)
    return jnp.ones(shape, subject.dtype), gradients, subject.make(RATE)
