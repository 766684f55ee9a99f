"""Early errors of a task that name the part, what it is and what it should be."""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._numerics import x64_enabled
from . import _evaluate
from ._tree import examples, take

DTYPES = ("float32", "bfloat16", "float16", "float64")
COLUMNS = ("phase", "seed", "steps", "of", "validation", "diverged", "seconds")
"""Of a study's table, beside the hyperparameters."""


def check(task: Any) -> None:
    """Raise the first of a task's errors; computes the initial weights and one loss."""
    shapes(task)
    _start(task)


def shapes(task: Any) -> None:
    """Raise the first of a task's errors that show without computing anything."""
    _numbers(task)
    names(task)
    for part in ("train", "validation", "held_out"):
        if part != "held_out" or task.held_out is not None:
            _arrays(task, part)
    _same_examples(task)
    batch_fits(task, examples(task.train))
    params = _parameters(task)
    _shape(task, "loss", _one(task), params)
    for name, metric in task.metrics.items():
        _shape(task, f"metrics[{name!r}]", _evaluate.metric_of(task, metric), params)


def counts(task: Any) -> None:
    """Raise ValueError where a count of a task, of JAX or of torch, is no positive integer."""
    for name in ("batch_size", "steps", "evaluations"):
        value = getattr(task, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


def names(task: Any) -> None:
    """Raise ValueError where a metric or a hyperparameter of a task has a study's own name."""
    if "loss" in task.metrics:
        raise ValueError(
            f"metrics of task {task.name!r} must not be called 'loss': that is what is chosen by"
        )
    taken = [name for name in task.own if name in COLUMNS]
    if taken:
        raise ValueError(
            f"own of task {task.name!r} must not hold {', '.join(taken)}: columns of a study have "
            f"these names, {', '.join(COLUMNS)}"
        )


def batch_fits(task: Any, n: int) -> None:
    """Raise ValueError where a batch is more than all `n` training examples."""
    if task.batch_size > n:
        raise ValueError(
            f"batch_size of task {task.name!r} must be at most its {n} training examples, got "
            f"{task.batch_size}"
        )


def _numbers(task):
    counts(task)
    if task.dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {task.dtype!r}")
    if task.dtype == "float64" and not x64_enabled():
        raise ValueError("dtype 'float64' needs x64: jax.config.update('jax_enable_x64', True)")


def _arrays(task, part):
    leaves = jax.tree_util.tree_flatten_with_path(getattr(task, part))[0]
    if not leaves:
        raise ValueError(f"{part} of task {task.name!r} holds no arrays")
    sizes = {}
    for path, leaf in leaves:
        where = f"{part}{jax.tree_util.keystr(path)}"
        if not isinstance(leaf, np.ndarray | jax.Array):
            raise TypeError(f"{where} must be an array, got {type(leaf).__name__}")
        if leaf.ndim == 0:
            raise ValueError(f"{where} must have a first axis of examples, got a scalar")
        if not _is_number(leaf.dtype):
            raise TypeError(f"{where} must hold numbers of whole bytes, got dtype {leaf.dtype}")
        sizes[where] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{where} has {n}" for where, n in sizes.items())
        raise ValueError(f"arrays of {part} must hold as many examples as each other: {told}")
    if not min(sizes.values()):
        raise ValueError(f"{part} of task {task.name!r} holds no examples")


def _is_number(dtype):
    """Of whole bytes, a bool, or a key of random numbers."""
    if _is_key(dtype):
        return True
    if jnp.issubdtype(dtype, np.inexact):
        return jnp.finfo(dtype).bits >= 8
    return dtype == np.bool_ or (jnp.issubdtype(dtype, np.integer) and jnp.iinfo(dtype).bits >= 8)


def _is_key(dtype):
    return jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _same_examples(task):
    """An example of validation looks like one of training."""
    for part in ("validation", "held_out"):
        other = getattr(task, part)
        if other is None:
            continue
        if jax.tree.structure(other) != jax.tree.structure(task.train):
            raise ValueError(
                f"{part} must have the structure of train, {jax.tree.structure(task.train)}; got "
                f"{jax.tree.structure(other)}"
            )
        for (path, a), b in zip(
            jax.tree_util.tree_flatten_with_path(task.train)[0], jax.tree.leaves(other), strict=True
        ):
            if a.shape[1:] != b.shape[1:]:
                where = jax.tree_util.keystr(path)
                raise ValueError(
                    f"an example of {part}{where} has shape {b.shape[1:]}, one of train{where} "
                    f"{a.shape[1:]}"
                )


def _parameters(task):
    try:
        params = jax.eval_shape(task.init, jax.random.key(0))
    except Exception as error:
        raise ValueError(f"init(key) of task {task.name!r} fails: {_first_line(error)}") from error
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    if not leaves:
        raise ValueError(f"init of task {task.name!r} gives no parameters")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} of task {task.name!r} has dtype {leaf.dtype}: "
                "Adam needs floating leaves"
            )
    return params


def _one(task):
    own = {name: jnp.float32(0.5) for name in task.own}
    loss = _evaluate.loss_of(task)
    return lambda params, batch: loss(params, batch, jax.random.key(0), own)


def _start(task):
    """Finite weights and, with values of `own` known, a finite loss."""
    params = jax.jit(task.init)(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not bool(jnp.all(jnp.isfinite(leaf))):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} of task {task.name!r} is not finite at the "
                "start"
            )
    if task.own:
        return
    batch = take(task.train, np.arange(task.batch_size))
    value = float(jax.jit(_one(task))(params, batch))
    if not math.isfinite(value):
        raise ValueError(
            f"loss of task {task.name!r} must be finite at the start, got {value} for the first "
            f"{task.batch_size} training examples in {task.dtype}"
        )


def _shape(task, what, function, params):
    def first(x):
        dtype = x.dtype if _is_key(x.dtype) else jax.dtypes.canonicalize_dtype(x.dtype)
        return jax.ShapeDtypeStruct((task.batch_size, *x.shape[1:]), dtype)

    batch = jax.tree.map(first, task.train)
    try:
        out = jax.eval_shape(function, params, batch)
    except Exception as error:
        raise ValueError(
            f"{what} of task {task.name!r} fails on a batch of {task.batch_size} examples: "
            f"{_first_line(error)}"
        ) from error
    if not hasattr(out, "shape") or not hasattr(out, "dtype"):
        raise ValueError(
            f"{what} of task {task.name!r} must return a scalar, got {type(out).__name__}"
        )
    if out.shape != ():
        raise ValueError(
            f"{what} of task {task.name!r} must be a scalar, got shape {out.shape}: take the mean "
            "over the examples"
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(
            f"{what} of task {task.name!r} must be a floating number, got dtype {out.dtype}"
        )


def _first_line(error):
    text = str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {text.splitlines()[0]}"
