"""`with_master` around any chain: exact with 32 bits, unbiased with fewer, in any company."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_equal

import functional_adam as fa
from functional_adam._halves import HALF, is_half, split

every_bits = pytest.mark.parametrize("bits", [32, 24, 16])

SCHEDULE = optax.cosine_decay_schedule(1e-2, 30)
STOCK = {
    "adamw": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(SCHEDULE, weight_decay=0.1)),
    "lion": optax.lion(1e-3),
    "sgd": optax.sgd(SCHEDULE, momentum=0.9),
}
MASK = {"b": True, "h": True, "f": False}
LABELS = {"b": "x", "h": "x", "f": "y"}


def _adamw(bits):
    return fa.with_master(optax.adamw(1e-2), bits=bits)


INSIDE = {
    "adafactor": optax.adafactor(1e-2),
    "masked": optax.masked(optax.adamw(1e-2), MASK),
    "partition": optax.partition({"x": optax.adamw(1e-2), "y": optax.set_to_zero()}, LABELS),
    "MultiSteps": optax.MultiSteps(optax.adamw(1e-2), 2).gradient_transformation(),
    "inject_hyperparams": optax.inject_hyperparams(optax.adamw)(learning_rate=SCHEDULE),
    "apply_if_finite": optax.apply_if_finite(optax.adamw(1e-2), 3),
    "stored moments": fa.adamw(1e-2, moments="bfloat16"),
}
OUTSIDE = {
    "chain": lambda bits: optax.chain(optax.clip_by_global_norm(1.0), _adamw(bits)),
    "named_chain": lambda bits: optax.named_chain(("a", optax.identity()), ("b", _adamw(bits))),
    "masked": lambda bits: optax.masked(_adamw(bits), MASK),
    "partition": lambda bits: optax.partition(
        {"x": _adamw(bits), "y": optax.set_to_zero()}, LABELS
    ),
    "MultiSteps": lambda bits: optax.MultiSteps(_adamw(bits), 2).gradient_transformation(),
    "inject_hyperparams": lambda bits: optax.inject_hyperparams(
        lambda rate: fa.with_master(optax.adamw(rate), bits=bits)
    )(rate=1e-2),
}


def _start():
    rng = np.random.default_rng(0)
    dtypes = {"b": jnp.bfloat16, "h": jnp.float16, "f": jnp.float32}
    return {name: jnp.asarray(rng.standard_normal((4, 32)), d) for name, d in dtypes.items()}


def _gradient(t, like):
    rng = np.random.default_rng((1, t))
    return jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape), p.dtype), like)


def _widen(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def _drive(tx, steps, p=None):
    p = _start() if p is None else p
    state = tx.init(p)
    for t in range(steps):
        updates, state = tx.update(_gradient(t, p), state, p)
        p = optax.apply_updates(p, updates)
    return p, state


def _masters(state):
    found = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, fa.MasterState))
    return [x for x in found if isinstance(x, fa.MasterState)]


def _check_landed(p, state):
    """Every leaf is the number nearest to its master; halves go away from zero."""
    (found,) = _masters(state)
    seen = 0
    for name, low in found.low.items():
        if not isinstance(low, optax.MaskedNode) and is_half(p[name]):
            alone = found._replace(low={name: low})
            master = fa.master_params({name: p[name]}, alone)[name]
            assert_equal(split(master, p[name].dtype, 16, None)[0], p[name])
            seen += 1
    assert seen == 2


@pytest.mark.parametrize("name", STOCK)
def test_32_bits_are_the_float32_run(name):
    """Bit for bit around stock chains, for bfloat16, float16 and float32 leaves."""
    p, state = _drive(fa.with_master(STOCK[name]), 20)
    wide = _widen(_start())
    inner = STOCK[name].init(wide)
    for t in range(20):
        updates, inner = STOCK[name].update(_widen(_gradient(t, _start())), inner, wide)
        wide = optax.apply_updates(wide, updates)
    assert_equal(fa.master_params(p, state), wide)
    assert_equal(state.inner, inner)
    _check_landed(p, state)


@pytest.mark.parametrize("name", INSIDE)
def test_what_may_stand_inside(name):
    for bits in (32, 16) if name == "MultiSteps" else (24,):
        start = _start()
        p, state = _drive(fa.with_master(INSIDE[name], bits=bits), 4)
        assert all(p[k].dtype == start[k].dtype for k in p)
        assert all((p[k] != start[k]).mean() > 0.4 for k in ("b", "h"))
        _check_landed(p, state)


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_may_stand_outside(name):
    bits = 24 if name == "partition" else 32
    p, state = _drive(OUTSIDE[name](bits), 4)
    start = _start()
    assert all(p[k].dtype == start[k].dtype for k in p)
    assert all((p[k] != start[k]).mean() > 0.4 for k in ("b", "h"))
    _check_landed(p, state)


def test_what_may_not_stand_outside_says_so():
    p = _start()
    for wrap in (lambda tx: optax.apply_if_finite(tx, 3), lambda tx: optax.conditionally_mask(
            tx, lambda step: step > 0)):  # fmt: skip
        tx = wrap(fa.with_master(optax.adamw(1e-2)))
        with pytest.raises(TypeError, match="put them inside, with_master"):
            tx.update(_gradient(0, p), tx.init(p), p)
        # Float32 gradients have the updates' dtype: nothing is wrong.
        updates, _ = tx.update(_widen(_gradient(0, p)), tx.init(p), p)
        assert updates["b"].dtype == jnp.float32


def test_errors():
    p = _start()
    tx, (_, state) = fa.with_master(fa.adam(1e-2)), _drive(fa.with_master(fa.adam(1e-2)), 1)
    g = _gradient(0, p)
    for act, error, match in (
        (lambda: fa.with_master(fa.adam(1e-2), bits=8), ValueError, "bits must be 32, 24 or 16"),
        (lambda: fa.with_master(fa.adam(1e-2), bits=24).update(g, state, p), ValueError,
         r"state.low\['b'\] is int16, but with_master\(bits=24\) keeps int8"),
        (lambda: tx.update(_widen(g), state, _widen(p)), TypeError,
         r"params\['b'\] has become float32.*apply updates with optax.apply_updates"),
        (lambda: fa.master_params(p, (state,)), TypeError, "needs the MasterState.*got tuple"),
        (lambda: tx.update(g, state, {"b": p["b"]}), ValueError, "must have the structure"),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            act()


@pytest.mark.parametrize("bits", [24])
def test_flax_nnx(bits):
    from flax import nnx

    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16)
    optimizer = nnx.Optimizer(model, fa.with_master(fa.adamw(1e-3), bits=bits), wrt=nnx.Param)
    before = np.asarray(model.kernel[...], np.float32)
    grads = jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param))
    for _ in range(10):
        optimizer.update(model, grads)
    assert model.kernel[...].dtype == jnp.bfloat16
    moved = before - np.asarray(model.kernel[...], np.float32)
    np.testing.assert_allclose(moved.mean(), 10e-3, rtol=0.15)


def test_equinox():
    """optax's apply_updates keeps a module's dtypes; Equinox's own widens, and that is said."""
    import equinox as eqx

    half = eqx.nn.Linear(4, 3, dtype=jnp.bfloat16, key=jax.random.key(0))
    model, tx = eqx.filter(half, eqx.is_inexact_array), fa.with_master(fa.adamw(1e-3))
    state, g = tx.init(model), jax.tree.map(jnp.ones_like, model)
    updates, after = tx.update(g, state, model)
    kept = optax.apply_updates(model, updates)
    assert kept.weight.dtype == jnp.bfloat16
    tx.update(g, after, kept)
    with pytest.raises(TypeError, match=r"params.weight has become float32"):
        tx.update(g, after, eqx.apply_updates(model, updates))


