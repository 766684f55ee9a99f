"""The transformations work unchanged where optax's do: wrappers, Flax NNX, Equinox."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import OTHER_PROGRAM, SHORT, assert_close, assert_equal, delta, gradients, params, run

import functional_adam as fa
from functional_adam import diagnostics
from functional_adam.convert import moments

short = pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
# What a wrapper can see of a rule: its decay, a third moment, a scalar in the state.
few = pytest.mark.parametrize(
    "case",
    [case for case in SHORT if case.name in ("adamw", "amsgrad", "nadam")],
    ids=lambda case: case.name,
)


def labels(p):
    return {"dense": {"w": "a", "b": "b"}, "scale": "b"}


# Without an outer jit the compiled step scalars and leaves are shared by all tests of a row.
_plainly = functools.partial(run, jit=lambda step: step)


@few
def test_wrappers_that_change_nothing(case):
    """Each is another way to say the same run."""
    inner = case.make()
    ways = {
        "chain": optax.chain(optax.clip_by_global_norm(1e9), inner),
        "masked": optax.masked(inner, lambda p: jax.tree.map(lambda _: True, p)),
        "partition": optax.partition({"a": inner, "b": case.make()}, labels),
        "apply_if_finite": optax.apply_if_finite(inner, 3),
        "MultiSteps": optax.MultiSteps(inner, 1).gradient_transformation(),
        "flatten": optax.flatten(inner),
        "named_chain": optax.named_chain(("first", optax.identity()), ("adam", inner)),
    }
    if "w" not in case.name:  # a mask by dimension or a decay per leaf would see the flat vector
        del ways["flatten"]
    p = params()
    want = delta(_plainly(inner, p, 4)[0], p)
    for tx in ways.values():
        assert_close(delta(_plainly(tx, p, 4)[0], p), want, **OTHER_PROGRAM)


@short
def test_inject_hyperparams_drives_the_rate(case):
    make = fa.ALGORITHMS[case.algorithm].make
    injected = optax.inject_hyperparams(make, hyperparam_dtype=jnp.float32)
    tx = injected(optax.linear_schedule(1e-2, 2e-2, 4))
    p = params()
    end, state = run(tx, p, 4)
    want = run(make(optax.linear_schedule(1e-2, 2e-2, 4)), p, 4)[0]
    # It turns b2 into a float32 array, which makes 1 - b2 wrong by 1.3e-5 of itself.
    assert_close(delta(end, p), delta(want, p), rtol=1e-4, atol=1e-6)
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(1e-2 * 1.75)


@few
def test_multi_steps_averages(case):
    p = params()
    tx = optax.MultiSteps(case.make(), 2).gradient_transformation()
    q, state = p, tx.init(p)
    inner, mean_state = case.make(), case.make().init(p)
    for t in range(2):
        pair = [gradients(2 * t + i, p) for i in range(2)]
        for g in pair:
            updates, state = tx.update(g, state, q)
            q = optax.apply_updates(q, updates)
        mean = jax.tree.map(lambda a, b: a + (b - a) / 2, *pair)
        updates, mean_state = inner.update(mean, mean_state, p)
        p = optax.apply_updates(p, updates)
    assert_close(q, p, **OTHER_PROGRAM)


@few
def test_masked_and_frozen_leaves_stand_still(case):
    p = params()
    only_w = {"dense": {"w": True, "b": False}, "scale": False}
    masked = optax.chain(
        optax.masked(case.make(), only_w),
        optax.masked(optax.set_to_zero(), jax.tree.map(lambda x: not x, only_w)),
    )
    frozen = optax.partition({"a": case.make(), "b": optax.set_to_zero()}, labels)
    alone = _plainly(case.make(), {"w": p["dense"]["w"]}, 1)
    for tx in (masked, frozen):
        end, _ = _plainly(tx, p, 1)
        assert (end["dense"]["b"] == p["dense"]["b"]).all()
        assert end["scale"] == p["scale"]
        assert (end["dense"]["w"] != p["dense"]["w"]).any()
    assert jax.tree.leaves(alone[0])[0].shape == p["dense"]["w"].shape


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_inside_wrappers(dtype):
    """Updates have the gradients' dtype, as apply_if_finite and MultiSteps demand."""
    for wrap in (lambda tx: optax.apply_if_finite(tx, 3), lambda tx: optax.MultiSteps(tx, 2)):
        tx, p = wrap(fa.adamw(1e-2)), params(dtype)
        state = tx.init(p)
        step = tx.update
        for t in range(4):
            updates, state = step(gradients(t, p), state, p)
            assert all(u.dtype == dtype for u in jax.tree.leaves(updates))
            p = optax.apply_updates(p, updates)
        assert all(np.isfinite(np.float64(x)).all() for x in jax.tree.leaves(p))


def test_apply_if_finite_rejects():
    p = params()
    tx = optax.apply_if_finite(fa.adam(1e-2), 3)
    state = tx.init(p)
    bad = jax.tree.map(lambda x: x * jnp.nan, gradients(0, p))
    updates, after = tx.update(bad, state, p)
    assert not any(u.any() for u in jax.tree.leaves(updates))
    assert_equal(after.inner_state, state.inner_state)


