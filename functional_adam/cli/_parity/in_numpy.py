"""An algorithm of the float64 oracle."""

from __future__ import annotations

import numpy as np

from functional_adam import ALGORITHMS

from .. import reference
from .figures import double
from .inputs import Leaves, State
from .rows import Variant, hyperparameters


class InNumpy:
    """One leaf of each dtype, all in float64."""

    def __init__(self, algorithm: str, variant: Variant) -> None:
        self._function = getattr(reference, algorithm + ("_nesterov" if variant.nesterov else ""))
        h = hyperparameters(ALGORITHMS[algorithm], variant)
        lr = h.pop("learning_rate")
        self._h = reference.Hyperparameters(lr=lr, **h, maximize=variant.maximize)

    def load(self, state: State) -> None:
        """Continue from a state."""
        self._state = State(
            count=state.count,
            params=double(state.params),
            moments={field: double(leaves) for field, leaves in state.moments.items()},
            scalars=dict(state.scalars),
        )

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        old, t = self._state, self._state.count + 1
        params, moments, scalars = {}, {field: {} for field in old.moments}, dict(old.scalars)
        for name, g in gradients.items():
            remembered = [leaves[name] for leaves in old.moments.values()]
            arguments = (*remembered, *old.scalars.values(), t, self._h)
            p, *new = self._function(old.params[name], g.astype(np.float64), *arguments)
            params[name] = p
            for field, value in zip((*moments, *scalars), new, strict=True):
                if field in moments:
                    moments[field][name] = value
                else:
                    scalars[field] = value
        self._state = State(t, params, moments, scalars)

    def state(self) -> State:
        """Return the state, in float64."""
        return self._state
