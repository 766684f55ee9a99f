"""No step of exact Adam is longer than the bound, some are as long, and rounding cannot pass it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_equal

import functional_adam as fa

RTOL = 2e-5  # of the bound, float32 against float64

RATES = [(0.9, 0.999), (0.95, 0.9), (0.9, 0.81), (0.0, 0.999), (0.99, 0.5), (0.999, 0.9999)]


def _series(b1, b2, t):
    """The definition, term by term, in float64."""
    k = np.arange(t)
    w = (1 - b1) * b1**k / (1 - b1**t)
    s = (1 - b2) * b2**k / (1 - b2**t)
    return np.sqrt((w**2 / s).sum())


@pytest.mark.parametrize(("b1", "b2"), RATES)
def test_the_bound_is_the_series(b1, b2):
    for t in (1, 2, 3, 10, 100, 1000):
        if b2**t > 1e-100:
            want = _series(b1, b2, t)
            np.testing.assert_allclose(fa.update_bound(b1, b2, t), want, rtol=RTOL)
    assert fa.update_bound(b1, b2, 1) == pytest.approx(1, rel=RTOL)
    with pytest.raises(ValueError, match=r"b2 must be in \[0, 1\), got 1.0"):
        fa.update_bound(b1, 1.0, 3)


def test_numbers_arrays_and_edges():
    t = jnp.arange(1, 8)
    want = [float(fa.update_bound(0.9, 0.999, i)) for i in range(1, 8)]
    np.testing.assert_allclose(fa.update_bound(0.9, 0.999, t), want, rtol=RTOL)
    traced = jax.jit(fa.update_bound)(jnp.float32(0.9), jnp.float32(0.999), t)
    np.testing.assert_allclose(traced, want, rtol=1e-4)  # 1 - 0.999 in float32
    assert fa.update_bound(0.9, 0.999, 10**6) == pytest.approx(7.2703, rel=1e-4)
    assert fa.update_bound(0.9, 0.0, 1) == pytest.approx(1, rel=RTOL)
    assert fa.update_bound(0.9, 0.0, 2) > 1e10
    assert fa.update_bound(0.0, 0.0, 5) == pytest.approx(1, rel=RTOL)


def _attaining(name, t, b1=0.9, b2=0.999, psi=4e-3):
    """Gradients, the oldest first, for which the step at t is as long as it can be; the length."""
    k = np.arange(t)[::-1]
    s = (1 - b2) * b2**k / (1 - b2**t)
    w = (1 - b1) * b1**k
    if name == "adamax":
        w, signs = w / (1 - b1**t), b2 ** -k.astype(float)
        return signs, (w * signs).sum()
    if name == "nadam":
        mu = b1 * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * psi))
        w = w * mu[-1] / (1 - mu.prod())
        w[-1] += (1 - mu[-2]) / (1 - mu[:-1].prod())
    elif name == "radam":
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        wide = (rho_inf - 4) * (rho_inf - 2) * rho
        w = w / (1 - b1**t) * np.sqrt((rho - 4) * (rho - 2) * rho_inf / wide)
    else:
        w = w / (1 - b1**t)
    return w / s / np.abs(w / s).max(), np.sqrt((w**2 / s).sum())


@pytest.mark.parametrize("name", ["adam", "amsgrad", "nadam", "radam", "adamax"])
def test_attained_and_never_passed(name):
    """Gradients made to reach it do; and it changes no bit of what float32 computes from them."""
    t = 60
    gs, longest = _attaining(name, t)
    algorithm = fa.ALGORITHMS[name]
    tx = algorithm.make(1.0, eps=0.0)
    gs = jnp.asarray(gs[:, None] * np.array([1.0, -0.3, 1e-6]), jnp.float32)
    rule = algorithm.rule

    def body(state, g):
        u, state = tx.update(g, state, jnp.zeros(3))
        return state, u

    _, us = jax.jit(lambda s: jax.lax.scan(body, s, gs))(tx.init(jnp.zeros(3)))
    np.testing.assert_allclose(np.abs(us[-1]), longest, rtol=1e-4)
    # The limit that stored moments are kept to is this length, with its slack.
    k = _coefficients(rule, t)
    limit = float(rule.limit(k, jnp.float32(t)))
    np.testing.assert_allclose(limit, longest, rtol=1e-4)
    assert np.abs(us[-1]).max() <= limit


def _coefficients(rule, t):
    from functional_adam._fixed import thaw
    from functional_adam._lift import _coefficients as compiled

    constants = (("learning_rate", 1.0), ("b1", 0.9), ("b2", 0.999), ("eps", 0.0))
    constants += (("momentum_decay", 4e-3),)
    shrinking = ("none", "factor", "learning_rate")
    product = np.prod([0.9 * (1 - 0.5 * 0.96 ** (i * 4e-3)) for i in range(1, t)])
    scalars = {name: jnp.float32(product) for name, _ in rule.scalars}
    found = compiled(rule, constants, {}, jnp.int32(t - 1), scalars, shrinking)[0]
    return thaw(found, jnp.float32)


def test_no_op_on_exact_moments():
    """Heavy tails, exact zeros, and gradients that reach the bound: not a bit changes."""
    rng = np.random.default_rng(0)
    gs = rng.standard_cauchy((400, 64)) * 10.0 ** rng.uniform(-8, 3, 64)
    gs = gs * (rng.random(gs.shape) > 0.2)
    gs[:60, 0], gs[60:, 0] = _attaining("adam", 60)[0], 0
    gs = jnp.asarray(gs, jnp.float32)
    for direction in (fa.scale_by_adam(eps=1e-30), optax.scale_by_adam(eps=1e-30)):
        tx = fa.clip_by_update_bound()

        def body(state, g, tx=tx, direction=direction):
            u, inner = direction.update(g, state[0])
            clipped, outer = tx.update(u, state[1])
            return (inner, outer), (u, clipped)

        start = direction.init(jnp.zeros(64)), tx.init(jnp.zeros(64))
        _, (plain, clipped) = jax.lax.scan(body, start, gs)
        assert np.abs(plain).max() > 1.77  # the bound at step 60
        assert_equal(clipped, plain)


def test_a_stabiliser_for_any_adam():
    """Moments that no gradients could have made: a v of zero under a large m."""
    adam = optax.scale_by_adam()
    state = adam.init(jnp.zeros(3))._replace(mu=jnp.array([1.0, -1.0, 0.0]), count=jnp.int32(99))
    tx = optax.chain(adam, fa.clip_by_update_bound())
    bound = tx.init(jnp.zeros(3))[1]._replace(count=jnp.int32(99))
    g = jnp.full(3, 1e-4)
    wild, _ = adam.update(g, state)
    tame, (_, after) = tx.update(g, (state, bound))
    limit = float(fa.update_bound(0.9, 0.999, 100))
    assert np.abs(wild[:2]).min() > 100 * limit
    np.testing.assert_allclose(tame[:2], [limit, -limit], rtol=RTOL)
    assert tame[2] == wild[2]
    assert int(after.count) == 100
    half, _ = tx.update(g.astype(jnp.bfloat16), (state, bound))
    assert half.dtype == wild.dtype
    nan = fa.clip_by_update_bound().update(jnp.array([jnp.nan]), bound)[0]
    assert np.isnan(nan).all()


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_stored_moments_cannot_pass_it(name):
    """Sparse gradients, the worst for a coarse v: no step is longer than exact moments allow."""
    rng = np.random.default_rng(0)
    shape = (32, 128)
    tx = fa.ALGORITHMS[name].make(1.0, moments="int8")
    p, state = jnp.zeros(shape), tx.init(jnp.zeros(shape))
    for t in range(1, 9):
        g = 10.0 ** rng.uniform(-9, 2, shape) * (rng.random(shape) > 0.7)
        updates, state = tx.update(jnp.asarray(g, jnp.float32), state, p)
        longest = _attaining(name, t)[1]
        assert np.abs(updates).max() <= longest * (1 + RTOL)


def test_complex_directions_are_clipped_by_their_parts():
    tx = fa.clip_by_update_bound()
    u = jnp.array([3 - 0.5j, 0.25 + 2j])
    clipped, _ = tx.update(u, tx.init(None))
    np.testing.assert_allclose(clipped, [1 - 0.5j, 0.25 + 1j], rtol=2e-5)