@pytest.mark.parametrize("bits", [24, 16])
def test_a_vmapped_wrapper_rounds_by_its_own_seed(bits):
    tx = fa.with_master(optax.sgd(1e-3), bits=bits, seed=5)
    p = jnp.ones((64, 64), jnp.bfloat16)

    def end(seed):
        state = optax.tree.set(tx.init(p), seed=seed)
        updates, _ = tx.update(p, state, p)
        return optax.apply_updates(p, updates)

    a, b, c = jax.vmap(end)(jnp.asarray([5, 5, 6], jnp.uint32))
    assert (a == b).all()
    assert ((a != c).any()) == (bits == 16)


def test_crossing_zero_keeps_leaf_and_remainder_consistent():
    """Weights that land within 1e-7 to 1e-1 of zero, a hundred times: the master does not drift."""
    rng = np.random.default_rng(0)
    tx = fa.with_master(optax.sgd(1.0))
    p = {d.__name__: jnp.asarray(rng.standard_normal((64, 128)), d) for d in HALF}
    shadow = {k: np.asarray(x, np.float64) for k, x in p.items()}
    state = tx.init(p)
    step = jax.jit(tx.update)
    for i in range(60):
        near = 1 + 10.0 ** rng.uniform(-7, -1) * rng.standard_normal((64, 128))
        g = {k: jnp.asarray(np.asarray(fa.master_params(p, state)[k]) * near if i % 3 == 0 else
             0.3 * rng.standard_normal((64, 128)), jnp.float32) for k in p}  # fmt: skip
        shadow = {k: shadow[k] - np.asarray(g[k], np.float64) for k in p}
        updates, state = step(g, state, p)
        p = optax.apply_updates(p, updates)
        masters = fa.master_params(p, state)
        for k in p:
            assert_equal(split(masters[k], p[k].dtype, 16, None)[0], p[k])
    for k in p:
        # A float32 run is off by its own rounding of numbers up to 4, sixty times.
        assert np.abs(np.asarray(masters[k], np.float64) - shadow[k]).max() < 60 * 2.0**-22


