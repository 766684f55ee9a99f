"""Scalars keep their digits: bias corrections against exact rational and decimal arithmetic."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functional_adam as fa
from functional_adam._numerics import one_minus_power, power, sqrt
from functional_adam._two_float import as_two_float

COUNTS = [1, 2, 3, 5, 10, 100, 999, 12_345, 10**5, 10**6, 10**7, 2**31 - 1]
BETAS = [0.0, 1e-3, 0.5, 0.9, 0.95, 0.999, 0.99999, 0.9999999]
# Of the exact value; float32 has 2**-24.
DIGITS = 2.0**-37


def _exact(b: float | decimal.Decimal, t: int) -> decimal.Decimal:
    with decimal.localcontext(prec=60):
        return 1 - decimal.Decimal(b) ** t


def _value(x) -> decimal.Decimal:
    return decimal.Decimal(float(x.hi)) + decimal.Decimal(float(x.lo))


@pytest.mark.parametrize("b", BETAS)
def test_bias_corrections(b):
    constant = jax.jit(lambda t: one_minus_power(b, as_two_float(t)))
    traced = jax.jit(lambda t, b: one_minus_power(b, as_two_float(t)))
    for t in COUNTS:
        pair = fa.two_float(b)
        got, exact = constant(jnp.int32(t)), _exact(b, t)
        assert abs(_value(got) - exact) <= decimal.Decimal(DIGITS) * exact, t
        # A pair has 48 bits of b: what is left of 1 - b is exact.
        got, exact = traced(jnp.int32(t), pair), _exact(_value(pair), t)
        assert abs(_value(got) - exact) <= decimal.Decimal(DIGITS) * exact, t
        # One minus a small number, as a sweep passes it, is exact.
        swept = traced(jnp.int32(t), fa.one_minus(jnp.float32(2.0**-10)))
        want = _exact(1 - 2.0**-10, t)
        assert abs(_value(swept) - want) <= decimal.Decimal(DIGITS) * want


@given(
    st.sampled_from(["add", "sub", "mul", "div", "sqrt"]),
    st.floats(1e-6, 1e6),
    st.floats(1e-6, 1e6),
)
def test_pairs_are_right_to_45_bits(operation, a, b):
    functions = {
        "add": (lambda x, y: x + y, lambda x, y: x + y),
        "sub": (lambda x, y: 1 - x, lambda x, y: 1 - x),
        "mul": (lambda x, y: x * y, lambda x, y: x * y),
        "div": (lambda x, y: x / y, lambda x, y: x / y),
        "sqrt": (lambda x, y: sqrt(x), lambda x, y: Fraction(math.isqrt(int(x * 2**200)), 2**100)),
    }
    ours, exact = functions[operation]
    x, y = fa.two_float(a), fa.two_float(b)
    fx, fy = (Fraction(float(p.hi)) + Fraction(float(p.lo)) for p in (x, y))
    want = exact(fx, fy)
    got = _JITTED.setdefault(operation, jax.jit(ours))(x, y)
    error = abs(Fraction(float(got.hi)) + Fraction(float(got.lo)) - want)
    assert error <= (abs(want) + (operation == "sub")) * Fraction(1, 2**44)


_JITTED: dict = {}


def test_constants_are_not_folded_away():
    """(1 + x) - 1 = x to a compiler that reassociates constants: the rounding error is lost."""
    f = jax.jit(lambda t: power(0.999, as_two_float(t)) / one_minus_power(0.999, as_two_float(t)))
    exact = (1 - _exact(0.999, 6)) / _exact(0.999, 6)
    assert abs(_value(f(jnp.int32(6))) - exact) < decimal.Decimal(DIGITS) * exact


@pytest.mark.parametrize("b2", [0.95, 0.999, 0.99999])
def test_radam_rectifier_survives_cancellation(b2):
    """rho is the difference of two numbers near 2 / (1 - b2)."""
    coefficients = fa.ALGORITHMS["radam"].rule.coefficients
    h = SimpleNamespace(learning_rate=1e-3, b1=0.9, b2=b2, eps=1e-8)
    f = jax.jit(lambda t: coefficients(as_two_float(t), h, {}))
    exact_b = Fraction(b2)
    rho_inf = 2 / (1 - exact_b) - 1
    for t in range(1, 60):
        got = f(jnp.int32(t))
        rho = rho_inf - 2 * t * exact_b**t / (1 - exact_b**t)
        assert bool(got.rectified) == (rho > 5), t
        if rho > 5:
            square = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            assert float(got.rect.hi) == pytest.approx(math.sqrt(square), rel=2e-7)
        else:
            assert float(got.rect.hi) == 0


def test_step_scalars_are_the_doubles_rounded():
    """What makes parameters bit-equal to torch: float32 of the host's double, almost always."""
    coefficients = fa.ALGORITHMS["adam"].rule.coefficients
    wrong = total = 0
    for b2, rate in ((0.95, 1e-3), (0.999, 3e-4), (0.99999, 0.1)):
        h = SimpleNamespace(learning_rate=rate, b1=0.9, b2=b2, eps=1e-8)

        def scalars(t, h=h):
            k = coefficients(as_two_float(t), h, {})
            return k.sqrt_c2.hi, k.neg_step.hi

        counts = np.arange(1, 2001, dtype=np.int32)
        roots, steps = jax.jit(jax.vmap(scalars))(counts)
        for t, root, step in zip(counts.tolist(), roots, steps, strict=True):
            k = coefficients(float(t), h, {})
            wrong += np.float32(k.sqrt_c2) != root
            wrong += np.float32(k.neg_step) != step
            total += 2
    assert wrong <= total / 1000


