"""Packed parameters give the numbers of the leaves, and everything of a leaf still reaches it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import SHORT, assert_equal, gradients, params
from jax.sharding import NamedSharding, PartitionSpec

import functional_adam as fa
from functional_adam._split import split

WIDTH = 1024


def tree():
    """Small leaves of three dtypes, none, empty ones, a long odd vector, and a large matrix."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    many = [draw(6) for _ in range(9)]
    return params() | {"many": many, "none": None, "empty": {}, "zero": draw(0, 3),
                       "half": draw(3, 2).astype(jnp.bfloat16), "number": jnp.arange(3),
                       "complex": draw(4) + 1j * draw(4), "long": draw(2 * WIDTH + 1),
                       "large": draw(50, 60)}  # fmt: skip


def floating(p):
    return {name: leaf for name, leaf in p.items() if name not in ("number", "none")}


def is_matrix(p):
    return jax.tree.map(lambda x: x.ndim > 1, p)


def shapes(packed):
    return sorted((str(x.dtype), x.shape) for x in jax.tree.leaves(packed))


def test_few_buffers_and_back():
    p = tree()
    packed, unpack = fa.pack(p, small=2000)
    assert shapes(packed) == [
        ("bfloat16", (1, WIDTH)), ("complex64", (1, WIDTH)), ("float32", (1, WIDTH)),
        ("float32", (3, WIDTH)), ("float32", (50, 60)), ("int32", (3,)),
    ]  # fmt: skip
    assert_equal(unpack(packed), p)
    assert_equal(unpack.pack(p), packed)
    assert shapes(fa.pack(floating(p), small=None)[0])[-1] == ("float32", (6, WIDTH))
    for nothing in ({}, None, (), {"a": None}):
        packed, unpack = fa.pack(nothing)
        assert jax.tree.leaves(packed) == []
        assert unpack(packed) == nothing


def test_packing_under_jit_and_vmap():
    p = floating(tree())
    packed, unpack = fa.pack(p, small=2000)
    inside = jax.jit(lambda p: fa.pack(p, small=2000)[0])
    assert_equal(inside(p), packed)
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), packed)
    assert_equal(jax.vmap(unpack)(batch), jax.tree.map(lambda x: jnp.stack([x, 2 * x]), p))


RULES = [case for case in SHORT if case.name in ("adamw", "amsgrad", "nadam", "radam", "adamax")]


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.name)
def test_same_numbers(case):
    """Bit for bit, state included, over steps that start packed and end unpacked."""
    p = params()
    packed, unpack = fa.pack(p)
    tx = case.make()

    def step(p, state, g):
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    step = jax.jit(step)
    ours, plain = (packed, tx.init(packed)), (p, tx.init(p))
    for t in range(2):
        g = gradients(t, p)
        ours, plain = step(*ours, unpack.pack(g)), step(*plain, g)
    assert_equal(unpack(ours), plain)
    again = unpack.pack(plain[1], like=tx.init(packed))
    assert jax.tree.structure(again) == jax.tree.structure(ours[1])
    assert_equal(unpack(again), plain[1])


def test_the_gradient_is_one_concatenation():
    p = params() | {"many": [jnp.full(6, float(i)) for i in range(9)]}
    packed, unpack = fa.pack(p)

    def loss(p):
        return sum(jnp.sum(x * x * jnp.arange(x.size).reshape(x.shape)) for x in jax.tree.leaves(p))

    of_leaves = jax.grad(loss)
    of_buffers = jax.grad(lambda packed: loss(unpack(packed)))
    assert_equal(unpack(of_buffers(packed)), of_leaves(p))
    program = str(jax.make_jaxpr(of_buffers)(packed))
    assert program.count(" concatenate[") == 1
    assert not any(name in program for name in ("pad[", "scatter", "dynamic_update_slice"))
    tangent = jax.tree.map(jnp.ones_like, packed)
    _, along = jax.jvp(lambda packed: loss(unpack(packed)), (packed,), (tangent,))
    _, want = jax.jvp(loss, (p,), (unpack(tangent),))
    np.testing.assert_allclose(along, want, rtol=1e-6)
    _, curved = jax.jvp(of_buffers, (packed,), (tangent,))
    assert_equal(unpack(curved), jax.jvp(of_leaves, (p,), (unpack(tangent),))[1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_pieces_are_the_vector(dtype):
    """Zeros of both signs, infinities and NaN; pieces of one length, of others and of none."""
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.0, 1e-40], np.float32)
    flat = jnp.asarray(np.tile(values, 5), dtype)
    sizes = (3, 3, 3, 3, 3, 7, 0, 3, 3, 12)
    pieces = jax.jit(split, static_argnums=1)(flat, sizes)
    assert tuple(len(x) for x in pieces) == sizes
    got = np.concatenate(pieces)
    assert got.dtype == flat.dtype
    np.testing.assert_array_equal(got.view(np.uint8), np.asarray(flat).view(np.uint8))


