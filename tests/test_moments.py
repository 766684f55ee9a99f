"""Algorithms with stored moments: the laws of the others, and they forget."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import OTHER_PROGRAM, assert_equal

import functional_adam as fa
from functional_adam._codecs import codecs
from functional_adam.cli._parity.forgetting import RATE, forgetting_optax

SHAPE = (32, 256)
# Moments in few bits are noisy; what they must not be is biased.
FORGET = 0.25  # of the second moment, the promise
STEPS_OFF = {"bfloat16": 0.02, "int8": 0.2}  # of the distance travelled, in the mean

# The others have the same rules, and adamw's decay.
each = pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "radam", "adamax"])


def _start():
    rng = np.random.default_rng(0)
    return {"w": jnp.asarray(rng.standard_normal(SHAPE), jnp.float32), "b": jnp.ones(7)}


def _gradients(step, like):
    rng = np.random.default_rng((1, step))
    draw = lambda p: jnp.asarray(rng.standard_normal(p.shape) + 0.3, jnp.float32)  # noqa: E731
    return jax.tree.map(draw, like)


def _step(tx):
    def step(carry, g):
        p, state = carry
        updates, state = tx.update(g, state, p)
        return (optax.apply_updates(p, updates), state), updates

    return step


def _run(tx, p, steps):
    gs = jax.tree.map(lambda *g: jnp.stack(g), *(_gradients(t, p) for t in range(steps)))
    return jax.jit(functools.partial(jax.lax.scan, _step(tx)))((p, tx.init(p)), gs)[0]


@pytest.mark.parametrize("dialect", [fa.TORCH, fa.OPTAX, fa.HF, fa.PAPER], ids=str)
def test_decay_in_every_form_to_its_last_digits(dialect):
    """Of a gradient of zero the update is decay alone; `_start` is 1 in its small leaf."""
    base = {"base_learning_rate": 1e-2} if dialect == fa.PAPER else {}
    tx = fa.adamw(1e-2, weight_decay=1e-3, moments="bfloat16", dialect=dialect, **base)
    p = _start()
    u, _ = tx.update(jax.tree.map(jnp.zeros_like, p), tx.init(p), p)
    share = 1e-3 if dialect == fa.PAPER else 1e-5
    np.testing.assert_allclose(u["b"], np.full(7, -share), rtol=2e-7)


def test_decay_after_the_step_shrinks_the_step_too():
    tx = fa.adamw(0.5, eps=0.0, weight_decay=0.5, moments="bfloat16", dialect=fa.HF)
    p = jnp.float32(2.0)
    u, _ = tx.update(jnp.float32(1.0), tx.init(p), p)
    assert float(p + u) == pytest.approx((2 - 0.5) * (1 - 0.25), rel=1e-5)


@each
def test_near_float32_with_the_structure_kept(name):
    """Without an outer jit the compiled step scalars are shared by the three ways to store."""
    make, p = fa.ALGORITHMS[name].make, _start()

    def run(**options):
        tx, carry = make(1e-2, **options), (p, make(1e-2, **options).init(p))
        for t in range(6):
            updates, state = tx.update(_gradients(t, p), carry[1], carry[0])
            carry = optax.apply_updates(carry[0], updates), state
        assert jax.tree.structure(carry[1]) == jax.tree.structure(tx.init(p))
        return carry

    exact, _ = run()
    travelled = np.abs(exact["w"] - p["w"]).mean()
    for moments, off in STEPS_OFF.items():
        end, state = run(moments=moments)
        assert 0 < np.abs(np.asarray(end["w"] - exact["w"])).mean() < off * travelled
        assert (int(state.count), int(state.seed)) == (6, 0)
        if moments == "int8":
            # Decay is added, not landed on: a unit in the last place of the parameter a step.
            np.testing.assert_allclose(end["b"], exact["b"], rtol=0, atol=6 * 2.0**-24)
            assert state.nu["b"].dtype == jnp.float32
            assert state.nu["w"].code.dtype == jnp.uint8
        else:
            assert state.mu["w"].dtype == state.nu["b"].dtype == jnp.bfloat16


def test_sharded_in_rows_or_columns_is_unsharded():
    """Bit for bit, with no collective, weights rounded at random as well."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    p = {"w": jnp.asarray(np.random.default_rng(0).standard_normal((16, 1024)), jnp.float32)}
    p = jax.tree.map(lambda x: x.astype(jnp.bfloat16), p)
    tx = fa.with_master(fa.adamw(1e-2, moments="int8"), bits=24)
    step = jax.jit(lambda p, state, g: _step(tx)((p, state), g)[0])

    def train(where):
        put = functools.partial(jax.device_put, device=where)
        q = put(p)
        state = jax.jit(tx.init)(q)
        for t in range(2):
            if t == 1 and where is not None:
                text = step.lower(q, state, put(_gradients(0, p))).compile().as_text()
                for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
                    assert collective not in text
            q, state = step(q, state, put(_gradients(t, p)))
        return jax.device_get((q, state))

    plain = train(None)
    for axes in (("x",), (None, "x")):
        spec = jax.sharding.PartitionSpec(*axes)
        assert_equal(train(jax.sharding.NamedSharding(mesh, spec)), plain)


