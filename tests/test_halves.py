"""A weight in 16 bits and 16, 8 or no more: every pattern, and rounding that is unbiased."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functional_adam._bits import random_bits
from functional_adam._halves import join, remainder, split

DRAWN = 16  # remainders for each of the 65,536 patterns
halves = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)

_split = jax.jit(split, static_argnums=(1, 2))
_join = jax.jit(join)


def _pattern(x):
    return np.asarray(jax.lax.bitcast_convert_type(x, {2: jnp.uint16, 4: jnp.uint32}[x.itemsize]))


@halves
def test_every_pattern_splits_and_joins(dtype):
    """Subnormals, zeros of both signs, infinities and NaN, each with drawn remainders."""
    rng = np.random.default_rng(0)
    pattern = np.repeat(np.arange(65536, dtype=np.uint16), DRAWN)
    drawn = rng.integers(-(2**12), 2**12, pattern.shape) * 8  # float16 has 13 bits to a float32
    drawn[::DRAWN] = 0
    leaf = jax.lax.bitcast_convert_type(jnp.asarray(pattern), dtype)
    x = _join(leaf, jnp.asarray(drawn, jnp.int16))
    again, rest = _split(x, dtype, 16, None)
    nan = np.isnan(np.asarray(x))
    assert np.isnan(np.asarray(again, np.float32))[nan].all()
    # A zero with a remainder below it is a number of the other sign.
    whole = (np.abs(np.asarray(x)) > 0) & ((pattern & 0x7FFF != 0) | (drawn >= 0))
    np.testing.assert_array_equal(_pattern(again)[~nan & whole], pattern[~nan & whole])
    np.testing.assert_array_equal(np.asarray(rest)[~nan & whole], drawn[~nan & whole])
    np.testing.assert_array_equal(_pattern(_join(again, rest))[~nan], _pattern(x)[~nan])
    # No remainder: the number itself, of every pattern.
    plain = np.asarray(_join(leaf[::DRAWN], None))
    np.testing.assert_array_equal(plain, np.asarray(leaf[::DRAWN], np.float32))


@halves
@pytest.mark.parametrize("extra", [16, 8, 0])
def test_nan_of_any_payload_stays_nan(dtype, extra):
    """Of one bit alone to all of them, as a GPU makes them, whatever the random bits."""
    payload = np.array([1 << i for i in range(23)] + [(1 << i) - 1 for i in range(1, 24)])
    word = np.concatenate([0x7F80_0000 | payload, 0xFF80_0000 | payload]).astype(np.uint32)
    x = jax.lax.bitcast_convert_type(jnp.asarray(np.repeat(word, DRAWN)), jnp.float32)
    leaf, rest = _split(x, dtype, extra, random_bits(1, 2, 3, x.shape))
    assert np.isnan(np.asarray(_join(leaf, rest))).all()


@halves
def test_every_float32_in_range_is_exact_and_the_leaf_is_the_nearest(dtype):
    rng = np.random.default_rng(1)
    low, high = (-37.5, 38) if dtype == jnp.bfloat16 else (np.log10(2.0**-17), np.log10(65000))
    x = 10 ** rng.uniform(low, high, 10**6) * rng.choice([-1, 1], 10**6)
    x = jnp.asarray(x.astype(np.float32))
    leaf, rest = _split(x, dtype, 16, None)
    np.testing.assert_array_equal(_pattern(_join(leaf, rest)), _pattern(x))
    nearest = x.astype(dtype)
    tie = np.abs(np.asarray(rest, int)) == 2**15
    assert (np.asarray(leaf) == np.asarray(nearest))[~tie].all()
    assert tie.mean() < 1e-3
    eight, tail = _split(x, dtype, 8, jnp.zeros(x.shape, jnp.uint32))
    np.testing.assert_allclose(_join(eight, tail), x, rtol=2.0**-10 if low < -5 else 2.0**-16)
    assert (np.asarray(remainder(x, leaf, 16)) == np.asarray(rest)).all()


@halves
def test_small_float16_and_numbers_beyond_it(dtype):
    x = jnp.asarray([2.0**-24, 2.0**-25, 1e-7, 3e-8, -0.0, 65519.0, 65530.0, jnp.inf, -jnp.inf])
    leaf, rest = _split(x, dtype, 16, None)
    back = np.asarray(_join(leaf, rest))
    np.testing.assert_allclose(back, x, rtol=0, atol=0 if dtype == jnp.bfloat16 else 2.0**-41)
    assert np.signbit(back[4])
    np.testing.assert_array_equal(np.isinf(np.asarray(leaf, np.float32))[-2:], True)
    huge, _ = _split(jnp.float32(3.4e38), jnp.float16, 16, None)
    assert np.isinf(np.asarray(huge, np.float32))


@halves
@pytest.mark.parametrize("extra", [0, 8])
def test_random_rounding_is_unbiased_and_finite(dtype, extra):
    """E[joined] = x for every x; up or down to a neighbour; nothing leaves the finite numbers."""
    n, times = 512, 4000
    rng = np.random.default_rng(2)
    x = (rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 3, n)).astype(np.float32)
    x[:4] = [0, 1, np.nextafter(np.float32(2), np.float32(0)), -1e-6]
    top = float(jnp.finfo(dtype).max)
    # The last lies just below where half an ulp would round to infinity.
    half = float(jnp.finfo(dtype).eps) / 4 * (1 - 2.0**-11)
    x[4:8] = np.float32([top, -top, top * (1 - 2.0**-12), top * (1 + half)])

    def once(_, t):
        leaf, rest = split(x, dtype, extra, random_bits(0, t, 1, (n,)))
        return None, (leaf, join(leaf, rest))

    leaves, got = jax.jit(lambda: jax.lax.scan(once, None, jnp.arange(times))[1])()
    got = np.asarray(got, np.float64)
    assert np.isfinite(got).all()
    assert np.isfinite(np.asarray(leaves, np.float32)).all()
    gap = got.max(0) - got.min(0)
    unit = np.maximum(np.abs(x) * float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).tiny))
    assert (gap <= unit / 2**extra * 1.01).all()
    inside = np.ones(n, bool)
    inside[4:8] = False
    error = np.abs(got.mean(0) - x)[inside]
    assert (
        error <= 4.5 * gap[inside] / 2 / times**0.5 + 15 * unit[inside] / 2**extra / times
    ).all()
    assert (got[:, 0] == 0).all()
    assert (got[:, 1] == 1).all()


def test_a_leaf_set_to_zero_from_outside_is_zero():
    """As pruning does: the remainder that it leaves behind must not make NaN."""
    for dtype in (jnp.bfloat16, jnp.float16):
        rest = jnp.asarray([-(2**15), -1, 0, 1, 2**15 - 1], jnp.int16)
        for zero in (0.0, -0.0):
            found = np.asarray(_join(jnp.full(5, zero, dtype), rest))
            assert np.abs(found).max() <= 2.0**-24


def test_no_rounding_to_half_and_back_is_left_to_the_compiler():
    """XLA may take float32 -> bfloat16 -> float32 for nothing: the split is integer arithmetic."""
    x = jnp.ones((8, 128)) * 1.001
    for dtype in (jnp.bfloat16, jnp.float16):
        low = functools.partial(split, dtype=dtype, extra=16, bits=None)
        text = jax.jit(lambda x, low=low: low(x)[1]).lower(x).as_text()
        assert "bf16" not in text
        assert "f16" not in text
