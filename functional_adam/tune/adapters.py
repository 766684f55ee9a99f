"""Models of flax.nnx and of equinox as the pure functions of a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from .task import Metric

_NONE: Mapping[str, Metric] = {}


def from_nnx(
    make: Callable[[Any], Any],
    loss: Callable[..., Any],
    *,
    metrics: Mapping[str, Callable[[Any, Any], Any]] = _NONE,
) -> dict[str, Any]:
    """Functions of a task from a flax.nnx module: `Task("mine", ..., **from_nnx(make, loss))`.

    Dropout is on in training, each step with random numbers of its own, and off on validation data.
    Arrays that are no `nnx.Variable`, a causal mask for one, are constants: those of seed 0.

    Args:
        make: `nnx.Rngs` -> module; its `nnx.Param` are trained.
        loss: (module, batch) -> scalar, a mean over the examples; (module, batch, own) where the
            task has hyperparameters of its own.
        metrics: name -> (module, batch) -> scalar.

    Returns:
        `init`, `loss` and `metrics` by name.

    Raises:
        TypeError: the module has state besides parameters and random numbers (batch statistics),
            which a pure loss cannot change.
    """
    from flax import nnx

    model = make(nnx.Rngs(0))
    graph, _, _, rest = nnx.split(model, nnx.Param, nnx.RngState, ...)
    state = [(path, x) for path, x in nnx.to_flat_state(rest) if isinstance(x, nnx.Variable)]
    if state:
        told = ", ".join(f"{'.'.join(map(str, path))}: {type(x).__name__}" for path, x in state)
        raise TypeError(
            f"{type(model).__name__} has state besides parameters ({told}), which a loss that is a "
            "pure function cannot change: use layers without running statistics, such as "
            "nnx.LayerNorm or nnx.GroupNorm; keep a constant as a plain array"
        )

    def init(key):
        return nnx.state(make(nnx.Rngs(key)), nnx.Param)

    def module(params, key):
        rngs = nnx.state(make(nnx.Rngs(0 if key is None else key)), nnx.RngState)
        built = nnx.merge(graph, params, rngs, rest)
        built.eval() if key is None else built.train()
        return built

    return {
        "init": init,
        "loss": lambda params, batch, key, *own: loss(module(params, key), batch, *own),
        "metrics": {name: _measured(f, module) for name, f in metrics.items()},
    }


def from_equinox(
    make: Callable[[Any], Any],
    loss: Callable[..., Any],
    *,
    metrics: Mapping[str, Callable[[Any, Any], Any]] = _NONE,
) -> dict[str, Any]:
    """Functions of a task from an equinox module: `Task("mine", ..., **from_equinox(make, loss))`.

    On validation data the module is in `inference_mode` and the key is None.

    Args:
        make: key -> module; its floating arrays are trained.
        loss: (module, batch, key) -> scalar, a mean over the examples; (module, batch, key, own)
            where the task has hyperparameters of its own.
        metrics: name -> (module, batch) -> scalar.

    Returns:
        `init`, `loss` and `metrics` by name.

    Raises:
        TypeError: the module has state (`equinox.nn.StateIndex`), which a pure loss cannot change.
    """
    import equinox as eqx

    model = make(jax.random.key(0))
    is_state = lambda x: isinstance(x, eqx.nn.StateIndex)  # noqa: E731
    if any(map(is_state, jax.tree.leaves(model, is_leaf=is_state))):
        raise TypeError(
            f"{type(model).__name__} has an equinox.nn.StateIndex, which a loss that is a pure "
            "function cannot change: use layers without running statistics"
        )
    # Only what is trained depends on the key.
    _, static = eqx.partition(model, eqx.is_inexact_array)

    def init(key):
        return eqx.filter(make(key), eqx.is_inexact_array)

    def module(params, key):
        built = eqx.combine(params, static)
        return eqx.nn.inference_mode(built) if key is None else built

    return {
        "init": init,
        "loss": lambda params, batch, key, *own: loss(module(params, key), batch, key, *own),
        "metrics": {name: _measured(f, module) for name, f in metrics.items()},
    }


def _measured(metric: Callable[[Any, Any], Any], module: Callable[[Any, Any], Any]) -> Metric:
    return lambda params, batch: metric(module(params, None), batch)
