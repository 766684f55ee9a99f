"""A learning rate that falls when the loss no longer does: the one schedule that has a state."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from ._arguments import Scalar, choice, nonnegative, positive, real, steps


class ReduceLROnPlateauState(NamedTuple):
    """What ReduceLROnPlateau remembers; every field is a scalar."""

    learning_rate: jax.Array  # float: of the next update
    best: jax.Array  # float: the best loss seen, at first the worst there is
    num_bad_epochs: jax.Array  # int32: losses since then that were no better
    cooldown_counter: jax.Array  # int32: losses still to be ignored


def reduce_lr_on_plateau(
    learning_rate: Scalar,
    *,
    mode: Literal["min", "max"] = "min",
    factor: Scalar = 0.1,
    patience: Scalar = 10,
    threshold: Scalar = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: Scalar = 0,
    min_lr: Scalar = 0.0,
    eps: Scalar = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Scale updates by ``state.learning_rate / learning_rate``, lowered when the loss is stuck.

    ``optax.chain(adam(1e-3), reduce_lr_on_plateau(1e-3))``, with the loss of the step as the extra
    argument of ``update(updates, state, params, value=loss)``. As in torch, where scheduler.step
    follows optimizer.step, a loss acts on the *next* update: after more than `patience` losses in
    a row that are not better than the best, ``lr = max(factor * lr, min_lr)``, unless that
    changes it by `eps` or less; then `cooldown` losses are ignored. A NaN loss is not better.

    To judge once per epoch, keep this transformation out of the chain, call
    ``_, state = update({}, state, value=loss)`` per epoch, and multiply the updates of each step
    by ``state.learning_rate / learning_rate``.

    Args:
        learning_rate: the learning rate that the updates were made with, > 0.
        mode: whether a better loss is smaller ("min") or larger ("max").
        factor: new learning rate over old, in [0, 1).
        patience: losses in a row that may be no better, >= 0.
        threshold: by how much a loss must beat the best to be better, >= 0.
        threshold_mode: whether that is relative to the best ("rel") or absolute ("abs").
        cooldown: losses to ignore after a reduction, >= 0.
        min_lr: lower bound of the learning rate, >= 0; absolute, in the units of `learning_rate`.
        eps: the smallest change of the learning rate that is made, >= 0; absolute too.

    Returns:
        A transformation that requires ``value`` in ``update``.

    Raises:
        ValueError: a Python number outside its range, a mode of another name, a `value` that is
            not a scalar.
        TypeError: a `value` that is missing.

    Reference: torch.optim.lr_scheduler.ReduceLROnPlateau,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html

    Examples:
        >>> plateau = fa.schedules.reduce_lr_on_plateau(0.1, patience=0, factor=0.5)
        >>> tx = optax.chain(fa.adam(0.1), plateau)
        >>> params = jnp.ones(1)
        >>> state = tx.init(params)
        >>> for loss in (1.0, 1.0):
        ...     updates, state = tx.update(params, state, params, value=loss)
        >>> round(float(state[1].learning_rate), 4)
        0.05
    """
    learning_rate, factor = positive("learning_rate", learning_rate), _factor(factor)
    patience, cooldown = steps("patience", patience), steps("cooldown", cooldown)
    threshold, eps = nonnegative("threshold", threshold), nonnegative("eps", eps)
    min_lr, largest = nonnegative("min_lr", min_lr), choice("mode", mode, ("min", "max")) == "max"
    relative = choice("threshold_mode", threshold_mode, ("rel", "abs")) == "rel"

    def init(params: Any) -> ReduceLROnPlateauState:
        del params
        worst = -jnp.inf if largest else jnp.inf
        none = jnp.zeros((), jnp.int32)
        return ReduceLROnPlateauState(real(learning_rate), real(worst), none, none)

    def is_better(value: jax.Array, best: jax.Array) -> jax.Array:
        sign = 1 if largest else -1
        goal = best * (1 + sign * threshold) if relative else best + sign * threshold
        return value > goal if largest else value < goal

    def observe(state: ReduceLROnPlateauState, value: jax.Array) -> ReduceLROnPlateauState:
        better = is_better(value, state.best)
        cooling = state.cooldown_counter > 0
        bad = jnp.where(better | cooling, 0, state.num_bad_epochs + 1)
        reduce = bad > patience
        lower = jnp.maximum(state.learning_rate * factor, min_lr)
        changed = reduce & (state.learning_rate - lower > eps)
        counter = jnp.where(cooling, state.cooldown_counter - 1, state.cooldown_counter)
        return ReduceLROnPlateauState(
            learning_rate=jnp.where(changed, lower, state.learning_rate),
            best=jnp.where(better, value, state.best),
            num_bad_epochs=jnp.where(reduce, 0, bad).astype(jnp.int32),
            cooldown_counter=jnp.where(reduce, cooldown, counter).astype(jnp.int32),
        )

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[Any, ReduceLROnPlateauState]:
        del params, extra_args
        if value is None:
            raise TypeError("value, the loss, is missing: update(updates, state, value=loss)")
        if jnp.shape(value) != ():
            raise ValueError(f"value must be a scalar loss, got shape {jnp.shape(value)}")
        scale = state.learning_rate / learning_rate
        updates = jax.tree.map(lambda u: (u * scale).astype(u.dtype), updates)
        return updates, observe(state, real(value))

    return optax.GradientTransformationExtraArgs(init, update)


def _factor(factor: Any) -> Any:
    factor = nonnegative("factor", factor)
    if isinstance(factor, float) and factor >= 1:
        raise ValueError(f"factor must be in [0, 1), got {factor}")
    return factor