@pytest.mark.parametrize("moments", ["float32", "int8"])
@every_bits
def test_a_long_walk_in_small_steps_arrives(bits, moments):
    """Case H of the symptoms over a matrix: a thousand steps of 1e-3 from 1 to 0."""
    tx = fa.with_master(fa.adam(1e-3, moments=moments), bits=bits)
    p = jnp.ones((32, 128), jnp.bfloat16)

    def body(carry, _):
        p, state = carry
        updates, state = tx.update(jnp.ones_like(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    p, _ = jax.jit(lambda c: jax.lax.scan(body, c, length=1000)[0])((p, tx.init(p)))
    end = np.asarray(p, np.float64)
    assert abs(end.mean()) < (1e-2 if moments == "float32" else 3e-2)
    # int8 moments of a constant gradient walk by their rounding, 16-bit weights by theirs.
    assert np.abs(end).max() < {32: 1e-2, 24: 1e-2, 16: 0.25}[bits] + 0.25 * (moments == "int8")


@pytest.mark.parametrize("bits", [32, 24])
def test_float16_masters_next_to_zero_keep_their_sign(bits):
    """The leaf lands on +0 from either side; the master has what is left."""
    want = np.outer([1, -1], 2.0 ** -np.arange(25.5, 33)).astype(np.float32)
    tx, p = fa.with_master(optax.sgd(1.0), bits=bits), jnp.zeros(want.shape, jnp.float16)
    updates, state = tx.update(jnp.asarray(-want), tx.init(p), p)
    p = optax.apply_updates(p, updates)
    assert (p == 0).all()
    got = np.asarray(fa.master_params(p, state))
    assert (np.sign(got) == np.sign(want)).all()
    assert np.abs(got - want).max() <= {32: 2.0**-41, 24: 2.0**-32}[bits]
    updates, state = tx.update(jnp.asarray(want), state, p)
    np.testing.assert_allclose(fa.master_params(p, state), 0, atol=2.0**-31)


@every_bits
@pytest.mark.parametrize("scanned", [False, True])
def test_derivatives_pass_as_through_casts(bits, scanned):
    """By a hyperparameter, and by the gradients of steps before; float32 knows what they are."""
    tx = {
        True: fa.with_master(fa.adamw(1e-2, weight_decay=0.1), bits=bits),
        False: fa.adamw(1e-2, weight_decay=0.1),
    }
    start = _start()["f"].astype(jnp.bfloat16)
    weights = jnp.linspace(-1, 1, start.size).reshape(start.shape)

    def end(rate, g, master):
        def step(carry, t):
            p, s = carry
            u, s = tx[master].update(g * (1 + t), s, p, learning_rate=rate)
            return (optax.apply_updates(p, u), s), None

        p = start if master else start.astype(jnp.float32)
        carry = p, tx[master].init(p)
        if scanned:
            (p, s), _ = jax.lax.scan(step, carry, jnp.arange(4.0))
        else:
            for t in range(4):
                carry, _ = step(carry, t)
            p, s = carry
        return jnp.sum(weights * (fa.master_params(p, s) if master else p))

    g = _gradient(0, {"f": weights})["f"]
    args = jnp.float32(0.05), g
    got = jax.jit(jax.grad(end, (0, 1)), static_argnums=2)(*args, True)
    want = jax.grad(end, (0, 1))(*args, False)
    for a, b in zip(got, want, strict=True):
        assert jnp.abs(b).max() > 0
        # Tangents are carried in the leaf's dtype, of 8 bits.
        np.testing.assert_allclose(a, b, rtol=0, atol=0.05 * float(jnp.abs(b).max()))
    # Words cast by words are not rounded once more.
    same = jax.jvp(lambda rate: end(rate, g, True), (args[0],), (jnp.float32(1),))[0]
    assert same == end(*args, True)


def test_derivatives_pass_through_bfloat16_moments():
    def second(g, moments):
        tx = fa.adam(0.1, moments=moments)
        p = jnp.ones((3, 64))
        _, state = tx.update(g, tx.init(p), p)
        return jnp.mean(tx.update(jnp.ones_like(p), state, p)[0] * jnp.linspace(-1, 2, 64))

    # Against the second one, so that no step is cut at the bound.
    g = -1 - jnp.abs(_gradient(0, {"f": jnp.ones((3, 64))})["f"])
    want, got = (jax.grad(second)(g, moments) for moments in ("float32", "bfloat16"))
    assert jnp.abs(want).max() > 1e-6
    np.testing.assert_allclose(got, want, rtol=0, atol=0.05 * float(jnp.abs(want).max()))
