"""optax's checkpoints resume under functional_adam, and the reverse."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close, assert_equal, gradients, params

import functional_adam as fa
from functional_adam.convert.moments import fields

# float64, where optax's corrections have their digits: roundings of a few steps.
SAME = dict(rtol=1e-12, atol=1e-14)
RATE = optax.linear_schedule(3e-2, 1e-2, 10)
MASK = {"dense": {"w": True, "b": False}, "scale": True}
LABELS = {"dense": "x", "scale": "y"}


def _chain(adamw):
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.ema(0.9), adamw(RATE, weight_decay=0.1)
    )


PAIRS = {
    "adam": (optax.adam(1e-2, b1=0.8), fa.adam(1e-2, b1=0.8)),
    "adamw": (optax.adamw(RATE, weight_decay=0.1), fa.adamw(RATE, weight_decay=0.1)),
    "adamax": (optax.adamax(1e-2), fa.adamax(1e-2)),
    "nesterov": (optax.nadam(1e-2), fa.adam(1e-2, nesterov=True)),
    "amsgrad": (optax.amsgrad(1e-2), fa.amsgrad(1e-2, dialect=fa.OPTAX)),
    "chain": (_chain(optax.adamw), _chain(fa.adamw)),
    "scale": (
        optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(RATE)),
        optax.chain(fa.scale_by_adam(), optax.scale_by_learning_rate(RATE)),
    ),
    "masked": (optax.masked(optax.adam(1e-2), MASK), optax.masked(fa.adam(1e-2), MASK)),
    "partition": (
        optax.partition({"x": optax.adam(RATE), "y": optax.sgd(0.1, 0.9)}, LABELS),
        optax.partition({"x": fa.adam(RATE), "y": optax.sgd(0.1, 0.9)}, LABELS),
    ),
    "inject": (
        optax.inject_hyperparams(optax.adam)(RATE, b1=0.8),
        optax.inject_hyperparams(fa.adam)(RATE, b1=0.5),
    ),
    "multi_steps": (
        optax.MultiSteps(optax.adam(1e-2), 3).gradient_transformation(),
        optax.MultiSteps(fa.adam(1e-2), 3).gradient_transformation(),
    ),
    "apply_if_finite": (
        optax.apply_if_finite(optax.adam(1e-2), 3),
        optax.apply_if_finite(fa.adam(1e-2), 3),
    ),
}


@functools.cache
def _jitted(tx):
    def step(p, state, g):
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    return jax.jit(step)


def _go_on(tx, p, state, steps):
    for t in steps:
        p, state = _jitted(tx)(p, state, gradients(t, p))
    return p, state


@pytest.mark.parametrize("name", PAIRS)
def test_a_run_goes_on_on_the_other_side(name):
    theirs, ours = PAIRS[name]
    with jax.enable_x64(True):
        p = params(np.float64)
        for a, b, convert in ((theirs, ours, fa.from_optax), (ours, theirs, fa.to_optax)):
            start, state = _go_on(a, p, a.init(p), range(5))
            other = convert(state, b.init(p))
            assert jax.tree.structure(other) == jax.tree.structure(b.init(p))
            stays, state = _go_on(a, start, state, range(5, 9))
            moves, other = _go_on(b, start, other, range(5, 9))
            assert_close(moves, stays, **SAME)
            # And home again: everything that is not Adam's as well.
            back = (fa.to_optax if convert is fa.from_optax else fa.from_optax)(other, state)
            assert_close(back, state, **SAME)


def test_without_a_template_the_state_is_that_of_ours_alone():
    p = params()
    for theirs, ours in (
        (optax.adamw(1e-2), fa.adamw(1e-2)),
        (optax.amsgrad(1e-2), fa.amsgrad(1e-2)),
    ):
        _, state = _go_on(theirs, p, theirs.init(p), range(3))
        found = fa.from_optax(state)
        assert jax.tree.structure(found) == jax.tree.structure(ours.init(p))
        assert_equal(fields(found), fields(state[0]))


def test_dtypes_are_kept_and_batches_of_runs_too():
    p = params()
    tx = optax.adam(1e-2, mu_dtype=jnp.bfloat16)
    _, state = _go_on(tx, p, tx.init(p), range(2))
    assert fa.from_optax(state, fa.adam(1e-2).init(p)).mu["scale"].dtype == jnp.bfloat16
    many = jax.tree.map(lambda x: jnp.stack([x, x]), p)
    states = jax.vmap(tx.init)(many)
    found = jax.jit(fa.from_optax)(states, jax.vmap(fa.adam(1e-2).init)(many))
    assert_equal(fields(found), fields(states[0]))


def _other(p):
    return {"dense": {"w": jnp.ones((5, 8)), "c": jnp.ones(7)}, "scale": p["scale"]}


ERRORS = [
    (
        lambda p: fa.from_optax(optax.adam(1.0).init(p), fa.adam(1.0).init(_other(p))),
        r"(?s)missing: dense\.c.*extra: dense\.b.*shape: dense\.w is \(5, 7\), must be \(5, 8\)",
    ),
    (lambda p: fa.from_optax(optax.sgd(1.0).init(p)), "holds 0 states of Adam, not one: pass like"),
    (
        lambda p: fa.from_optax(optax.sgd(1.0).init(p), fa.adam(1.0).init(p)),
        "holds no state of Adam: it has to contain one of ADOPTState, AMSGradState, .*, AdamState",
    ),
    (
        lambda p: fa.from_optax(optax.adabelief(1.0).init(p), fa.adam(1.0).init(p)),
        "AdamState needs nu, which is not kept of",
    ),
    (
        lambda p: fa.from_optax(optax.adam(1.0).init(p), optax.sgd(1.0).init(p)),
        r"like must hold a state of Adam: like=tx\.init\(params\) of a functional_adam",
    ),
    (
        lambda p: fa.from_optax(optax.nadam(1.0).init(p), fa.nadam(1.0).init(p)),
        r"(?s)NAdamState needs mu_product, which is not kept of:.*dense\.b",
    ),
    (
        lambda p: fa.to_optax(fa.nadam(1.0).init(p), optax.nadam(1.0).init(p)),
        "ScaleByAdamState has no place for mu_product: another algorithm",
    ),
    (
        lambda p: fa.to_optax(fa.amsgrad(1.0).init(p), optax.adam(1.0).init(p)),
        "ScaleByAdamState has no place for nu_max",
    ),
    (
        lambda p: fa.from_optax(
            optax.partition({"x": optax.adam(1.0), "y": optax.adam(1.0)}, LABELS).init(p)
        ),
        "holds 2 states of Adam, not one",
    ),
    # Parameters that are one array have no name.
    (
        lambda p: fa.from_optax(optax.adam(1.0).init(jnp.ones(3)), fa.adam(1.0).init(jnp.ones(4))),
        r"shape: the root is \(3,\), must be \(4,\)",
    ),
]


@pytest.mark.parametrize(("call", "said"), ERRORS, ids=range(len(ERRORS)))
def test_errors_name_what_is_wrong(call, said):
    with pytest.raises(ValueError, match=said):
        call(params())


def test_one_state_cannot_hold_two_counts():
    p = params()
    tx = optax.partition({"x": optax.adam(1.0), "y": optax.adam(1.0)}, LABELS)
    state = tx.init(p)
    inner = state.inner_states["x"].inner_state
    ahead = (inner[0]._replace(count=jnp.int32(5)), *inner[1:])
    parts = state.inner_states | {"x": optax.MaskedState(ahead)}
    with pytest.raises(ValueError, match=r"different values of count \(dense\.b: 5.*scale: 0\)"):
        fa.from_optax(state._replace(inner_states=parts), fa.adam(1.0).init(p))


def test_only_schedules_are_set_to_the_count():
    """An average that starts anew has seen nothing, and a plateau waits as if it were new."""
    p = params()
    theirs = optax.adam(1e-2)
    _, state = _go_on(theirs, p, theirs.init(p), range(5))
    others = (optax.ema(0.9), optax.contrib.reduce_on_plateau(factor=0.5, patience=2))
    tx = optax.chain(
        fa.adam(optax.linear_schedule(1.0, 0.5, 9)),
        optax.scale_by_schedule(optax.linear_schedule(1.0, 0.5, 9)),
        fa.clip_by_update_bound(),
        *others,
    )
    found = fa.from_optax(state, like=tx.init(p))
    assert [int(x.count) for x in found] == [5, 5, 5, 0, 0]
    injected = optax.inject_hyperparams(fa.adam)(optax.linear_schedule(1.0, 0.5, 9))
    found = fa.from_optax(state, like=injected.init(p))
    assert int(found.count) == int(found.hyperparams_states["learning_rate"].count) == 5


def test_every_moment_has_the_shape_of_its_parameter():
    p = {"w": jnp.ones((2, 5))}
    state = optax.adam(1.0).init(p)[0]
    for nu, said in (
        (jnp.ones(5), r"shape: nu of w is \(5,\), must be \(2, 5\)"),
        (jnp.ones((2, 5), jnp.int32), "dtype: nu of w is int32, must be floating"),
    ):
        with pytest.raises(ValueError, match=said):
            fa.from_optax(state._replace(nu={"w": nu}), like=fa.adam(1.0).init(p))
