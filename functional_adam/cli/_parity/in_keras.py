"""An algorithm in Keras 3 on its JAX backend, through `stateless_apply`, jitted."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from .inputs import Leaves, State
from .peers import RATE, Peer

_FIELDS = {"mu": ("_momentums", "_m"), "nu": ("_velocities", "_u"), "nu_max": ("_velocity_hats",)}
_SCALARS = {"mu_product": "_u_product"}


class InKeras:
    """One variable for each leaf in one optimizer of `keras.optimizers`."""

    def __init__(self, peer: Peer) -> None:
        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        if keras.backend.backend() != "jax":
            raise RuntimeError(
                f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax before it starts"
            )
        self._keras, self._peer = keras, peer
        self._optimizer: Any = None

    def _build(self, params: Leaves) -> None:
        keras = self._keras
        before = keras.config.floatx()
        # The learning rate is kept in this dtype; the others in their variable's.
        keras.config.set_floatx(max(params, key=lambda name: np.dtype(name).itemsize))
        try:
            make = getattr(keras.optimizers, self._peer.theirs)
            built: Any = make(learning_rate=RATE, **self._peer.options)
            built.build([keras.Variable(p, dtype=name) for name, p in params.items()])
        finally:
            keras.config.set_floatx(before)
        self._optimizer, self._variables = built, built.variables
        places = {id(variable): i for i, variable in enumerate(built.variables)}
        self._count = places[id(built.iterations)]
        self._places = {
            field: [places[id(variable)] for variable in getattr(built, name)]
            for field, names in _FIELDS.items()
            for name in names
            if hasattr(built, name)
        }
        self._scalars = {
            field: places[id(getattr(built, name))]
            for field, name in _SCALARS.items()
            if hasattr(built, name)
        }
        self._apply = jax.jit(built.stateless_apply)

    def load(self, state: State) -> None:
        """Continue from a state."""
        if self._optimizer is None:
            self._build(state.params)
            self._beginning = [np.asarray(v.value) for v in self._variables]
        own = list(self._beginning)
        filled = {self._count: state.count}
        for field, places in self._places.items():
            filled |= dict(zip(places, state.moments[field].values(), strict=True))
        filled |= {i: state.scalars[field] for field, i in self._scalars.items()}
        for i, value in filled.items():
            own[i] = np.asarray(value, own[i].dtype)
        self._own, self._params = own, state.params

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        params, self._own = self._apply(
            self._own, list(gradients.values()), list(self._params.values())
        )
        self._params = dict(zip(self._params, params, strict=True))

    def state(self) -> State:
        """Copy the state."""
        names = [*self._params]
        return State(
            count=int(self._own[self._count]),
            params={name: np.asarray(p) for name, p in self._params.items()},
            moments={
                field: {n: np.asarray(self._own[i]) for n, i in zip(names, places, strict=True)}
                for field, places in self._places.items()
            },
            scalars={field: float(self._own[i]) for field, i in self._scalars.items()},
        )
