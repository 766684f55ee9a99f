"""Any tree, any shape, any dtype; what does not match says where."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import SHORT, assert_equal, params
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_adam as fa

short = pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)


@short
def test_empty_none_scalar_and_zero_size(case):
    tx = case.make()
    tree = {"none": None, "empty": {}, "scalar": jnp.float32(2.0), "zero": jnp.zeros((0, 3)),
            "tuple": (jnp.ones(2), [jnp.ones((1, 1))])}  # fmt: skip
    updates, state = tx.update(tree, tx.init(tree), tree)
    assert jax.tree.structure(updates) == jax.tree.structure(tree)
    assert jax.tree.structure(state.mu) == jax.tree.structure(tree)
    assert updates["zero"].shape == (0, 3)
    assert updates["scalar"].shape == ()
    assert updates["scalar"] != 0
    for nothing in ({}, (), None, {"a": None}):
        updates, state = tx.update(nothing, tx.init(nothing), nothing)
        assert updates == nothing
        assert int(state.count) == 1


@short
def test_a_missing_gradient_stands_still(case):
    tx, p = case.make(), params()
    state = tx.init(p)
    g = jax.tree.map(jnp.ones_like, p)
    _, state = tx.update(g, state, p)
    g["dense"]["b"] = None
    updates, after = tx.update(g, state, p)
    assert updates["dense"]["b"] is None
    assert_equal(after.mu["dense"]["b"], state.mu["dense"]["b"])
    assert (after.mu["dense"]["w"] != state.mu["dense"]["w"]).any()


@short
def test_python_and_numpy_leaves(case):
    tx = case.make()
    for tree in (1.5, np.float64(1.5), {"a": np.ones(3, np.float32)}):
        updates, state = tx.update(tree, tx.init(tree), tree)
        assert all(u.dtype == jnp.float32 for u in jax.tree.leaves(updates))
        assert all(not x.weak_type for x in jax.tree.leaves(state))


@short
@pytest.mark.filterwarnings("ignore::functional_adam.PrecisionWarning")
def test_moments_are_kept_where_asked(case):
    algorithm = fa.ALGORITHMS[case.algorithm]
    asked = {"mu": jnp.bfloat16, "nu": jnp.float16}
    kinds = {field[:2] for field in algorithm.rule.moments}
    tx = algorithm.make(1e-2, **{f"{kind}_dtype": asked[kind] for kind in kinds})
    p = params(jnp.bfloat16)
    _, state = tx.update(p, tx.init(p), p)
    default = algorithm.make(1e-2).init(p)
    for field in algorithm.rule.moments:
        assert all(x.dtype == asked[field[:2]] for x in jax.tree.leaves(getattr(state, field)))
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(getattr(default, field)))


@short
def test_gradients_wider_or_narrower_than_parameters(case):
    tx = case.make()
    for g_dtype, p_dtype in ((jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32)):
        g, p = jnp.ones(3, g_dtype), jnp.ones(3, p_dtype)
        carry = (p, tx.init(p))

        def body(carry, _, g=g):
            updates, state = tx.update(g, carry[1], carry[0])
            assert updates.dtype == jnp.float32
            return (optax.apply_updates(carry[0], updates), state), None

        (end, _), _ = jax.lax.scan(body, carry, length=3)
        assert end.dtype == p_dtype
        assert (end < p).all()


@short
def test_complex_is_two_reals(case):
    rng = np.random.default_rng(0)
    z, g = (jnp.asarray(rng.standard_normal((4, 2)), jnp.float32) for _ in range(2))
    tx = case.make()
    u_real, s_real = tx.update(g, tx.init(z), z)

    def join(x):
        return jax.lax.complex(x[:, 0], x[:, 1])

    u, s = tx.update(join(g), tx.init(join(z)), join(z))
    assert_equal(u, join(u_real))
    for field in fa.ALGORITHMS[case.algorithm].rule.moments:
        assert_equal(getattr(s, field), join(getattr(s_real, field)))


shapes = st.lists(
    st.lists(st.integers(0, 4), max_size=3).map(tuple) | st.none(), min_size=0, max_size=4
)


@settings(max_examples=25)
@given(shapes, st.sampled_from(list(fa.ALGORITHMS)), st.integers(0, 2**32 - 1))
def test_symmetries(shapes, name, seed):
    """Signs, permutations and the way a tree is cut into leaves make no difference."""
    rng = np.random.default_rng(seed)
    tx = fa.ALGORITHMS[name].make(1e-2)

    def draw(shape):
        return None if shape is None else jnp.asarray(rng.standard_normal(shape), jnp.float32)

    p, g = ([draw(shape) for shape in shapes] for _ in range(2))
    updates, _ = tx.update(g, tx.init(p), p)
    minus_g, minus_p = jax.tree.map(jnp.negative, (g, p))
    flipped, _ = tx.update(minus_g, tx.init(p), minus_p)
    assert_equal(flipped, jax.tree.map(jnp.negative, updates))
    flat = [jnp.concatenate([x.ravel() for x in jax.tree.leaves(t)] or [jnp.zeros(0)])
            for t in (p, g, updates)]  # fmt: skip
    order = rng.permutation(flat[0].size)
    whole, _ = tx.update(flat[1][order], tx.init(flat[0]), flat[0][order])
    np.testing.assert_allclose(whole, flat[2][order], rtol=1e-6, atol=1e-9)


@given(st.sampled_from(["adam", "amsgrad", "nadam"]), st.integers(-20, 20), st.integers(0, 99))
def test_scale_invariance_without_eps(name, exponent, seed):
    """At eps = 0 a power of two in the gradient changes no bit of the update."""
    g = jnp.asarray(np.random.default_rng(seed).standard_normal(9), jnp.float32)
    tx = fa.ALGORITHMS[name].make(1e-2, eps=0.0)
    small, _ = tx.update(g, tx.init(g), g)
    large, _ = tx.update(g * 2.0**exponent, tx.init(g), g)
    assert_equal(small, large)


P = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}
ERRORS = [
    ("adam", {"layer": {"w": jnp.ones((2, 3))}}, P, ValueError,
     r"state.mu must have.*\['layer'\]\['b'\]"),
    ("adam", {"layer": {"w": jnp.ones((2, 3)), "c": jnp.ones(3)}}, P, ValueError,
     r"\['layer'\]\['c'\] \(there \['layer'\]\['b'\]\)"),
    ("adam", {"layer": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}, P, ValueError,
     r"gradient\['layer'\]\['w'\] has shape \(3, 2\), but .* has shape \(2, 3\)"),
    ("adam", {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.int32)}}, P, TypeError,
     r"gradient\['layer'\]\['b'\] has dtype int32"),
    ("adam", {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.complex64)}}, P, TypeError,
     r"gradient\['layer'\]\['b'\] has dtype complex64.*both must be complex, or neither"),
    ("adamw", P, None, ValueError, r"weight_decay needs the parameters"),
    ("adamw", P, {"layer": {"w": jnp.ones((2, 3))}}, ValueError, r"params must have.*\['b'\]"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "g", "p", "error", "match"), ERRORS)
def test_mismatched_trees_say_where(name, g, p, error, match):
    tx = fa.ALGORITHMS[name].make(1e-2)
    with pytest.raises(error, match=match):
        tx.update(g, tx.init(P), p)


def test_bad_leaves_masks_and_dtypes():
    for make, error, match in (
        (lambda: fa.adam(1e-3).init({"n": jnp.arange(3)}), TypeError,
         r"params\['n'\] has dtype int32"),
        (lambda: fa.adam(1e-3, mu_dtype=jnp.int8), TypeError, "mu_dtype must be a real floating"),
        (lambda: fa.adam(1e-3, nu_dtype="float64"), TypeError, "nu_dtype must not be float64"),
        (lambda: fa.adam(1e-3, mu_dtype=jnp.bfloat16).init(jnp.ones(2, jnp.complex64)), TypeError,
         "complex: its moments can be kept in float32 or float64 parts, not in bfloat16"),
        (lambda: fa.adamw(1e-3, mask={"layer": {"w": 1, "b": True}}).update(
            P, fa.adamw(1e-3).init(P), P), TypeError,
         r"mask\['layer'\]\['w'\] must be a bool, got 1"),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            make()


def test_mask_prefix_and_callable():
    g = jax.tree.map(jnp.zeros_like, P)
    for mask in ({"layer": {"w": True, "b": False}}, lambda p: {"layer": {"w": True, "b": False}}):
        tx = fa.adamw(0.1, weight_decay=0.5, mask=mask)
        updates, _ = tx.update(g, tx.init(P), P)
        np.testing.assert_allclose(updates["layer"]["w"], -0.05, rtol=1e-6)
        assert not updates["layer"]["b"].any()
    tx = fa.adamw(0.1, weight_decay=0.5, mask={"layer": False})
    updates, _ = tx.update(g, tx.init(P), P)
    assert not any(u.any() for u in jax.tree.leaves(updates))


def test_infinite_parameters_stay_infinite():
    """As in torch; the division by the correction must not turn them into NaN."""
    p = jnp.array([jnp.inf, -jnp.inf, 1.0, 0.0])
    for name in fa.ALGORITHMS:
        tx = fa.ALGORITHMS[name].make(1e-2, weight_decay=0.1 if name.endswith("w") else 0.0)
        updates, _ = tx.update(jnp.ones(4), tx.init(p), p)
        end = optax.apply_updates(p, updates)
        assert end[0] == jnp.inf
        assert end[1] == -jnp.inf
        assert np.isfinite(end[2:]).all()


def test_the_count_saturates():
    tx, p = fa.adam(1e-2), jnp.ones(2)
    state = tx.init(p)._replace(count=jnp.int32(2**31 - 1), nu=jnp.ones(2), mu=jnp.ones(2))
    updates, after = tx.update(p, state, p)
    assert int(after.count) == 2**31 - 1
    np.testing.assert_allclose(updates, -1e-2, rtol=1e-6)


def test_a_state_of_another_algorithm_or_of_other_moments_is_refused():
    p = params()
    tx, coded = fa.adam(1e-2), fa.adam(1e-2, moments="bfloat16")
    for state, said in (
        (fa.adamax(1e-2).init(p), "AdamaxState, another algorithm's: needed is AdamState"),
        (fa.adabelief(1e-2).init(p), "AdaBeliefState, another algorithm's"),
        (coded.init(p), "other moments=: it keeps them in few bits"),
        (optax.chain(tx).init(p), "tuple, without mu, nu.*out of the state of a chain"),
        (optax.scale_by_lion().init(p), "ScaleByLionState, without nu.*from_optax"),
    ):
        with pytest.raises(TypeError, match=said):
            tx.update(p, state, p)
    with pytest.raises(TypeError, match="other moments=: it keeps them in float32"):
        coded.update(p, tx.init(p), p)
    # What is no algorithm's own type will do if it has the fields.
    theirs = optax.scale_by_adam().init(p)
    assert_equal(tx.update(p, theirs, p)[0], tx.update(p, tx.init(p), p)[0])


def test_dtypes_that_nothing_is_computed_in():
    with pytest.raises(
        TypeError, match=r"params\['a'\] has dtype float8_e4m3fn.*bfloat16 or wider"
    ):
        fa.adam(1e-2).init({"a": jnp.ones(3, jnp.float8_e4m3fn)})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_promotion_may_be_strict_around_it(dtype):
    """The setting is a check of the user's code; what is promoted inside is meant to be."""
    tree = {"w": jnp.ones((64, 64), dtype)}
    ways = [fa.adamw(optax.constant_schedule(1e-2)), fa.nadam(1e-2), fa.adamax(1e-2)]
    if dtype != jnp.complex64:
        ways += [fa.adam(1e-2, moments="int8"), fa.with_master(fa.adam(1e-2), bits=24)]
    for tx in ways:
        want = tx.update(tree, tx.init(tree), tree)
        with jax.numpy_dtype_promotion("strict"):
            for update in (tx.update, jax.jit(tx.update)):
                got = update(tree, tx.init(tree), tree)
                np.testing.assert_allclose(got[0]["w"], want[0]["w"], rtol=1e-6)
