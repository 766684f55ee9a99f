"""How moments are stored: unbiased, finite, positive, in the bytes that were promised."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import functional_adam as fa
from functional_adam._bits import random_bits
from functional_adam._codecs import codecs

SHAPE = (64, 128)
MEAN_OF = 2000  # roundings of the same numbers


def _codec(moments, second):
    return codecs(moments)[second]


every = pytest.mark.parametrize(
    ("moments", "second"),
    [(m, s) for m in ("bfloat16", "int8") for s in (0, 1)],
    ids=lambda x: str(x),
)


def _numbers(rng, second, shape=SHAPE, decades=3.0):
    x = 10 ** rng.normal(0, decades / 3, shape)
    return (x if second else x * rng.choice([-1, 1], shape)).astype(np.float32)


@every
def test_the_mean_of_what_is_decoded_is_what_was_stored(moments, second):
    """Every element, also across binades and near zero; the last mean is over all of them."""
    codec, x = _codec(moments, second), _numbers(np.random.default_rng(0), second)
    x[0, :8] = [0, 1e-3, 0.5, 0.99999, 1, 1.9999999, 2, 3]

    def body(sums, t):
        code = codec.encode(x, codec.init(x), random_bits(0, t, 1, SHAPE))
        d = codec.decode(code, SHAPE) - x
        return (sums[0] + d, sums[1] + d * d), None

    zero = jnp.zeros(SHAPE)
    (total, squares), _ = jax.jit(lambda: jax.lax.scan(body, (zero, zero), jnp.arange(MEAN_OF)))()
    bias, noise = np.asarray(total) / MEAN_OF, np.sqrt(np.asarray(squares)) / MEAN_OF
    scale = np.abs(x).max(1, keepdims=True)
    gap = np.abs(x) * 2.0**-7 if moments == "bfloat16" else np.abs(x) / 4 + scale * 2.0**-17
    # A rounding so rare that it was not seen leaves no noise to compare with.
    floor = 15 * gap / MEAN_OF
    if second and moments == "int8":  # what is below the smallest code is kept there, not lost
        floor = np.where(x < 2.0**-33 * scale, 2.0**-33 * scale, floor)
    assert (np.abs(bias) <= 5.5 * noise + floor).all()
    held = noise * MEAN_OF > 5 * gap
    assert abs((bias[held] / noise[held]).mean()) < 5 / held.sum() ** 0.5


@every
def test_finite_in_finite_out_and_positive_stays_positive(moments, second):
    """10^6 numbers over the whole range of float32, zeros and the largest among them."""
    codec, rng = _codec(moments, second), np.random.default_rng(1)
    shape = (7813, 128)
    x = (10 ** rng.uniform(-37.9, 38.5, (shape[0], 1)) * 10 ** rng.uniform(-6, 0, shape)).clip(
        1.2e-38, 3.4e38
    )
    x = (x * (rng.random(shape) > 0.05) * (1 if second else rng.choice([-1, 1], shape))).astype(
        np.float32
    )
    x[0, 0] = np.finfo(np.float32).max

    @jax.jit
    def both(x):
        old = codec.init(x)
        code = codec.encode(x, old, random_bits(0, 0, 1, shape))
        assert jax.tree.map(jnp.shape, code) == jax.tree.map(jnp.shape, old)
        return codec.decode(code, shape)

    y = np.asarray(both(x))
    assert np.isfinite(y).all()
    assert ((y == 0) | (np.sign(y) == np.sign(x))).all()
    assert (y[x == 0] == 0).all()
    if second:
        assert (y[x > 0] > 0).all()
    largest = np.abs(x).max(1, keepdims=True)
    near = (np.abs(x) > 2.0**-14 * largest) & (largest > 1e-28)
    near &= np.abs(x) < 1e38  # int8 saturates within a factor of two of the largest
    np.testing.assert_allclose(y[near], x[near], rtol=0.26)


@every
def test_what_is_not_finite_is_not_hidden(moments, second):
    """NaN of any payload: a GPU makes them of ones, which a carry would turn into -0."""
    codec = _codec(moments, second)
    for bad in (np.inf, np.nan, *np.array([0x7FFF_FFFF, 0xFFFF_8000], np.uint32).view(np.float32)):
        x = np.ones(SHAPE, np.float32)
        x[3, 5] = bad
        code = codec.encode(x, codec.init(x), random_bits(0, 0, 1, SHAPE))
        y = np.asarray(codec.decode(code, SHAPE))
        assert not np.isfinite(y[3, 5])
        assert np.isfinite(y[:3]).all()


def test_a_code_is_stored_again_as_it_is():
    """What was decoded lies on the grid: nothing is lost by storing what did not move."""
    x = _numbers(np.random.default_rng(2), 0, decades=1.0)
    for moments in ("bfloat16", "int8"):
        codec = _codec(moments, 0)
        once = codec.encode(x, codec.init(x), random_bits(0, 0, 1, SHAPE))
        y = codec.decode(once, SHAPE)
        again = codec.encode(y, once, random_bits(0, 1, 1, SHAPE))
        rows = np.ones(SHAPE[0], bool)
        if (
            moments == "int8"
        ):  # another scale, where the largest was a power of two, is another grid
            rows = np.asarray(once.exponent == again.exponent)[:, 0]
            assert rows.mean() > 0.9
        assert (np.asarray(y) == np.asarray(codec.decode(again, SHAPE)))[rows].all()


def test_small_or_odd_leaves_stay_float32():
    shapes = {(32, 128): 128, (4096,): 128, (64, 64): 64, (50, 90): 90, (29 * 173, 29): 29,
              (3, 3, 64, 96): 96, (8192, 15): None, (4099,): None, (63, 64): None, (): None,
              (0, 128): None}  # fmt: skip
    for shape, block in shapes.items():
        code = codecs("int8")[0].init(jax.ShapeDtypeStruct(shape, jnp.float32))
        if block is None:
            assert code.dtype == jnp.float32, shape
        else:
            assert code.code.shape == shape
            assert code.exponent.shape == (*shape[:-1], shape[-1] // block)


def test_what_is_no_way_to_store_moments():
    for bad in ("int4", jnp.bfloat16, None, (codecs("int8")[0],), ("int8", "int8")):
        with pytest.raises(ValueError, match="moments must be 'float32', 'bfloat16', 'int8' or a"):
            fa.adam(1e-3, moments=bad)
