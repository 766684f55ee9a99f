"""Health of a step against NumPy, wherever the state of Adam stands; and what is said of it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import functional_adam as fa
from functional_adam.diagnostics import flatten, health, summarize

CLOSE = 1e-5
B1, B2, EPS, RATE = 0.9, 0.999, 1e-3, 1e-2
PARAMS = {"a": np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)}
PARAMS["b"] = np.linspace(-1, 1, 40, dtype=np.float32)
GRADIENTS = [
    {
        k: 1e-3 * np.random.default_rng(i).normal(size=x.shape).astype(np.float32)
        for k, x in PARAMS.items()
    }
    for i in (1, 2, 3)
]
measured = jax.jit(health, static_argnames=("every", "b1", "b2", "eps", "algorithm"))


def stepped(tx, params=PARAMS, gradients=GRADIENTS):
    state = tx.init(params)
    update = jax.jit(tx.update)
    for g in gradients:
        updates, state = update(g, state, params)
    return updates, state, params, gradients[-1]


def expected(name):
    """Three steps of Adam in float64, and every figure in the words of its definition."""
    gs = [g[name].astype(float).ravel() for g in GRADIENTS]
    p, m, v = PARAMS[name].astype(float).ravel(), 0.0, 0.0
    for g in gs:
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
    c1, c2 = 1 - B1**3, 1 - B2**3
    root = np.sqrt(v / c2)
    u = -RATE * (m / c1) / (root + EPS)
    return dict(
        update_ratio=np.linalg.norm(u) / np.linalg.norm(p),
        effective_rate=np.abs(u).sum() / np.abs(m / c1).sum(),
        eps_dominates=np.mean(root < EPS),
        spike=np.sqrt(np.mean((gs[-1] / root) ** 2)),
        agreement=np.mean(np.sign(gs[-1]) == np.sign(m)),
        step_size=np.sqrt(np.mean((u / RATE) ** 2)),
        c1=c1, c2=c2, dead=0, stuck=0, live=1, unsound=0,
    )  # fmt: skip


OURS = fa.adam(RATE, eps=EPS)
WAYS = {
    "ours": OURS,
    "optax": optax.adam(RATE, eps=EPS),
    "chain": optax.chain(optax.clip(1.0), OURS),
    "injected": optax.inject_hyperparams(fa.adam, hyperparam_dtype=jnp.float32)(RATE, eps=EPS),
    "master": fa.with_master(OURS),
    "partition": optax.partition({"x": OURS, "y": OURS}, {"a": "x", "b": "y"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_figures_are_those_of_numpy(way):
    known = {} if way == "injected" else {"eps": EPS, "b2": B2}
    known |= {"algorithm": "adam"} if way == "optax" else {}
    found = measured(*stepped(WAYS[way]), every=1, **known)
    for name in PARAMS:
        own = found.leaves[name]._asdict()
        for field, want in expected(name).items():
            if own[field] is None:
                assert (field, way == "injected") == ("step_size", False)
            else:
                np.testing.assert_allclose(own[field], want, rtol=1e-3, atol=CLOSE, err_msg=field)


def test_packed_parameters_do_not_count_their_padding():
    packed, packing = fa.pack(PARAMS)
    gs = [packing.pack(g) for g in GRADIENTS]
    a = measured(*stepped(OURS, packed, gs), every=1, eps=EPS).total
    b = measured(*stepped(OURS), every=1, eps=EPS).total
    for field in ("update_ratio", "eps_dominates", "spike", "agreement"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-4)


def test_half_precision_that_stands_still_is_said():
    params = {"w": jnp.full(600, 100.0, jnp.bfloat16)}
    gradients = [{"w": jnp.full(600, 0.01, jnp.bfloat16)}] * 2
    found = measured(*stepped(optax.adam(1e-3), params, gradients))
    figures = flatten(found)
    assert (figures["total/lost"], figures["total/stuck"]) == (1, 1)
    text = "\n".join(summarize(found))
    assert "with_master" in text
    assert "random" in text
    coded = measured(*stepped(fa.adam(1e-3, moments="bfloat16"), params, gradients))
    assert flatten(coded)["total/stuck"] == 0


def test_dead_and_unsound_moments_and_groups():
    u, state, p, g = stepped(OURS)
    state = state._replace(nu={"a": jnp.zeros((24, 32)), "b": jnp.full(40, jnp.nan)})
    grouped = jax.jit(lambda *x: health(*x, every=1, groups={"a": "first", "b": "other"}))
    figures = flatten(grouped(u, state, p, g))
    assert figures["group/first/dead"] == figures["leaf/a/dead"] == 1
    assert (figures["group/first/unsound"], figures["group/other/unsound"]) == (0, 1)
    assert measured(u, state, p).total.spike is None


ERRORS = [
    (dict(state=optax.sgd(0.1).init(PARAMS)), "state holds no state of Adam"),
    (dict(updates={"a": PARAMS["a"]}), "updates must have the structure"),
    (dict(every=0), "every must be None or an integer of at least 1, got 0"),
    (dict(algorithm="sgd"), "algorithm must be one of adam"),
    (dict(algorithm="amsgrad"), "not a state of amsgrad"),
    (dict(state=fa.lion(RATE).init(PARAMS)), "health does not know lion: its figures are those"),
    (dict(state=fa.adopt(RATE).init(PARAMS)), "health does not know adopt"),
    (dict(state=fa.adabelief(RATE).init(PARAMS)), "health does not know adabelief"),
    (dict(state=optax.contrib.ademamix(RATE).init(PARAMS)), "health does not know ademamix"),
    (dict(b2=1.5), r"b2 must be in \[0, 1\)"),
    (dict(groups={"c": "x"}), "groups must be a tree like params"),
    (dict(params={"a": PARAMS["a"]}, updates={"a": PARAMS["a"]}), "which params does not have"),
]


@pytest.mark.parametrize(("wrong", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(wrong, words):
    arguments = dict(updates=PARAMS, state=OURS.init(PARAMS), params=PARAMS) | wrong
    with pytest.raises(ValueError, match=words):
        health(**arguments)


def test_a_leaf_without_gradients_agrees_and_the_leaf_that_is_beyond_is_quoted():
    params = {"idle": jnp.ones(9), "busy": jnp.ones(9)}
    gradients = [{"idle": jnp.zeros(9), "busy": jnp.ones(9)}] * 20
    found = measured(*stepped(fa.adam(1e-3), params, gradients), every=1)
    assert found.leaves["idle"].agreement == found.leaves["idle"].chance
    assert not any("agreement" in line for line in summarize(found))
    # One leaf of two turns around; everything together still agrees.
    turned = [{"idle": jnp.ones(9), "busy": jnp.ones(9)}] * 20
    turned += [{"idle": jnp.where(jnp.arange(9) < 4, 1.0, -1.0), "busy": jnp.ones(9)}]
    (line,) = [
        x
        for x in summarize(measured(*stepped(fa.adam(1e-3), params, turned), every=1))
        if x.startswith("agreement")
    ]
    assert line.startswith("agreement: 44% of gradients")
    assert line.endswith("In: idle.")


def test_leaves_of_which_a_share_is_looked_at_count_as_a_whole():
    """A coordinate of an embedding stands for many, one of a bias for itself."""
    sizes = {"big": ((1000, 1000), 1.0, 1.0), "small": ((64, 64), 1e-23, -0.5)}
    params = {name: jnp.ones(shape) for name, (shape, _, _) in sizes.items()}
    g = {name: jnp.full(shape, x) for name, (shape, x, _) in sizes.items()}
    tx = fa.adam(1e-3)
    _, state = tx.update(g, tx.init(params), params)
    u = {name: jnp.full(shape, 1e-3 * x) for name, (shape, _, x) in sizes.items()}
    groups = {"big": "all", "small": "all"}
    for every in (None, np.int64(7), 1):
        found = health(u, state, params, g, groups=groups, every=every)
        norm = math.sqrt(1e6 + 0.25 * 4096) / math.sqrt(1e6 + 4096)
        for total in (found.total, found.groups["all"]):
            np.testing.assert_allclose(total.update_ratio, 1e-3 * norm, rtol=1e-5)
            np.testing.assert_allclose(total.dead, 4096 / (1e6 + 4096), rtol=1e-2)
        assert found.leaves["small"].dead == 1
