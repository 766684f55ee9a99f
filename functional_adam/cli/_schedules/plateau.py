"""ReduceLROnPlateau: the learning rates that follow losses, in torch, in ours and in optax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from torch.optim import lr_scheduler as torch_schedulers

from functional_adam import schedules as s

from .in_torch import optimizer

SETTINGS: tuple[Mapping[str, Any], ...] = (
    {},
    {"patience": 0},
    {"patience": 2, "factor": 0.5, "cooldown": 3},
    {"mode": "max", "patience": 1, "threshold": 0.05},
    {"patience": 1, "threshold_mode": "abs", "threshold": 0.25, "factor": 0.9},
    {"mode": "max", "patience": 0, "threshold_mode": "abs", "threshold": 0.25, "cooldown": 1},
    {"patience": 0, "factor": 0.3, "min_lr": 1e-3},
    {"patience": 0, "factor": 0.999, "eps": 2e-4},
    {"patience": 1, "factor": 0.0, "min_lr": 1e-5},
    {"patience": 0, "threshold": 1.0},
)
RATE = 0.1


def losses(seed: int, steps: int = 100) -> np.ndarray:
    """Four kinds of losses, `steps` of each: falling, with ties, wandering, of any size.

    Some are NaN, a few infinite; the others are numbers of float32, so that both sides see them.
    """
    rng = np.random.default_rng(seed)
    falling = np.exp(-np.arange(steps) / 40) + 0.05 * rng.standard_normal(steps)
    ties = rng.integers(0, 5, steps) / 4.0
    walk = np.cumsum(rng.standard_normal(steps)) / 4 - 1
    rough = rng.standard_normal(steps) * 10.0 ** rng.integers(-3, 4, steps)
    drawn = np.concatenate(rng.permutation([falling, ties, walk, rough]))
    drawn = drawn.astype(np.float32).astype(float)
    drawn[rng.random(4 * steps) < 0.1] = np.nan
    drawn[rng.random(4 * steps) < 0.01] = np.inf
    return drawn


def in_torch(given: Any, lr: float, options: Mapping[str, Any]) -> tuple[np.ndarray, Any]:
    """Learning rates of torch, and its scheduler."""
    opt = optimizer(lr)
    scheduler = torch_schedulers.ReduceLROnPlateau(opt, **options)
    rates = []
    for loss in given:
        rates.append(opt.param_groups[0]["lr"])
        scheduler.step(loss)
    return np.array(rates), scheduler


def ours(given: Any, lr: float, options: Mapping[str, Any]) -> tuple[np.ndarray, Any]:
    """Learning rates of ours, and its state."""
    return _scanned(s.reduce_lr_on_plateau(lr, **options), given, lr)


def in_optax(given: Any, lr: float, options: Mapping[str, Any]) -> np.ndarray | None:
    """Learning rates of optax, or None where it lacks an option; the next update's, as torch's."""
    rest = dict(options)
    absolute = rest.pop("threshold_mode", "rel") == "abs"
    threshold = rest.pop("threshold", 1e-4)
    eps, factor = rest.pop("eps", 1e-8), rest.get("factor", 0.1)
    if rest.pop("mode", "min") == "max" or eps != 1e-8 or factor == 0:
        return None
    kind = dict(rtol=0.0, atol=threshold) if absolute else dict(rtol=threshold)
    kind |= dict(patience=rest.pop("patience", 10) + 1, min_scale=rest.pop("min_lr", 0.0) / lr)
    rates, _ = _scanned(optax.contrib.reduce_on_plateau(**kind, **rest), given, lr)
    # A loss acts on its own update there.
    return np.concatenate([[lr], rates[:-1]])


def _scanned(tx: Any, given: Any, lr: float) -> tuple[np.ndarray, Any]:
    one = {"w": jnp.ones(())}

    def step(state, loss):
        updates, state = tx.update(one, state, value=loss)
        return state, updates["w"]

    state, scales = jax.lax.scan(step, tx.init(one), jnp.asarray(given))
    return np.asarray(scales) * lr, state
