"""Half precision trains where float32 does: the cases that break optax, torch or Keras."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_equal, gradients, params, run

import functional_adam as fa
from functional_adam._halves import split

halves = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)

# name: (start, gradient at step t, steps, learning rate, options)
SYMPTOMS = {
    "A zero gradient": (1.0, lambda t: 0.0, 1, 1e-2, {}),
    "B small gradient": (1.0, lambda t: 1e-4, 3, 1e-2, {}),
    "B' the same, large eps": (1.0, lambda t: 1e-4, 100, 1e-2, {"eps": 1e-4}),
    "C squares underflow": (1.0, lambda t: 5e-3, 100, 1e-2, {}),
    "D squares overflow": (1.0, lambda t: 300.0, 10, 1e-2, {}),
    "H steps below half an ulp": (1.0, lambda t: 1.0, 1000, 1e-3, {}),
    "I far below": (1.0, lambda t: 1.0, 1000, 1e-4, {}),
    "J large weight": (100.0, lambda t: 1.0, 1000, 1e-2, {}),
}
# Weights that move by less than half a unit in the last place, or walk by its rounding: no
# arithmetic of the optimizer helps, a float32 master does.
NEEDS_MASTER = ("B'", "C", "H", "I", "J")


def _train(tx, start, gradient, steps, dtype, g_dtype=None):
    gs = jnp.asarray([gradient(t) for t in range(steps)], g_dtype or dtype).astype(dtype)
    p = jnp.asarray(start, dtype)

    def body(carry, g):
        p, state = carry
        updates, state = tx.update(g, state, p)
        return (optax.apply_updates(p, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(body, carry, gs))((p, tx.init(p)))[0]


@halves
@pytest.mark.parametrize("name", SYMPTOMS)
def test_symptoms(name, dtype):
    start, gradient, steps, rate, options = SYMPTOMS[name]
    right, _ = _train(fa.adam(rate, **options), start, gradient, steps, jnp.float32, dtype)
    tx = fa.adam(rate, **options)
    if name.startswith(NEEDS_MASTER):
        tx = fa.with_master(tx)
    end, state = _train(tx, start, gradient, steps, dtype)
    assert end.dtype == dtype
    if name.startswith(NEEDS_MASTER):
        master = fa.master_params(end, state)
        assert_equal(split(master, dtype, 16, None)[0], end)  # a tie goes away from zero
        np.testing.assert_allclose(master, right, rtol=1e-6, atol=1e-6)
    else:
        # Each step may round the weight by half a unit.
        walk = steps * float(jnp.finfo(dtype).eps) * start / 2
        assert abs(float(end) - float(right)) <= walk
        assert float(end) != start or float(right) == start


@halves
def test_the_second_moment_forgets_and_learns(dtype):
    """E: a spike of 10, then 1e-2 for ten thousand steps; F: N(0, 1) for twenty thousand."""
    spike = np.full(10_001, 1e-2)
    spike[0] = 10.0
    noise = np.random.default_rng(0).standard_normal(20_000)
    for draws, low, high in ((spike, 0.95e-4, 1.1e-4), (noise, 0.85, 1.15)):
        _, state = _train(fa.adam(1e-3), 1.0, lambda t, d=draws: d[t], len(draws), dtype)
        assert low < float(state.nu) < high


@halves
def test_small_trees_follow_float32(dtype):
    """Every algorithm, gradients over seven decades with exact zeros: finite, and near."""
    start = jax.tree.map(lambda x: x.astype(dtype), params())
    for algorithm in fa.ALGORITHMS.values():
        tx = fa.with_master(algorithm.make(1e-2))
        end, state = run(tx, start, 20, jit=lambda f: f)
        wide = jax.tree.map(lambda x: x.astype(jnp.float32), start)
        narrow = [jax.tree.map(lambda x: x.astype(dtype), gradients(t, start)) for t in range(20)]
        inner, inner_state = algorithm.make(1e-2), algorithm.make(1e-2).init(wide)
        for g in narrow:
            g = jax.tree.map(lambda x: x.astype(jnp.float32), g)
            updates, inner_state = inner.update(g, inner_state, wide)
            wide = optax.apply_updates(wide, updates)
        assert_equal(fa.master_params(end, state), wide)


def test_with_master_wraps_stock_chains_bit_for_bit():
    chain = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, 30))
    )
    start = params(jnp.bfloat16)
    start["scale"] = start["scale"].astype(jnp.float32)
    end, state = run(fa.with_master(chain), start, 30)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), start)

    def step(p, state, g):
        updates, state = chain.update(jax.tree.map(lambda x: x.astype(jnp.float32), g), state, p)
        return optax.apply_updates(p, updates), state

    chain_state = chain.init(wide)
    for t in range(30):
        wide, chain_state = jax.jit(step)(wide, chain_state, gradients(t, start))
    master = fa.master_params(end, state)
    for a, b in zip(jax.tree.leaves(master), jax.tree.leaves(wide), strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-7)
    for leaf, w in zip(jax.tree.leaves(end), jax.tree.leaves(master), strict=True):
        assert_equal(w.astype(leaf.dtype), leaf)


def test_with_master_errors_and_outside_changes():
    tx = fa.with_master(fa.adam(1e-3))
    p = jnp.ones(2, jnp.bfloat16)
    state = tx.init(p)
    with pytest.raises(ValueError, match="with_master needs the parameters"):
        tx.update(p, state)
    _, state = tx.update(p, state, p)
    loaded = jnp.full(2, 5, jnp.bfloat16)
    # Leaf and remainder are one number: the master follows to half the spacing, 2**-5, of 5.
    np.testing.assert_allclose(fa.master_params(loaded, state), 5.0, atol=2**-6, rtol=0)
    assert (fa.master_params(jnp.zeros(2, jnp.bfloat16), state) == 0).all()


@halves
def test_a_hyperparameter_in_half_precision_is_read_as_it_is(dtype):
    """A traced b2 may come in any dtype, with a warning; arithmetic with it is float32."""
    p = params()
    with pytest.warns(fa.PrecisionWarning, match="has dtype"):
        half = run(
            fa.adam(1e-2), p, 3, b2=jnp.asarray(0.75, dtype), eps=jnp.asarray(2**-10, dtype)
        )[0]
    assert_equal(half, run(fa.adam(1e-2, b2=0.75, eps=2**-10), p, 3)[0])
