"""A run that leaves Keras, goes on here and comes back stays with the run that never moved."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

import functional_adam as fa

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(3e-2, 20, 0.5)
CASES = [
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"learning_rate": SCHEDULE, "clipnorm": 0.5}),
    ("AdamW", {"amsgrad": True, "global_clipnorm": 0.5}),
    ("Nadam", {"learning_rate": SCHEDULE, "weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1, "clipvalue": 0.3}),
]
# Over the distance travelled, as the parity table's `free`. Keras takes 1 - b**t in float32: at
# b2 = .999 its first steps are off by a relative 1e-5.
BOUND = 1e-5


def _variables(dtype="float32"):
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.standard_normal(shape), name=name, dtype=dtype)
        for name, shape in (("kernel", (7,)), ("bias", (7,)))
    ]


def _make(name, options, dtype="float32"):
    variables = _variables(dtype)
    optimizer = getattr(keras.optimizers, name)(**({"learning_rate": 1e-2} | options))
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    return variables, optimizer


def _gradients(step, dtype="float32"):
    rng = np.random.default_rng((1, step))
    size = 10.0 ** (step % 3 - 1)
    return [jnp.asarray(size * rng.standard_normal(s), dtype) for s in ((7,), (7,))]


def _step(tx):
    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return optax.apply_updates(params, updates), state

    return step


@pytest.mark.parametrize(("name", "options"), CASES)
def test_hopping_stays_with_the_run_that_never_moves(name, options):
    stays, steady = _make(name, options)
    hops, moving = _make(name, options)
    start, step = [v.value for v in stays], None
    for first in range(0, 40, 20):
        for t in range(first, first + 20):
            steady.apply(_gradients(t), stays)
        for t in range(first, first + 10):
            moving.apply(_gradients(t), hops)
        tx, params, state = fa.from_keras(moving)
        step = step or _step(tx)
        for t in range(first + 10, first + 20):
            g = dict(zip(("kernel", "bias"), _gradients(t), strict=True))
            params, state = step(params, state, g)
        hops, moving = _make(name, options)
        assert fa.to_keras(params, state, moving) is moving
    travelled = max(np.abs(v.value - s).max() for v, s in zip(stays, start, strict=True))
    apart = max(np.abs(v.value - w.value).max() for v, w in zip(stays, hops, strict=True))
    assert travelled > 0.1
    assert apart / travelled < BOUND
    assert int(moving.iterations.value) == 40


@pytest.mark.filterwarnings("ignore::functional_adam.PrecisionWarning")
@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [(*case, "float32") for case in CASES] + [(*CASES[1], "bfloat16")],
)
def test_there_and_back_is_bit_equal(name, options, dtype):
    variables, optimizer = _make(name, options, dtype)
    for t in range(3):
        optimizer.apply(_gradients(t, dtype), variables)
    tx, params, state = fa.from_keras(optimizer)
    assert jax.tree.structure(tx.init(params)) == jax.tree.structure(state)
    assert [x.dtype for x in jax.tree.leaves(tx.init(params))] == [
        x.dtype for x in jax.tree.leaves(state)
    ]
    others, target = _make(name, options, dtype)
    fa.to_keras(params, state, target)
    pairs = [*zip(variables, others, strict=True)]
    pairs += [*zip(optimizer.variables, target.variables, strict=True)]
    if name == "Nadam":
        pairs.append((optimizer._u_product, target._u_product))
    for a, b in pairs:
        assert a.dtype == b.dtype
        assert np.asarray(a.value).tobytes() == np.asarray(b.value).tobytes()


@pytest.mark.parametrize(("name", "options"), [CASES[0], CASES[4]])
def test_neither_side_holds_what_the_other_may_donate(name, options):
    variables, optimizer = _make(name, options)
    optimizer.apply(_gradients(0), variables)
    tx, params, state = fa.from_keras(optimizer)
    fa.to_keras(params, state, optimizer)
    kept = [*variables, *optimizer.variables]
    kept += [optimizer._u_product] if name == "Nadam" else []
    before = [np.asarray(v.value) for v in kept]
    g = dict(zip(params, _gradients(1), strict=True))
    step = jax.jit(lambda p, s: fa.apply_update(tx, g, s, p), donate_argnums=(0, 1))
    step(params, state)
    assert all(x.is_deleted() for x in params.values())
    for v, x in zip(kept, before, strict=True):
        assert np.asarray(v.value).tobytes() == x.tobytes()


def test_errors_say_what_to_do():
    _, adam = _make("Adam", {})
    _, nadam = _make("Nadam", {})
    _, params, state = fa.from_keras(adam)
    variables = _variables()
    averaged = keras.optimizers.Adam(use_ema=True)
    averaged.build(variables)
    called = keras.optimizers.Adam(lambda: 1e-3)
    called.build(variables)
    sgd = keras.optimizers.SGD()
    sgd.build(variables)
    twice = keras.optimizers.Adam()
    twice.build([variables[0], _variables()[0]])
    for call, kind, said in (
        (lambda: fa.from_keras(keras.optimizers.Adam()), ValueError, r"call optimizer\.build"),
        (lambda: fa.from_keras(averaged), ValueError, "has use_ema"),
        (lambda: fa.from_keras(called), TypeError, "a function without arguments"),
        (lambda: fa.from_keras(sgd), TypeError, "must be Adam, AdamW, Nadam or Adamax.*got SGD"),
        (lambda: fa.from_keras(twice), ValueError, "two variables have one path: kernel, kernel"),
        (lambda: fa.to_keras(params, state, nadam), ValueError, "nadam keeps mu, mu_product, nu"),
        (
            lambda: fa.to_keras({"kernel": jnp.ones(5), "b": params["bias"]}, state, adam),
            ValueError,
            r"(?s)params missing: bias.*extra: b.*shape: kernel is \(5,\), must be \(7,\)",
        ),
    ):
        with pytest.raises(kind, match=said):
            call()
