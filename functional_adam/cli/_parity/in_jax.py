"""An algorithm in JAX: a transformation of ours or of optax, jitted with `apply_updates`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from functional_adam import ALGORITHMS, Algorithm, PrecisionWarning
from functional_adam.dialects import DIALECTS

from .inputs import Leaves, State, numpy_dtype
from .peers import RATE, Peer
from .rows import Variant, hyperparameters


def ours(algorithm: str, variant: Variant, *, moments: str | None = None) -> InJax:
    """Our transformation; `moments` is the dtype to keep them in."""
    found = ALGORITHMS[algorithm]
    options: dict[str, Any] = {"maximize": variant.maximize}
    if variant.nesterov:
        options["nesterov"] = True
    if moments is not None:
        options |= dict(mu_dtype=moments, nu_dtype=moments)
    with warnings.catch_warnings():
        # That such moments cannot decay is known: torch keeps them so.
        warnings.simplefilter("ignore", PrecisionWarning)
        return InJax(found, found.make(**hyperparameters(found, variant), **options))


def theirs(algorithm: str, variant: Variant) -> InJax:
    """The function of optax of the same name, with torch's options spelled as a chain."""
    found = ALGORITHMS[algorithm]
    assert found.optax is not None
    h = hyperparameters(found, variant)
    decay = h.pop("weight_decay")
    h.pop("momentum_decay", None)
    options = {"weight_decay": decay} if found.decay == "decoupled" and found.optax.decays else {}
    if variant.nesterov:
        options["nesterov"] = True
    parts = [optax.scale(-1.0)] if variant.maximize else []
    if found.decay == "coupled" and decay:
        parts.append(optax.add_decayed_weights(decay))
    made = found.optax.of(optax)(**found.optax.arguments({**h, **options}))
    parts.append(made)
    if found.decay == "decoupled" and not found.optax.decays and decay:
        parts.append(optax.add_decayed_weights(-h["learning_rate"] * decay))
    return InJax(found, optax.chain(*parts), found.optax.fields)


def in_dialect(peer: Peer) -> InJax:
    """Our transformation in a dialect, with the dialect's own defaults for what is not given."""
    found = ALGORITHMS[peer.algorithm]
    dialect = dataclasses.replace(DIALECTS[peer.dialect], **peer.knobs)
    return InJax(found, found.make(**{"learning_rate": RATE, **peer.ours}, dialect=dialect))


def peer_in_optax(peer: Peer) -> InJax:
    """The function of optax that a peer names, called as it is."""
    make = getattr(optax, peer.theirs)
    return InJax(ALGORITHMS[peer.algorithm], make(RATE, **peer.options))


class InJax:
    """One leaf of each dtype under one transformation."""

    def __init__(
        self, algorithm: Algorithm, tx: Any, names: Mapping[str, str] | None = None
    ) -> None:
        self._algorithm, self._names = algorithm, names or {}

        def step(gradients, state, params):
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        self._init, self._step, self._empty = tx.init, jax.jit(step), None

    def load(self, state: State) -> None:
        """Continue from a state; moments are widened to what the transformation keeps."""
        if self._empty is None:
            self._empty = jax.eval_shape(self._init, state.params)
        fields = {"count": state.count, **state.scalars, **state.moments}
        fields = {self._names.get(name, name): x for name, x in fields.items()}
        twin = self._algorithm.optax
        fields |= dict.fromkeys(twin.counts if twin else (), state.count)
        # The chains of optax have the fields deeper down, and not all that ours have.
        present = {name for name in fields if optax.tree.get_all_with_path(self._empty, name)}
        filled = optax.tree.set(self._empty, **{name: fields[name] for name in present})
        self._params = state.params
        self._state = jax.tree.map(lambda old, new: np.asarray(new, old.dtype), self._empty, filled)

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        self._params, self._state = self._step(gradients, self._state, self._params)

    def state(self) -> State:
        """Copy the state, moments rounded to the dtype of their leaf, as torch keeps them."""
        rule = self._algorithm.rule

        def leaves(tree):
            with np.errstate(over="ignore"):  # of float16, as there
                return {name: np.asarray(x).astype(numpy_dtype(name)) for name, x in tree.items()}

        def fields(*names):
            own = {name: self._names.get(name, name) for name in names}
            found = {name: optax.tree.get_all_with_path(self._state, x) for name, x in own.items()}
            return {name: pairs[0][1] for name, pairs in found.items() if pairs}

        scalars = fields("count", *dict(rule.scalars))
        return State(
            count=int(scalars.pop("count")),
            params=leaves(self._params),
            moments={name: leaves(tree) for name, tree in fields(*rule.moments).items()},
            scalars={name: float(x) for name, x in scalars.items()},
        )
