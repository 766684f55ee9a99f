"""What a live optimizer of Keras 3 is, which variables it has, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..rules import ALGORITHMS, Algorithm

# Keras decouples decay in every class: AdamW has only another default.
_CLASSES = {"Adam": "adam", "AdamW": "adam", "Nadam": "nadam", "Adamax": "adamax"}
_UNSUPPORTED = ("use_ema", "loss_scale_factor", "gradient_accumulation_steps")


def algorithm_of(optimizer: Any) -> Algorithm:
    """The algorithm of its class; decay is the dialect's matter.

    Raises:
        TypeError: it is of another class.
    """
    for kind in type(optimizer).__mro__:
        if kind.__module__.partition(".")[0] == "keras" and kind.__name__ in _CLASSES:
            name = _CLASSES[kind.__name__]
            return ALGORITHMS["amsgrad" if getattr(optimizer, "amsgrad", False) else name]
    raise TypeError(
        f"optimizer must be Adam, AdamW, Nadam or Adamax of Keras 3, got {type(optimizer).__name__}"
    )


def variables_of(optimizer: Any) -> dict[str, Any]:
    """The variables that are optimized, by path, in Keras' order."""
    if not optimizer.built:
        raise ValueError(
            "the optimizer is not built: call optimizer.build(model.trainable_variables)"
        )
    given = [name for name in _UNSUPPORTED if getattr(optimizer, name)]
    if given:
        raise ValueError(f"the optimizer has {', '.join(given)}: there is no such transformation")
    variables = {v.path: v for v in optimizer._trainable_variables}
    if len(variables) != len(optimizer._trainable_variables):
        paths = ", ".join(v.path for v in optimizer._trainable_variables)
        raise ValueError(f"two variables have one path: {paths}")
    if odd := [p for p, v in variables.items() if v.constraint is not None]:
        raise ValueError(f"variables with a constraint cannot be converted: {', '.join(odd)}")
    if odd := [p for p, v in variables.items() if getattr(v, "overwrite_with_gradient", False)]:
        raise ValueError(
            f"variables overwritten with gradients are not optimized: {', '.join(odd)}"
        )
    return variables


def slots_of(
    optimizer: Any, algorithm: Algorithm, variables: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Path -> field of our state -> Keras' variable for it."""
    found: dict[str, dict[str, Any]] = {path: {} for path in variables}
    for field in algorithm.rule.moments:
        ending = f"_{algorithm.keras_state[field]}"
        # In the order of the variables; their names with other separators are not unique.
        slots = [v for v in optimizer.variables if v.name.endswith(ending)]
        for path, slot in zip(variables, slots, strict=True):
            found[path][field] = slot
    return found


def array(variable: Any) -> jax.Array:
    """A copy of a variable.

    Raises:
        TypeError: Keras does not run on JAX.
    """
    if not isinstance(variable.value, jax.Array):
        raise TypeError(
            f"{variable.path} is a {type(variable.value).__name__}: Keras must run on JAX, set "
            "KERAS_BACKEND=jax before it starts"
        )
    return jnp.array(variable.value, copy=True)
