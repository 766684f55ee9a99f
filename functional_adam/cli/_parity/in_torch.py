"""An algorithm in torch: `torch.optim`, or the bridge, in one of its modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from functional_adam import ALGORITHMS

from .inputs import Leaves, State, numpy_dtype
from .rows import Variant, hyperparameters

_MODES = {"single": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


class InTorch:
    """One parameter of each dtype in one optimizer of `module` (`torch.optim` or the bridge)."""

    def __init__(self, module: Any, algorithm: str, variant: Variant, mode: str) -> None:
        self._algorithm = ALGORITHMS[algorithm]
        h = hyperparameters(self._algorithm, variant)
        self._class = getattr(module, self._algorithm.torch_class)
        rates = self._algorithm.averages
        self._options = {
            **dict(lr=h["learning_rate"], betas=tuple(h[name] for name in rates)),
            **{name: x for name, x in h.items() if name not in ("learning_rate", *rates)},
            **dict(maximize=variant.maximize),
            **self._algorithm.torch_options,
            **_MODES[mode],
        }

    def load(self, state: State) -> None:
        """Continue from a state."""
        if not hasattr(self, "_params") or {*self._params} != {*state.params}:
            self._params = {name: _tensor(p) for name, p in state.params.items()}
            self._optimizer = self._class(list(self._params.values()), **self._options)
            # torch makes its state in its first step.
            self.step({name: np.zeros_like(p) for name, p in state.params.items()})
        for name, p in self._params.items():
            p.copy_(_view(state.params[name]))
            own = self._optimizer.state[p]
            own["step"].fill_(state.count)
            for field, value in state.scalars.items():
                own[self._algorithm.torch_state[field]].fill_(value)
            for field, leaves in state.moments.items():
                own[self._algorithm.torch_state[field]].copy_(_view(leaves[name]))

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        for name, p in self._params.items():
            p.grad = _view(gradients[name])
        self._optimizer.step()

    def state(self) -> State:
        """Copy the state."""
        keys = self._algorithm.torch_state
        first, *_ = (self._optimizer.state[p] for p in self._params.values())
        return State(
            count=int(first["step"]),
            params={name: _array(p) for name, p in self._params.items()},
            moments={
                field: {
                    name: _array(self._optimizer.state[p][keys[field]])
                    for name, p in self._params.items()
                }
                for field in self._algorithm.rule.moments
            },
            scalars={name: float(first[keys[name]]) for name, _ in self._algorithm.rule.scalars},
        )


def _view(array: np.ndarray) -> torch.Tensor:
    """A tensor on the array's memory; NumPy and torch know no bfloat16 in common."""
    if array.dtype == numpy_dtype("bfloat16"):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return _view(array).clone()


def _array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(numpy_dtype("bfloat16")).copy()
    return tensor.numpy().copy()
