"""A record as the state of the optax chain that spells torch's options."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from functional_adam import ALGORITHMS
from functional_adam.convert import moments, names
from functional_adam_torch.moving import _in_jax
from functional_adam_torch.moving.record import Group, Record


def transformation(group: Group) -> Any:
    """Optax's function of that name; coupled decay and ascent come before it.

    Raises:
        ValueError: optax keeps something else, or has no such algorithm.
    """
    row = ALGORITHMS[group.algorithm]
    h = group.hyperparameters
    decay = h.pop("weight_decay")
    if "nu_max" in row.rule.moments:
        raise ValueError(
            f"{row.name}: optax.amsgrad corrects before it takes the maximum, so its nu_max is "
            "another quantity: --structure ours"
        )
    if row.rule.scalars:
        raise ValueError(f"{row.name}: no state of optax holds mu_product: --structure ours")
    if row.optax is None:
        raise ValueError(f"optax has no {row.name}: --structure ours")
    parts = [optax.scale(-1.0)] if group.maximize else []
    if row.decay == "coupled" and decay:
        parts.append(optax.add_decayed_weights(decay))
    own = {}
    if row.decay == "decoupled" and row.optax.decays:
        own = {"weight_decay": decay}
    elif row.decay == "decoupled" and decay:
        raise ValueError(f"optax.{row.optax.name} has no weight_decay: --structure ours")
    made = row.optax.of(optax)(**row.optax.arguments({**h, **own}))
    return optax.chain(*parts, made) if parts else made


def state(record: Record) -> Any:
    """State of `transformation`, in a partition where one does not hold all."""
    ours = _in_jax.transformation(record)
    found = moments.read(_in_jax.state(record, ours))
    own = _in_jax.parts(record)
    made: dict[Hashable, Any] = {
        part.label: transformation(record.groups[part.group]) for part in own
    }
    labels = {name: part.label for part in own for name in part.names}
    rest = dict.fromkeys(record.values.keys() - labels.keys(), _in_jax.FROZEN)
    tx = made[own[0].label]
    if len(own) > 1 or rest:
        made |= {_in_jax.FROZEN: optax.set_to_zero()} if rest else {}
        tx = optax.partition(made, names.nest(labels | rest))
    shapes = {n: jax.ShapeDtypeStruct(x.moments["mu"].shape, jnp.float32) for n, x in found.items()}
    shapes |= {n: jax.ShapeDtypeStruct(record.values[n].shape, jnp.float32) for n in rest}
    return moments.fill(jax.eval_shape(tx.init, names.nest(shapes)), found)
