"""Training in PyTorch: the usual loop over a `torch.nn.Sequential`, with any torch optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .data import Split
from .network import SHAPES, layers
from .trace import Trace

Backward = Callable[[nn.Module, np.ndarray], None]
"""(network, item): leaves the gradients in `p.grad`."""


def own_gradients(split: Split, dtype: str) -> Backward:
    """Gradients of the network's loss by autograd; an item holds indices into the split."""
    x, y = torch.from_numpy(split.x.astype(dtype)), torch.from_numpy(split.y)

    def backward(network, item):
        batch = torch.from_numpy(item)
        network.zero_grad()
        nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()

    return backward


def given_gradients(network: nn.Module, item: np.ndarray) -> None:
    """Gradients computed elsewhere; an item is their flat vector."""
    parts = [part for layer in layers(torch.from_numpy(item)) for part in layer]
    for p, gradient in zip(network.parameters(), parts, strict=True):
        p.grad = gradient


class TorchRun:
    """A network and its optimizer on their way through the steps."""

    def __init__(
        self,
        optimizer: Callable[..., torch.optim.Optimizer],
        options: Mapping[str, Any],
        start: np.ndarray,
        backward: Backward,
    ) -> None:
        self._network = _network(start)
        self._optimizer = optimizer(self._network.parameters(), **options)
        self._backward = backward

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the optimizer with its value."""
        return self._optimizer.defaults

    def advance(self, items: np.ndarray) -> Trace:
        """Take a step for each item; recording is not in the time."""
        parameters, gradients, seconds = [], [], 0.0
        for item in items:
            started = time.perf_counter()
            self._backward(self._network, item)
            self._optimizer.step()
            seconds += time.perf_counter() - started
            parameters.append(_flat(list(self._network.parameters())))
            gradients.append(_flat([p.grad for p in self._network.parameters()]))
        return Trace(np.stack(parameters), seconds, np.stack(gradients))

    def moments(self, keys: Sequence[str]) -> list[np.ndarray]:
        """The named entries of the optimizer's state, flat."""
        states = [self._optimizer.state[p] for p in self._network.parameters()]
        return [_flat([state[key] for state in states]) for key in keys]


def _network(start: np.ndarray) -> nn.Module:
    modules: list[nn.Module] = []
    for (outputs, inputs), (weight, bias) in zip(SHAPES, layers(start), strict=True):
        # The default initialisation would draw from torch's global generator.
        linear: Any = nn.utils.skip_init(nn.Linear, inputs, outputs)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def _flat(tensors: Sequence[Any]) -> np.ndarray:
    return torch.cat([t.detach().reshape(-1) for t in tensors]).numpy()