def test_scale_by_is_the_direction():
    p = params()
    for name, algorithm in fa.ALGORITHMS.items():
        if algorithm.defaults["weight_decay"] is None:
            continue
        chain = optax.chain(algorithm.scale(), optax.scale_by_learning_rate(1e-2))
        want = delta(_plainly(algorithm.make(1e-2), p, 7)[0], p)
        assert_close(delta(_plainly(chain, p, 7)[0], p), want, **OTHER_PROGRAM)
        # A rate given to the chain is not the direction's business.
        moved = _plainly(algorithm.scale(), p, 2, learning_rate=5.0)[0]
        assert_equal(moved, _plainly(algorithm.scale(), p, 2)[0])
        assert name in algorithm.scale.__name__


def test_nesterov_scale_by():
    p = params()
    for make, scale in ((fa.adam, fa.scale_by_adam), (fa.radam, fa.scale_by_radam)):
        chain = optax.chain(scale(nesterov=True), optax.scale_by_learning_rate(1e-2))
        want = delta(_plainly(make(1e-2, nesterov=True), p, 7)[0], p)
        assert_close(delta(_plainly(chain, p, 7)[0], p), want, **OTHER_PROGRAM)
        plain = delta(_plainly(make(1e-2), p, 7)[0], p)
        assert np.abs(plain["dense"]["w"] - want["dense"]["w"]).max() > 1e-4


@short
def test_flax_nnx(case):
    from flax import nnx

    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)
    optimizer = nnx.Optimizer(model, case.make(), wrt=nnx.Param)
    weights = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    tx, state = case.make(), case.make().init(weights)

    def loss(model):
        return jnp.mean(model(x) ** 2)

    @nnx.jit
    def train(model, optimizer):
        grads = nnx.grad(loss)(model)
        optimizer.update(model, grads)
        return grads

    for _ in range(3):
        g = nnx.to_pure_dict(train(model, optimizer))
        updates, state = tx.update(g, state, weights)
        weights = optax.apply_updates(weights, updates)
    assert_close(nnx.to_pure_dict(nnx.state(model, nnx.Param)), weights, **OTHER_PROGRAM)


@short
def test_equinox(case):
    import equinox as eqx

    model = eqx.nn.MLP(4, 3, 5, 1, key=jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)
    tx = case.make()
    # The activation and the sizes are leaves or fields without gradient: None among the leaves.
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def train(model, state):
        value, g = eqx.filter_value_and_grad(lambda m: jnp.mean(jax.vmap(m)(x) ** 2))(model)
        updates, state = tx.update(g, state, eqx.filter(model, eqx.is_inexact_array))
        whole, _ = tx.update(g, state, model)
        assert jax.tree.structure(whole) == jax.tree.structure(updates)
        return eqx.apply_updates(model, updates), state, value

    values = []
    for _ in range(20):
        model, state, value = train(model, state)
        values.append(float(value))
    assert values[-1] < values[0]
    assert int(state.count) == 20


@pytest.mark.parametrize("bits", [None, 16])
def test_flax_nnx_with_int8_moments(bits):
    """nnx gives the codes back as mappings; they go on, are converted and measured as before."""
    from flax import nnx

    tx = fa.adamw(1e-2, moments="int8")
    tx = tx if bits is None else fa.with_master(tx, bits=bits)
    dtype = jnp.float32 if bits is None else jnp.bfloat16
    model = nnx.Linear(64, 64, rngs=nnx.Rngs(0), param_dtype=dtype)
    weights = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    optimizer, state = nnx.Optimizer(model, tx, wrt=nnx.Param), tx.init(weights)
    rng = np.random.default_rng(0)
    for _ in range(3):
        g = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape), p.dtype), weights)
        plain = nnx.state(model, nnx.Param)
        nnx.replace_by_pure_dict(plain, g)
        optimizer.update(model, plain)
        updates, state = tx.update(g, state, weights)
        weights = optax.apply_updates(weights, updates)
    assert_equal(nnx.to_pure_dict(nnx.state(model, nnx.Param)), weights)
    if bits is None:
        got, want = moments.read(optimizer.opt_state), moments.read(state)
        for name in want:
            assert_equal(got[f"{name}.value"].moments, want[name].moments)
        own = diagnostics.health(plain, optimizer.opt_state, nnx.state(model, nnx.Param))
        figures = diagnostics.health(g, state, weights)
        assert_equal(own.total, figures.total)


def test_a_module_of_bools_is_a_mask_also_where_it_can_be_called():
    """As optax tells a mask from a function that makes one: by its leaves."""
    import equinox as eqx

    model = eqx.nn.Linear(3, 2, key=jax.random.key(0))
    mask = jax.tree.map(lambda p: p.ndim > 1, model)
    assert callable(mask)
    for given in (mask, lambda tree: mask):
        tx = fa.adamw(0.1, weight_decay=0.5, mask=given)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, model), tx.init(model), model)
        np.testing.assert_allclose(updates.weight, -0.05 * model.weight, rtol=2e-5)
        assert (updates.bias == 0).all()
        _, unpack = fa.pack(model, by=given)
        assert unpack.labels(given).buffers == (True, False)
        groups = diagnostics.health(updates, tx.init(model), model, groups=given).groups
        assert groups.keys() == {"True", "False"}