def test_wrappers_partitions_and_masks():
    """A leaf rounds alike alone, in a partition or behind a mask: its bits belong to its path."""
    p, tx = _start(), fa.adamw(1e-2, moments="int8")

    def run(tx):
        q, state = p, tx.init(p)
        for t in range(2):
            updates, state = tx.update(_gradients(t, p), state, q)
            q = optax.apply_updates(q, updates)
        return q["w"]

    want, labels = run(tx), {"w": "a", "b": "b"}
    for wrapped in (
        optax.chain(optax.clip_by_global_norm(1e9), tx),
        optax.partition({"a": tx, "b": fa.adamw(1e-2, moments="int8")}, labels),
        optax.masked(tx, {"w": True, "b": False}),
        optax.apply_if_finite(tx, 2),
        optax.MultiSteps(tx, 1).gradient_transformation(),
    ):
        np.testing.assert_allclose(run(wrapped), want, **OTHER_PROGRAM)
    g = {"w": None, "b": jnp.ones(7)}
    updates, after = tx.update(g, tx.init(p), p)
    assert updates["w"] is None
    assert_equal(after.nu["w"], tx.init(p).nu["w"])


@pytest.mark.parametrize("moments", ["bfloat16", "int8"])
def test_vmapped_replicas_round_alike_or_not(moments):
    tx = fa.scale_by_adam(moments=moments)
    p, g = jnp.ones(SHAPE), _gradients(0, {"w": jnp.ones(SHAPE)})["w"]

    def code(seed):
        state = optax.tree.set(tx.init(p), seed=seed)
        _, state = tx.update(g, state, p)
        return jax.tree.leaves(state.nu)[0]

    same, other = (jax.jit(jax.vmap(code))(jnp.asarray(s, jnp.uint32)) for s in ([0, 0], [0, 1]))
    assert (same[0] == same[1]).all()
    assert_equal(same[0], code(jnp.uint32(0)))
    assert 0.2 < (other[0] != other[1]).mean() < 0.8


@pytest.fixture(scope="module")
def exact():
    return forgetting_optax(fa.adam(RATE))


@pytest.mark.parametrize("name", ["bfloat16", "int8", "mixed"])
def test_forgetting(name, exact):
    """The symptom nobody tests: gradients of half of each block shrink tenfold."""
    assert exact.v_true == pytest.approx(1.21, abs=0.02)
    pair = (fa.bfloat16_codec(), fa.int8_codec(signed=False))
    found = forgetting_optax(fa.adam(RATE, moments=pair if name == "mixed" else name))
    assert found.v_true == pytest.approx(exact.v_true, rel=FORGET)
    assert found.update == pytest.approx(exact.update, rel=FORGET / 2)


def test_rounding_to_nearest_does_not_forget(exact):
    """What the test is there to find, on our own nu_dtype; and it warns."""
    with pytest.warns(fa.PrecisionWarning, match="cannot decay. moments='bfloat16'"):
        tx = fa.adam(RATE, nu_dtype=jnp.bfloat16)
    found = forgetting_optax(tx)
    assert found.v_true > 50
    assert found.update < exact.update / 5


