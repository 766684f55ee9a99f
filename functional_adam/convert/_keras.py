"""A live Keras 3 optimizer as a transformation of ours and back, without importing Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..dialects import KERAS
from ..rules import Algorithm
from . import names
from ._keras_variables import algorithm_of, array, slots_of, variables_of
from .moments import Moments, fill, read


class FromKeras(NamedTuple):
    """A run of Keras, to go on with in JAX."""

    transformation: Any  # optax.GradientTransformationExtraArgs
    params: Any  # dict: path of the variable, "dense/kernel" -> jax.Array in Keras' dtype
    state: Any  # of the transformation, at Keras' iteration


def from_keras(optimizer: Any) -> FromKeras:
    """Take a run from Keras 3 in the middle of training: Adam, AdamW, Nadam, Adamax, AMSGrad.

    The transformation has the dialect `KERAS` and Keras' hyperparameters; decay leaves out what
    `exclude_from_weight_decay` named; clipping comes before it. A `LearningRateSchedule` becomes a
    schedule of the count (Keras on JAX); a number stays what it is now.

    Everything is copied. Variables that no gradient reaches (`model.non_trainable_variables`) are
    not among the parameters.

    Args:
        optimizer: built: it knows its variables. Left alone.

    Returns:
        `FromKeras`: transformation, parameters, state. Moments keep their dtype.

    Raises:
        TypeError: another class, another backend; a learning rate that is a function without
            arguments.
        ValueError: it is not built, has options that no transformation here has (an average of
            the weights, loss scaling, accumulated gradients, constraints), or two variables have
            one path.
    """
    algorithm, variables = algorithm_of(optimizer), variables_of(optimizer)
    kept = _kept(optimizer, algorithm, variables)
    params = {path: array(variable) for path, variable in variables.items()}
    decay = optimizer.weight_decay
    dtypes = {x.dtype for own in kept.values() for x in own.moments.values()}
    narrow = {"mu_dtype": (d := dtypes.pop()), "nu_dtype": d} if _all_half(dtypes) else {}
    values: dict[str, Any] = dict(
        b1=float(optimizer.beta_1), b2=float(optimizer.beta_2), eps=float(optimizer.epsilon)
    )
    tx = algorithm.make(
        _learning_rate(optimizer),
        **values,
        weight_decay=0.0 if decay is None else float(decay),
        mask={path: bool(optimizer._use_weight_decay(v)) for path, v in variables.items()},
        dialect=KERAS,
        **narrow,
    )
    if clip := _clip(optimizer):
        tx = optax.chain(clip, tx)
    state = fill(jax.eval_shape(tx.init, params), kept)
    return FromKeras(tx, params, jax.tree.map(jnp.asarray, state))


def to_keras(params: Any, state: Any, optimizer: Any) -> Any:
    """Put a run of JAX back into a Keras model and its optimizer.

    Args:
        params: dict of arrays by path of the variable, as `from_keras` returns it.
        state: of a transformation of ours with the dialect `KERAS`, or in a chain with it.
        optimizer: built on the variables of the model; hyperparameters are left alone.

    Returns:
        The optimizer. Its variables and those of the model are overwritten.

    Raises:
        TypeError, ValueError: as `from_keras`; leaves are missing, left over, of another shape or
            dtype, or the state is that of another algorithm: every mismatch is named.
    """
    algorithm, variables = algorithm_of(optimizer), variables_of(optimizer)
    values, found = names.named_leaves(params, "params"), read(state)
    wanted = {path: tuple(v.shape) for path, v in variables.items()}
    present = {path: np.shape(leaf.moments["mu"]) for path, leaf in found.items()}
    lines = [f"params {x}" for x in names.differences(wanted, names.shapes(values))]
    lines += [f"state {x}" for x in names.differences(wanted, present)]
    lines += [
        f"params dtype: {path} is {values[path].dtype}, must be {v.dtype}"
        for path, v in variables.items()
        if path in values and str(values[path].dtype) != str(v.dtype)
    ]
    fields = {*algorithm.rule.moments, *dict(algorithm.rule.scalars)}
    for path, leaf in found.items():
        if (own := {*leaf.moments, *leaf.scalars}) != fields:
            lines.append(
                f"state of {path} has {', '.join(sorted(own))}; {algorithm.name} keeps "
                f"{', '.join(sorted(fields))}"
            )
        lines += [
            f"state dtype: {field} of {path} is {x.dtype}, must be {variables[path].dtype}"
            for field, x in leaf.moments.items()
            if path in variables and str(x.dtype) != str(variables[path].dtype)
        ]
    counts = {int(np.asarray(leaf.count)) for leaf in found.values()}
    if len(counts) > 1:
        lines.append(f"state has the counts {sorted(counts)}: Keras counts for all variables")
    names.refuse("params and state do not fit the optimizer", lines)
    slots = slots_of(optimizer, algorithm, variables)
    for path, variable in variables.items():
        # Keras keeps the array that it is given, and each side may donate its own.
        variable.assign(jnp.copy(values[path]))
        for field, slot in slots[path].items():
            slot.assign(jnp.copy(found[path].moments[field]))
    first = next(iter(found.values()))
    for field, value in first.scalars.items():
        getattr(optimizer, algorithm.keras_state[field]).assign(jnp.copy(value))
    optimizer.iterations.assign(counts.pop())
    return optimizer


def _kept(optimizer: Any, algorithm: Algorithm, variables: Mapping[str, Any]) -> dict[str, Moments]:
    count = array(optimizer.iterations).astype(jnp.int32)
    scalars = {
        field: array(getattr(optimizer, algorithm.keras_state[field])).astype(np.float32)
        for field, _ in algorithm.rule.scalars
    }
    slots = slots_of(optimizer, algorithm, variables)
    return {
        path: Moments(count, {field: array(v) for field, v in own.items()}, scalars)
        for path, own in slots.items()
    }


def _all_half(dtypes: set[Any]) -> bool:
    return len(dtypes) == 1 and next(iter(dtypes)).itemsize == 2


def _learning_rate(optimizer: Any) -> Any:
    rate = optimizer._learning_rate
    if hasattr(rate, "assign"):
        return float(array(rate))
    if hasattr(rate, "get_config"):
        return lambda count: jnp.asarray(rate(count))
    raise TypeError(
        f"learning_rate is {rate!r}, a function without arguments: give Keras a number or a "
        "keras.optimizers.schedules.LearningRateSchedule"
    )


def _clip(optimizer: Any) -> Any:
    """Keras' clipping of gradients as a transformation, or None."""
    if optimizer.clipnorm:
        return optax.stateless_with_tree_map(_clip_by_norm(float(optimizer.clipnorm)))
    if optimizer.global_clipnorm:
        return optax.clip_by_global_norm(float(optimizer.global_clipnorm))
    return optax.clip(float(optimizer.clipvalue)) if optimizer.clipvalue else None


def _clip_by_norm(largest: float) -> Callable[[Any, Any], Any]:
    def clip(g: Any, _: Any) -> Any:
        return g * largest / jnp.maximum(jnp.sqrt(jnp.sum(g**2)), largest)

    return clip