def test_masks_decays_and_partitions_reach_their_leaves():
    p = params()
    g = gradients(0, p)
    packed, unpack = fa.pack(p, by=is_matrix)
    names = jax.tree.map(lambda flag: "matrix" if flag else "rest", is_matrix(p))
    inner = lambda labels: optax.partition(  # noqa: E731
        {"matrix": fa.adamw(0.1, weight_decay=0.5), "rest": fa.adam(0.2)}, labels)  # fmt: skip
    ways = {
        "mask": (fa.adamw(0.1, weight_decay=0.5, mask=is_matrix),
                 fa.adamw(0.1, weight_decay=0.5, mask=unpack.labels(is_matrix))),
        "masked": (optax.masked(fa.adam(0.1), is_matrix(p)),
                   optax.masked(fa.adam(0.1), unpack.labels(is_matrix(p)))),
        "partition": (inner(names), inner(unpack.labels(names))),
    }  # fmt: skip
    for name, (plain, ours) in ways.items():
        want, state = plain.update(g, plain.init(p), p)
        got, packed_state = ours.update(unpack.pack(g), ours.init(packed), packed)
        assert_equal(unpack(got), want)
        assert_equal(unpack(packed_state), state)
        assert_equal(unpack.pack(state, like=ours.init(packed)), packed_state)
        assert (want["dense"]["b"] != want["dense"]["w"][0]).any(), name


def test_a_function_is_shown_the_leaves_and_not_the_buffers():
    """`ndim > 1`, the usual mask, holds for every buffer."""
    p = params()
    zeros = jax.tree.map(jnp.zeros_like, p)
    packed, unpack = fa.pack(p, by=is_matrix)
    want, _ = (tx := fa.adamw(0.1, weight_decay=0.5, mask=is_matrix)).update(zeros, tx.init(p), p)
    for mask in (is_matrix, lambda p: unpack.labels(is_matrix)):
        tx = fa.adamw(0.1, weight_decay=0.5, mask=mask)
        got, _ = tx.update(unpack.pack(zeros), tx.init(packed), packed)
        assert_equal(unpack(got), want)
    # Within a larger tree, and beside leaves that are not packed.
    both, zero = (
        {"own": packed, "w": jnp.ones((2, 2))},
        {"own": unpack.pack(zeros), "w": jnp.zeros((2, 2))},
    )
    tx = fa.adamw(0.1, weight_decay=0.5, mask=is_matrix)
    got, _ = tx.update(zero, tx.init(both), both)
    assert_equal(unpack(got["own"]), want)
    assert (got["w"] < 0).all()
    tx = fa.adamw(0.1, weight_decay=0.5, mask=lambda p: True)
    got, _ = tx.update(zero, tx.init(both), both)
    assert all((x < 0).any() for x in jax.tree.leaves(got))
    packed, unpack = fa.pack(p)
    tx = fa.adamw(0.1, weight_decay=0.5, mask=is_matrix)
    with pytest.raises(ValueError, match=r"in the same buffer has .*: pack them apart, with by="):
        tx.update(unpack.pack(zeros), tx.init(packed), packed)


def test_what_looks_at_leaves_is_shown_leaves():
    p = params()
    g = gradients(0, p)
    packed, unpack = fa.pack(p)
    by_leaf = lambda wrap: optax.chain(  # noqa: E731
        fa.scale_by_adam(), wrap(optax.scale_by_trust_ratio()), optax.scale(-0.1))  # fmt: skip
    plain, ours = by_leaf(lambda tx: tx), by_leaf(unpack.on_leaves)
    want, _ = plain.update(g, plain.init(p), p)
    got, _ = ours.update(unpack.pack(g), ours.init(packed), packed)
    assert_equal(unpack(got), want)


def test_half_precision_masters_are_packed_too():
    p = params(jnp.bfloat16)
    packed, unpack = fa.pack(p)
    tx = fa.with_master(fa.adamw(1e-2))
    want = tx.update(p, tx.init(p), p)
    got = tx.update(unpack.pack(p), tx.init(packed), packed)
    assert_equal(unpack(got), want)


def test_sharded_leaves_are_stacked_with_their_like():
    mesh = jax.make_mesh((8,), ("x",))
    spread = NamedSharding(mesh, PartitionSpec("x"))
    whole = NamedSharding(mesh, PartitionSpec())
    p = {name: jax.device_put(jnp.arange(16.0) + i, spread) for i, name in enumerate("abc")}
    p |= {"d": jax.device_put(jnp.ones(8), spread), "e": jax.device_put(jnp.ones(3), whole)}
    packed, unpack = fa.pack(p)
    assert shapes(packed) == [
        ("float32", (1, WIDTH)), ("float32", (3, 16)), ("float32", (8,)),
    ]  # fmt: skip
    stacked = next(x for x in packed.buffers if x.shape == (3, 16))
    assert stacked.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(None, "x")), 2)
    assert_equal(unpack(packed), p)
    tx = fa.adam(1e-2)
    update = jax.jit(tx.update).lower(packed, tx.init(packed), packed).compile().as_text()
    assert not any(name in update for name in ("all-gather", "all-reduce", "all-to-all"))


