"""Where the learning rate should be: a fan of short runs, and the ramp that everybody knows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import _hyper
from ._batches import Batches
from ._lane import Runner
from ._tree import examples, take
from .engine import population
from .space import Config, adamw_space
from .task import Task
from .trial import Trial

FAILURES = {
    "steepest": "fooled by the first steps and by spikes: up to 2.24 worse than the best on an MLP",
    "minimum / 10": "too low for a transformer: 0.2 worse than the best",
    "valley": "about a decade low everywhere: 0.05 to 0.3 worse than the best",
}
"""How each rule of the ramp fails: test loss above that of the best rate, over three models."""
_BEYOND = 4.0  # times the lowest smoothed loss: the ramp is over
_SMOOTHING = 0.9
_LOWEST = 1e-6


@dataclasses.dataclass(frozen=True)
class LearningRateFan:
    """Validation losses of short trainings, each rate with its own schedule.

    Attributes:
        rates: learning rates, ascending.
        losses: validation loss after training; for a diverged one, 1.5 times that at the start.
        diverged: which did.
        steps: of each training.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    diverged: tuple[bool, ...]
    steps: int

    @property
    def best(self) -> float:
        """The rate of the lowest loss."""
        return self.rates[int(np.argmin(self.losses))]

    @property
    def at_edge(self) -> bool:
        """Whether that is the lowest or the highest rate: the best may be beyond."""
        return self.best in (self.rates[0], self.rates[-1])


def learning_rate_fan(
    task: Any,
    *,
    points: int = 16,
    low: float = 1e-4,
    high: float = 1e-1,
    share: float = 0.25,
    config: Config | None = None,
    seed: int = 0,
    execution: Any = "auto",
) -> LearningRateFan:
    """Train at many learning rates for a part of the run, each with a schedule of that length.

    It costs ``points * share`` full trainings, and is the curve itself, not a guess at it: over
    three models its best rate was within 0.01 to 0.05 in test loss of the best of full runs.
    Refine it with full runs at 0.4, 1 and 2.5 times.

    Args:
        task: what is trained.
        points: learning rates, at least 2, at equal distances on a log scale.
        low: the lowest.
        high: the highest.
        share: of a full training, in (0, 1].
        config: the other hyperparameters; None: the defaults with a cosine schedule.
        seed: of weights and batches.
        execution: as in `population`.

    Raises:
        ValueError: an argument is out of its range, or the task's parts do not fit.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    if not 0 < low < high < math.inf:
        raise ValueError(f"low and high must have 0 < low < high, got {low} and {high}")
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    base = adamw_space(steps=task.steps).default() if config is None else config
    steps = max(1, round(share * task.steps))
    rates = [float(f"{rate:.4g}") for rate in np.geomspace(low, high, points)]
    trials = [Trial({**base, "learning_rate": rate}, seed, steps, steps) for rate in rates]
    outcomes = population(task, trials, execution=execution)
    return LearningRateFan(
        tuple(rates),
        tuple(o.validation for o in outcomes),
        tuple(o.diverged for o in outcomes),
        steps,
    )


@dataclasses.dataclass(frozen=True)
class LearningRateTest:
    """Training losses while the learning rate rises within one run.

    Attributes:
        rates: at each step that was made.
        losses: of each step's batch, before the step.
        smoothed: their exponential mean, corrected for its start.
        suggestions: rate by rule: "steepest" descent, "minimum / 10", "valley" (the point a third
            into the longest descent); NaN where a rule finds none.
        warnings: how these rules fail.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestions: Mapping[str, float]
    warnings: tuple[str, ...]


