"""An algorithm in a library for torch: optimi, torchao, bitsandbytes or HeavyBall."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .inputs import Leaves, State
from .peers import RATE, Peer


@dataclasses.dataclass(frozen=True)
class Library:
    """Where a library keeps its classes and their state.

    Attributes:
        module: with the classes.
        own: `(optimizer, parameter) -> mapping` with the moments.
        keys: our field -> its key there.
        count: `(optimizer, own mapping, count)`: set the steps made.
        corrected: whether the moments kept are already divided by their corrections.
    """

    module: str
    own: Callable[[Any, torch.Tensor], dict[str, Any]]
    keys: dict[str, str]
    count: Callable[[Any, dict[str, Any], int], None]
    corrected: bool = False


def _state(optimizer: Any, p: torch.Tensor) -> dict[str, Any]:
    return optimizer.state[p]


def _fill_own(optimizer: Any, own: dict[str, Any], count: int) -> None:
    own["step"].fill_(count)


def _set_own(optimizer: Any, own: dict[str, Any], count: int) -> None:
    own["step"] = count


def _fill_groups(optimizer: Any, own: dict[str, Any], count: int) -> None:
    for group in optimizer.param_groups:
        group["step"].fill_(count)


_TORCH = {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"}
_BALL = {"mu": "update_by_adam_exp_avg_0", "nu": "update_by_adam_exp_avg_sq_0"}
LIBRARIES = {
    "optimi": Library("optimi", _state, _TORCH, _fill_groups, corrected=True),
    "torchao": Library("torchao.optim", _state, _TORCH, _fill_own),
    "bitsandbytes": Library(
        "bitsandbytes.optim", _state, {"mu": "state1", "nu": "state2"}, _set_own
    ),
    "heavyball": Library(
        "heavyball", lambda optimizer, p: optimizer.state[p][0], _BALL, _fill_own, corrected=True
    ),
}


class InTorchPeer:
    """One parameter for each leaf in one optimizer; what it would compile runs op by op."""

    def __init__(self, peer: Peer) -> None:
        self._library = LIBRARIES[peer.framework]
        self._class = getattr(importlib.import_module(self._library.module), peer.theirs)
        self._options = dict(peer.options)
        self._betas = None

    def load(self, state: State) -> None:
        """Continue from a state."""
        if self._betas is None:
            self._params = {
                name: torch.from_numpy(p.copy()).requires_grad_()
                for name, p in state.params.items()
            }
            self._optimizer = self._class([*self._params.values()], lr=RATE, **self._options)
            group = self._optimizer.param_groups[0]
            self._betas = group["betas"] if "betas" in group else (group["beta1"], group["beta2"])
            # These make their state in their first step.
            self.step({name: np.zeros_like(p) for name, p in state.params.items()})
        for name, p in self._params.items():
            with torch.no_grad():
                p.copy_(torch.from_numpy(state.params[name]))
            own = self._library.own(self._optimizer, p)
            self._library.count(self._optimizer, own, state.count)
            for field, factor in self._fields(own, state.count):
                kept = state.moments[field][name] / (factor or 1)
                own[self._library.keys[field]].copy_(torch.from_numpy(kept))
        self._count = state.count

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        for name, p in self._params.items():
            p.grad = torch.from_numpy(gradients[name].copy())
        with _uncompiled():
            self._optimizer.step()
        self._count = getattr(self, "_count", 0) + 1

    def state(self) -> State:
        """Copy the state, its moments uncorrected."""
        moments: dict[str, Leaves] = {}
        for name, p in self._params.items():
            own = self._library.own(self._optimizer, p)
            for field, factor in self._fields(own, self._count):
                kept = own[self._library.keys[field]].numpy().copy()
                moments.setdefault(field, {})[name] = kept * np.asarray(factor, kept.dtype)
        params = {name: p.detach().numpy().copy() for name, p in self._params.items()}
        return State(self._count, params, moments, {})

    def _fields(self, own: dict[str, Any], count: int) -> list[tuple[str, float]]:
        """The moments there are, each with what it is to be multiplied by to be uncorrected."""
        b1, b2 = self._betas or (0.0, 0.0)
        corrections = {"mu": 1 - b1**count, "nu": 1 - b2**count}
        return [
            (field, corrections[field] if self._library.corrected else 1.0)
            for field, key in self._library.keys.items()
            if key in own
        ]


@contextlib.contextmanager
def _uncompiled():
    """Run torch.compile's functions as they are written."""
    before = torch.compiler.set_stance("force_eager")
    with before:
        yield