def test_another_process_can_use_what_was_pickled(tmp_path):
    """Hashes of strings differ from process to process."""
    p = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    packed, unpack = fa.pack(p)
    hash(unpack.layout)
    (tmp_path / "packed").write_bytes(pickle.dumps((packed, unpack)))
    code = """
import pickle, sys, jax, jax.numpy as jnp, functional_adam as fa
packed, unpack = pickle.load(open(sys.argv[1], "rb"))
again, own = fa.pack({"w": jnp.ones((2, 3)), "b": jnp.zeros(3)})
assert own(packed)["w"].shape == unpack(again)["w"].shape == (2, 3)
jax.tree.map(lambda a, b: None, packed, again)
assert len({own.layout, unpack.layout}) == 1
"""
    for seed in ("1", "2"):
        own = {"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "packed")],
            env=os.environ | own, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


P = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
PACKED, UNPACK = fa.pack(P)
OTHER, _ = fa.pack({"w": jnp.ones((2, 3))})
INT8 = fa.adam(1e-2, moments="int8").init(fa.pack({"w": jnp.ones(4096)})[0])
ERRORS = [
    (lambda: fa.pack(P, small=0), ValueError, "small must be None or at least 1, got 0"),
    (lambda: fa.pack({"w": "x"}), TypeError, r"params\['w'\] must be an array, got str"),
    (lambda: fa.pack(jax.eval_shape(lambda: P)), TypeError, r"got a shape: jax\.eval_shape"),
    (lambda: fa.pack(PACKED), TypeError, "packed already"),
    (lambda: fa.pack(P, by={"w": 1}), ValueError, "labels must be a tree like params, or a prefix"),
    (lambda: UNPACK(OTHER), ValueError, "packed otherwise than by this packing of 2 leaves"),
    (lambda: UNPACK.pack({"w": jnp.ones((2, 3))}), ValueError, "another structure"),
    (lambda: UNPACK.pack(P | {"b": jnp.ones(4)}), ValueError,
     r"leaf\['b'\] has shape \(4,\), but was packed with shape \(3,\)"),
    (lambda: UNPACK.pack(P | {"b": None}), ValueError, r"leaf\['b'\] is None, but others of its"),
    (lambda: UNPACK.labels(is_matrix), ValueError,
     r"leaf\['w'\] has True, but leaf\['b'\] in the same buffer has False: .*by="),
    (lambda: UNPACK(jax.tree.map(lambda x: x[None], PACKED)), ValueError, "use vmap"),
    (lambda: fa.pack({"w": jnp.ones(4096)})[1](INT8), TypeError, "codes of blocks"),
    (lambda: UNPACK(jax.eval_shape(lambda: PACKED)), TypeError,
     r"got shapes: jax\.eval_shape\(unpack, tree\)"),
    (lambda: UNPACK.pack(jax.eval_shape(lambda: P)), TypeError,
     r"got shapes: jax\.eval_shape\(unpack\.pack, tree\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), ERRORS)
def test_what_cannot_be_packed_says_why(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_leaves_on_explicit_axes_are_packed_in_and_out_of_programs():
    """Also on an axis of one device, and where a program knows the sharding by the type alone."""
    for shape, spec in (
        ((8, 1), PartitionSpec(None, "model")),
        ((8, 1), PartitionSpec("data")),
        ((4, 2), PartitionSpec("data")),
    ):
        mesh = jax.make_mesh(shape, ("data", "model"))
        p = {"a": jnp.ones((16, 4)), "b": jnp.full((16, 4), 2.0)}
        p = jax.device_put(p, NamedSharding(mesh, spec)) | {"c": jnp.ones(3)}
        packed, unpack = fa.pack(p)
        assert_equal(unpack(packed), p)
        inside = jax.jit(lambda p: fa.pack(p)[0])(p)
        assert_equal(jax.tree.leaves(inside), jax.tree.leaves(packed))
        shapes = jax.eval_shape(lambda p: fa.pack(p)[0], p)
        assert [x.shape for x in jax.tree.leaves(shapes)] == [x.shape for x in packed.buffers]


@pytest.mark.parametrize("make", [np.bool_, jnp.asarray], ids=["numpy", "jax"])
def test_masks_of_scalars_that_are_no_python_bools(make):
    p = {"w": jnp.ones((2, 3)), "b": jnp.ones(3), "s": jnp.ones(())}
    mask = {"w": make(True), "b": make(False), "s": make(False)}
    _, unpack = fa.pack(p, by={"w": 1, "b": 2, "s": 2})
    assert unpack.labels(mask).buffers == (False, True)
    if make is np.bool_:
        tx = fa.adamw(0.1, weight_decay=0.5, mask=mask)
        zero = jax.tree.map(jnp.zeros_like, p)
        updates, _ = tx.update(zero, tx.init(p), p)
        assert [bool(jnp.any(u)) for u in jax.tree.leaves(updates)] == [False, False, True]