def test_bytes_per_parameter():
    p = {"w": jnp.zeros((256, 1024), jnp.bfloat16)}
    wide = {"w": jnp.zeros((256, 1024))}

    def held(tx, params):
        arrays = jax.tree.leaves((params, tx.init(params)))
        return sum(x.nbytes for x in arrays if x.ndim) / params["w"].size

    for bits, moments, most in (
        (16, "int8", 4.05), (24, "int8", 5.05), (32, "int8", 6.05), (32, "bfloat16", 8.0),
        (16, "bfloat16", 6.0), (16, "float32", 10.0), (32, "float32", 12.0),
    ):  # fmt: skip
        tx = fa.with_master(fa.adamw(1e-3, moments=moments), bits=bits)
        assert most - 0.05 <= held(tx, p) <= most
    assert held(fa.adamw(1e-3, moments="int8"), wide) <= 6.05
    assert held(fa.adamw(1e-3), wide) == 12


def test_mixed_dtypes_and_wide_parameters():
    """Whatever the leaf is, moments are stored as asked and updates have the promoted dtype."""
    for dtype in (jnp.bfloat16, jnp.float16):
        p = {"w": jnp.ones(SHAPE, dtype)}
        tx = fa.adamw(1e-2, moments="int8")
        updates, state = tx.update(p, tx.init(p), p)
        assert updates["w"].dtype == dtype
        assert state.mu["w"].code.shape == SHAPE
        assert np.isfinite(np.asarray(updates["w"], np.float32)).all()
    with jax.enable_x64(True):
        p = {"w": jnp.ones(SHAPE, jnp.float64)}
        for moments in ("bfloat16", "int8"):
            tx = fa.nadam(1e-2, moments=moments)
            updates, state = tx.update(p, tx.init(p), p)
            assert updates["w"].dtype == jnp.float64


def test_errors_say_what_is_wrong():
    for make, error, match in (
        (lambda: fa.adam(1e-3, moments="int8", mu_dtype=jnp.bfloat16), ValueError,
         "mu_dtype=bfloat16 and moments= both say how mu is kept: give one of them"),
        (lambda: fa.amsgrad(1e-3, moments="bfloat16", nu_dtype="float32"), ValueError,
         "nu_dtype=float32 and moments="),
        (lambda: fa.adam(1e-3, moments="int8").init({"z": jnp.ones(3, jnp.complex64)}), TypeError,
         r"params\['z'\] is complex: its moments can be kept in moments='float32' only"),
        (lambda: fa.adam(1e-3, moments="int8").update(
            {"w": jnp.ones((64, 64))}, fa.adam(1e-3, moments="int8").init({"w": jnp.ones(SHAPE)})),
         ValueError, r"gradient\['w'\] of shape \(64, 64\) cannot update state.mu\['w'\]"),
        (lambda: fa.adam(1e-3, moments="int8").update(
            {"w": jnp.ones(SHAPE)}, fa.adam(1e-3, moments="bfloat16").init({"w": jnp.ones(SHAPE)})),
         ValueError, "which is bfloat16.*another shape, or other moments="),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            make()


def test_a_codec_of_ones_own():
    """Three pure functions are all it takes: here nu in logarithms, which is a bad idea."""
    log = fa.Codec(
        lambda like: jnp.full(jnp.shape(like), -jnp.inf, jnp.float32),
        lambda code, shape: jnp.exp(code),
        lambda x, old, bits: jnp.log(x),
    )
    p = _start()
    end, state = _run(fa.adam(1e-2, moments=(fa.float32_codec(), log)), p, 5)
    want, plain = _run(fa.adam(1e-2), p, 5)
    np.testing.assert_allclose(end["w"], want["w"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.exp(state.nu["w"]), plain.nu["w"], rtol=1e-5)
    assert codecs("float32") is None


def test_restored_runs_go_on_as_if_never_stopped():
    p, tx = _start(), fa.adam(1e-2, moments="int8")
    step = jax.jit(_step(tx))
    carry = (p, tx.init(p))
    for t in range(2):
        carry, _ = step(carry, _gradients(t, p))
    leaves, treedef = jax.tree.flatten(carry)
    restored = treedef.unflatten([jnp.asarray(np.asarray(x)) for x in leaves])
    assert_equal(step(restored, _gradients(2, p))[0], step(carry, _gradients(2, p))[0])
