"""A step of an optax transformation, compiled ahead, its arguments donated."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import functional_adam as fa

from .workloads import Shapes


class InJax:
    """Steps of one transformation, from where the last one ended.

    Attributes:
        compile_seconds: of tracing, lowering and compiling.
        temporary: bytes that come and go in a step; NaN where XLA does not say.
        peak: the same and all arguments and results that do not share their memory.
        state_bytes: of the state's arrays.
        moved: bytes that a step cannot help moving, each array once in each direction.
    """

    def __init__(
        self,
        make: Callable[[], optax.GradientTransformation],
        shapes: Shapes,
        *,
        dtype: Any = jnp.float32,
        packed: bool = False,
        joined: bool = False,
    ) -> None:
        tx, key = make(), jax.random.key(0)
        params: Any = [jnp.ones(shape, dtype) for shape in shapes]
        gradients: Any = [
            jax.random.normal(jax.random.fold_in(key, i), shape, dtype)
            for i, shape in enumerate(shapes)
        ]
        if packed:
            params, unpack = fa.pack(params)
            gradients = unpack.pack(gradients)

        def step(params: Any, state: Any, gradients: Any) -> Any:
            if joined:
                return fa.apply_update(tx, gradients, state, params)
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        state = tx.init(params)
        self._gradients, self._carry = gradients, (params, state)
        # What another candidate has traced must not be found ready.
        jax.clear_caches()
        start = time.perf_counter()
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, gradients)
        self._step = lowered.compile()
        self.compile_seconds = time.perf_counter() - start
        self.state_bytes = _bytes(state)
        self.moved = 2 * _bytes(params) + _bytes(gradients) + 2 * self.state_bytes
        memory = self._step.memory_analysis()
        self.temporary = self.peak = float("nan")
        if memory is not None:
            self.temporary = float(memory.temp_size_in_bytes)
            kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
            self.peak = self.temporary + kept - memory.alias_size_in_bytes

    def __call__(self) -> None:
        """One step, finished when it returns."""
        self._carry = jax.block_until_ready(self._step(*self._carry, self._gradients))


def _bytes(tree: Any) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree) if x.ndim)
