"""The ways to train: who takes the steps, and whose gradients they are given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

import functional_adam_torch
from functional_adam import Algorithm

from . import run_jax, run_torch
from .data import Digits
from .run_jax import JaxRun
from .run_torch import TorchRun

TORCH, BRIDGE, JAX, YARDSTICK = "torch.optim", "torch bridge", "JAX", "torch.optim, 1 ulp away"
DECAY = 1e-2  # where weight decay is decoupled: torch's default for AdamW; for NAdam, RAdam it is 0


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all optimizers start from."""

    digits: Digits
    start: np.ndarray  # (weights,)
    neighbour: np.ndarray  # (weights,), one ulp away
    batches: np.ndarray  # (steps, images)

    @property
    def dtype(self) -> str:
        """Of parameters, data and arithmetic."""
        return str(self.start.dtype)


@dataclasses.dataclass(frozen=True)
class Ways:
    """Runs of one optimizer by name of the way.

    Attributes:
        own: each framework computes its gradients itself.
        same: every optimizer is given the gradients of torch.optim's own run.
        hyperparameters: torch's defaults, under our names.
    """

    own: dict[str, JaxRun | TorchRun]
    same: dict[str, JaxRun | TorchRun]
    hyperparameters: dict[str, float]


def ways(algorithm: Algorithm, setup: Setup) -> Ways:
    """Every way to train with one optimizer, before the first step."""
    twin = algorithm.torch_twin
    assert twin is not None, "checked by the command"
    options = dict(twin.options)
    if algorithm.decay == "decoupled":
        options["weight_decay"] = DECAY
    theirs, ours = getattr(torch.optim, twin.name), getattr(functional_adam_torch, twin.name)
    autograd = run_torch.own_gradients(setup.digits.train, setup.dtype)
    reference = TorchRun(theirs, options, setup.start, autograd)
    hyperparameters = _hyperparameters(algorithm, reference.defaults)
    tx = algorithm.make(**hyperparameters)
    own = {
        TORCH: reference,
        BRIDGE: TorchRun(ours, options, setup.start, autograd),
        JAX: JaxRun(tx, setup.start, run_jax.own_gradients(setup.digits.train, setup.dtype)),
        YARDSTICK: TorchRun(theirs, options, setup.neighbour, autograd),
    }
    same = {
        BRIDGE: TorchRun(ours, options, setup.start, run_torch.given_gradients),
        JAX: JaxRun(tx, setup.start, run_jax.given_gradients),
    }
    return Ways(own, same, hyperparameters)


def _hyperparameters(algorithm: Algorithm, defaults: dict[str, Any]) -> dict[str, float]:
    b1, b2 = defaults["betas"]
    values = defaults | {"learning_rate": defaults["lr"], "b1": b1, "b2": b2}
    return {name: values[name] for name in algorithm.hyperparameters}