def test_derivatives_of_pairs():
    def correction(b, t=7):
        x = one_minus_power(as_two_float(b), as_two_float(jnp.int32(t)))
        return sqrt(x).hi

    slope = jax.jit(jax.grad(correction))(jnp.float32(0.9))
    assert float(slope) == pytest.approx(-7 * 0.9**6 / (2 * math.sqrt(1 - 0.9**7)), rel=1e-5)
    assert float(jax.grad(correction)(jnp.float32(0.0))) == pytest.approx(0, abs=1e-6)
    second = jax.jit(
        jax.grad(
            jax.grad(lambda b: one_minus_power(as_two_float(b), as_two_float(jnp.int32(3))).hi)
        )
    )
    assert float(second(jnp.float32(0.5))) == pytest.approx(-6 * 0.5, rel=1e-4)


def test_two_float_is_data():
    x = fa.two_float([0.999, 0.9])
    assert [leaf.dtype for leaf in jax.tree.leaves(x)] == [jnp.float32, jnp.float32]
    wide = np.float64(x.hi) + np.float64(x.lo)
    np.testing.assert_allclose(wide, [0.999, 0.9], rtol=2**-47)


def test_pairs_of_python_numbers_and_of_any_shape():
    twice = fa.TwoFloat(0.75, 0.0) * 2
    assert (float(twice.hi), float(twice.lo), twice.hi.shape) == (1.5, 0.0, ())
    halves = fa.TwoFloat(0.5, 0.0) * fa.two_float([1.0, 0.999])
    np.testing.assert_array_equal(halves.hi, [0.5, np.float32(0.999) / 2])


def _direction(b1, b2):
    """Adam's third direction, in double."""
    m = v = 0.0
    for g in (1.0, 2.0, -3.0):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return m / (1 - b1**3) / math.sqrt(v / (1 - b2**3))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("b", [0.0, 1e-6, 1e-3, 0.5, 0.9, 0.999])
def test_the_derivative_by_a_decay_rate(b, x64):
    """Also at zero, where a rate -log(b) is no help; against central differences in double."""

    def third(b1, b2):
        tx = fa.scale_by_adam(b1=b1, b2=b2, eps=0.0)
        state = tx.init(jnp.float32(1))
        for g in (1.0, 2.0, -3.0):
            u, state = tx.update(jnp.float32(g), state)
        return u

    h = 1e-6 if b >= 1e-6 else 0.0
    with jax.enable_x64(x64):
        got = jax.grad(third, argnums=(0, 1))(jnp.asarray(b, float), jnp.asarray(b, float))
    ends = [(_direction(b + 1e-6, b), _direction(b - h, b)),
            (_direction(b, b + 1e-6), _direction(b, b - h))]  # fmt: skip
    want = [(high - low) / (1e-6 + h) for high, low in ends]
    np.testing.assert_allclose(got, want, rtol=2e-4)


def test_the_derivative_by_the_exponent():
    """NAdam's momentum decays by a power of a hyperparameter."""
    got = jax.grad(lambda t: one_minus_power(fa.two_float(0.9), as_two_float(t)).hi)(3.0)
    np.testing.assert_allclose(got, -math.log(0.9) * 0.9**3, rtol=1e-5)
    assert jax.grad(lambda t: one_minus_power(fa.two_float(0.0), as_two_float(t)).hi)(3.0) == 0


@pytest.mark.parametrize("x64", [False, True])
def test_radam_has_a_derivative_before_and_after_it_rectifies(x64):
    def last(b2):
        tx = fa.radam(0.1, b2=b2)
        p = jnp.float32(1)
        state = tx.init(p)
        for g in (1.0, 2.0, -3.0, 0.5, 1.0, 2.0, 1.5):
            u, state = tx.update(jnp.float32(g), state, p)
            p += u
        return p

    with jax.enable_x64(x64):
        b2 = jnp.asarray(0.999, float)
        got = float(jax.grad(last)(b2))
        h = 1e-4
        slope = (float(last(b2 + h)) - float(last(b2 - h))) / (2 * h)
    np.testing.assert_allclose(got, slope, rtol=0.02, atol=5e-3)
    assert got != 0
