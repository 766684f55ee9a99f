"""The random bits: uniform, and independent between elements, steps, leaves and seeds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from functional_adam._bits import leaf_id, random_bits, rotated

SHAPE = (256, 512)
# The chance that a sound generator fails one of these, for each of them.
LEVEL = 1e-6


def _bits(seed=0, step=3, leaf=7, shape=SHAPE):
    return np.asarray(jax.jit(random_bits, static_argnums=3)(seed, step, leaf, shape))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_every_byte_is_uniform(seed):
    for step in (0, 1, 1000):
        x = _bits(np.uint32(seed), step)
        for place in range(0, 32, 8):
            counts = np.bincount(((x >> place) & 255).ravel(), minlength=256)
            assert stats.chisquare(counts).pvalue > LEVEL
        # Each of the 32 bits is set half of the time.
        ones = ((x[..., None] >> np.arange(32)) & 1).sum((0, 1))
        assert (stats.binomtest(int(n), x.size).pvalue > LEVEL for n in ones)
        assert np.abs(ones / x.size - 0.5).max() < 6 * 0.5 / x.size**0.5


def test_neighbours_steps_leaves_seeds_and_roundings_are_independent():
    x = _bits()
    limit = 5.5 / x.size**0.5
    others = {
        "next column": np.roll(x, 1, 1),
        "next row": np.roll(x, 1, 0),
        "64 on": np.roll(x, 64, 1),
        "next step": _bits(step=4),
        "next leaf": _bits(leaf=8),
        "next seed": _bits(seed=1),
        "step for leaf": _bits(step=7, leaf=3),
        "second moment": np.asarray(rotated(jnp.asarray(x), 11)),
        "third moment": np.asarray(rotated(jnp.asarray(x), 22)),
    }
    for name, y in others.items():
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < limit, name
        # Where all eight leading bits are seen together: no pair of bytes is favoured.
        pairs = np.bincount((((x >> 28) << 4) | (y >> 28)).ravel(), minlength=256)
        assert stats.chisquare(pairs).pvalue > LEVEL, name


def test_a_walk_of_one_element_over_steps_is_uniform():
    steps = jnp.arange(20_000)
    walk = jax.jit(jax.vmap(lambda t: random_bits(0, t, 7, (2,))))(steps)
    u = np.asarray(walk[:, 0]) / 2.0**32
    assert stats.kstest(u, "uniform").pvalue > LEVEL
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 5.5 / u.size**0.5


def test_the_bits_belong_to_the_element_and_the_path():
    """Not to a shape's factorisation, and not to what other leaves there are."""
    assert (_bits(shape=(6, 4)).ravel() == _bits(shape=(24,))).all()
    assert (_bits(shape=(24,))[:5] == _bits(shape=(5,))).all()
    assert _bits(shape=()).shape == ()
    paths = [p for p, _ in jax.tree_util.tree_leaves_with_path({"a": 0, "b": [0, 0]})]
    alone = [p for p, _ in jax.tree_util.tree_leaves_with_path({"b": [None, 0]})]
    assert leaf_id(alone[0]) == leaf_id(paths[2])
    assert len({leaf_id(p, purpose) for p in paths for purpose in ("", "weight")}) == 6