def learning_rate_test(
    task: Any,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    config: Config | None = None,
    seed: int = 0,
) -> LearningRateTest:
    """Raise the learning rate from `low` to `high` within one run, and guess from its losses.

    It costs one short run. Every rule to read it has failed on one model or another (`FAILURES`);
    `learning_rate_fan` is safe.

    Args:
        task: a `Task` of JAX.
        low: learning rate of the first step.
        high: of the last step; the ramp ends earlier where the loss explodes.
        steps: of the ramp, at least 10.
        config: the other hyperparameters; None: the defaults.
        seed: of weights and batches.

    Raises:
        TypeError: the task is not one of JAX.
        ValueError: an argument is out of its range, or the task's parts do not fit.

    Reference: Smith 2017, https://arxiv.org/abs/1506.01186
    """
    if not isinstance(task, Task):
        raise TypeError("task must be a Task of JAX: the ramp is not there for torch modules")
    if steps < 10:
        raise ValueError(f"steps must be at least 10, got {steps}")
    if not 0 < low < high < math.inf:
        raise ValueError(f"low and high must have 0 < low < high, got {low} and {high}")
    task.check()
    base = adamw_space(steps=task.steps).default() if config is None else config
    rates = np.geomspace(low, high, steps)
    losses = _ramp(task, {**base, "learning_rate": low}, rates, seed)
    smoothed = _smooth(losses)
    length = _end(smoothed)
    rates, losses, smoothed = rates[:length], losses[:length], smoothed[:length]
    return LearningRateTest(
        rates,
        losses,
        smoothed,
        _suggestions(rates, smoothed),
        tuple(f"{rule}: {words}" for rule, words in FAILURES.items()),
    )


def _ramp(task: Any, config: Config, rates: np.ndarray, seed: int) -> np.ndarray:
    """The loss of each step's batch before the step, float (steps,)."""
    _hyper.check(config, task.own)
    group = _hyper.group_of(config)
    runner = Runner(task, group)
    h = jax.tree.map(lambda x: x[0], _hyper.hyper_of([config], [len(rates)], task.own))
    windows = Batches(examples(task.train), task.batch_size).window(seed, 0, len(rates), len(rates))

    def step(carry: Any, item: Any) -> Any:
        params, state, count = carry
        window, rate = item
        key = jax.random.fold_in(jax.random.key(seed), count)
        batch = take(train, window)
        loss, gradients = jax.value_and_grad(runner.loss)(params, batch, key, h.own)
        arguments = _hyper.update_arguments(group, h, count) | {"learning_rate": rate}
        updates, state = runner.tx.update(gradients, state, params, **arguments)
        return (optax.apply_updates(params, updates), state, count + 1), loss

    @jax.jit
    def run(params: Any, windows: Any, rates: Any) -> Any:
        carry = params, runner.tx.init(params), jnp.zeros((), jnp.int32)
        return jax.lax.scan(step, carry, (windows, rates))[1]

    train = jax.tree.map(jnp.asarray, task.train)
    validation = jax.tree.map(jnp.asarray, task.validation)
    # One program: op by op, a small network takes fifty.
    start = jax.jit(lambda seed: runner.start(seed, h.own, validation)[0].params)
    losses = run(start(jnp.int32(seed)), windows, rates.astype(np.float32))
    return np.asarray(losses, np.float64)


def _smooth(losses: np.ndarray) -> np.ndarray:
    found, mean = np.empty_like(losses), 0.0
    for i, loss in enumerate(losses):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        found[i] = mean / (1 - _SMOOTHING ** (i + 1))
    return found


def _end(smoothed: np.ndarray) -> int:
    """Steps before the loss explodes."""
    finite = np.where(np.isfinite(smoothed), smoothed, np.inf)
    lowest = np.minimum.accumulate(finite)
    beyond = _BEYOND * np.maximum(lowest, _LOWEST)
    if finite.min() < 0:
        # A loss that goes below zero is measured by how far it falls.
        beyond = lowest + _BEYOND * max(finite[0] - finite.min(), _LOWEST)
    bad = ~np.isfinite(smoothed) | (smoothed > beyond)
    return int(np.argmax(bad)) if bad.any() else len(smoothed)


def _suggestions(rates: np.ndarray, smoothed: np.ndarray) -> dict[str, float]:
    if len(rates) < 3:
        return dict.fromkeys(FAILURES, math.nan)
    slopes = np.gradient(smoothed, np.log(rates))
    bottom = int(np.argmin(smoothed))
    return {
        "steepest": float(rates[np.argmin(slopes)]) if slopes.min() < 0 else math.nan,
        "minimum / 10": float(rates[bottom]) / 10,
        "valley": _valley(rates, smoothed),
    }


def _valley(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """Two thirds before the end of the longest run of falling losses, as fastai reads it."""
    lengths = np.ones(len(smoothed), int)
    for i in range(1, len(smoothed)):
        below = [lengths[j] for j in range(i) if smoothed[j] > smoothed[i]]
        lengths[i] = max(below, default=0) + 1
    end = int(np.argmax(lengths))
    if lengths[end] < 3:
        return math.nan
    start = end - int(lengths[end])
    third = (end - start) / 3
    return float(rates[max(0, start + int(third) + int(third / 2))])
