"""One training run as a pure function: what every way of executing many of them repeats."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from ._evaluate import figures_of, loss_of
from ._hyper import Group, Hyper, transformation, update_arguments
from ._tree import stored, take


class Lane(NamedTuple):
    """A training run under way."""

    params: Any  # pytree
    state: Any  # of the optimizer
    count: Any  # int32 (), steps made
    seed: Any  # int32 ()


class Data(NamedTuple):
    """Arrays of the task, the same for all lanes."""

    train: Any
    validation: Any


class Runner:
    """The functions of one lane for a task and a group of configurations."""

    def __init__(self, task: Any, group: Group) -> None:
        self.group = group
        self.init_params = task.init
        self.loss = loss_of(task)
        self.figures = figures_of(task)
        self.tx = transformation(group, task.dtype, task.before)
        self.dtype = task.dtype

    def start(self, seed: Any, own: dict[str, Any], validation: Any) -> tuple[Lane, Any]:
        """A lane before its first step, and its figures there."""
        params = stored(self.init_params(jax.random.key(seed)), self.dtype)
        lane = Lane(params, self.tx.init(params), jnp.zeros((), jnp.int32), seed)
        return lane, self.figures(lane.params, validation, own)

    def advance(self, lane: Lane, h: Hyper, windows: Any, n: Any, judge: Any, data: Data) -> Any:
        """`n` steps on the batches of `windows` (at least n, batch), then figures if `judge`."""

        def step(i, x):
            return self._step(x, h, take(data.train, windows[i]))

        def measured(x):
            return self.figures(x.params, data.validation, h.own)

        lane = lax.fori_loop(0, n, step, lane)
        # Figures that nobody reads have the shapes of those that are.
        shapes = jax.eval_shape(measured, lane)
        empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return lane, lax.cond(judge, measured, lambda x: empty, lane)

    def _step(self, lane: Lane, h: Hyper, batch: Any) -> Lane:
        key = jax.random.fold_in(jax.random.key(lane.seed), lane.count)
        gradients = jax.grad(self.loss)(lane.params, batch, key, h.own)
        arguments = update_arguments(self.group, h, lane.count)
        updates, state = self.tx.update(gradients, lane.state, lane.params, **arguments)
        return Lane(optax.apply_updates(lane.params, updates), state, lane.count + 1, lane.seed)
