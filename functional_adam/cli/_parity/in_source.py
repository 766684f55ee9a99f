"""A framework that does not install: its source in float64, from `.._frameworks`."""

from __future__ import annotations

import functools
import importlib
import inspect

import numpy as np

from .figures import double
from .inputs import Leaves, State
from .peers import RATE, Peer


class InSource:
    """One leaf of each dtype, all in float64."""

    def __init__(self, peer: Peer) -> None:
        name = peer.framework.removesuffix("-source")
        module = importlib.import_module(f".._frameworks.{name}", __package__)
        function = getattr(module, peer.theirs)
        self._function = functools.partial(function, lr=RATE)
        self._keeps_product = "product" in inspect.signature(function).parameters
        self._options = peer.options

    def load(self, state: State) -> None:
        """Continue from a state."""
        moments = {field: double(leaves) for field, leaves in state.moments.items()}
        scalars = dict(state.scalars) if self._keeps_product else {}
        self._state = State(state.count, double(state.params), moments, scalars)

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        old, t = self._state, self._state.count + 1
        options = {
            name: value(t - 1) if callable(value) else value
            for name, value in self._options.items()
        }
        params, moments, scalars = {}, {field: {} for field in old.moments}, dict(old.scalars)
        for name, g in gradients.items():
            remembered = [leaves[name] for leaves in old.moments.values()]
            arguments = (*remembered, *old.scalars.values(), t)
            params[name], *new = self._function(
                old.params[name], g.astype(np.float64), *arguments, **options
            )
            for field, value in zip((*moments, *scalars), new, strict=True):
                if field in moments:
                    moments[field][name] = value
                else:
                    scalars[field] = value
        self._state = State(t, params, moments, scalars)

    def state(self) -> State:
        """Return the state, in float64."""
        return self._state
