"""On a mesh: state where the parameters are, ZeRO-1, and no message that is not needed."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sharding_cases as cases
from cases import CASES, OTHER_PROGRAM, assert_close, assert_equal
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sharding_cases import SPECS, TYPES, WHOLE

import functional_adam as fa

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight (virtual) devices")
each_type = pytest.mark.parametrize("types", TYPES.values(), ids=list(TYPES))


def _held(x):
    """Bytes on one device."""
    return sum(a.addressable_shards[0].data.nbytes for a in jax.tree.leaves(x))


@each_type
def test_state_is_where_the_parameters_are(types):
    """Bit for bit what one device computes, with no message, from either init."""
    mesh = cases.mesh(types)
    put = functools.partial(cases.put, mesh=mesh, specs=SPECS)
    p, tx = put(cases.start(jnp.bfloat16)), cases.master("int8", 24)
    states = jax.jit(tx.init)(p), tx.init(p)
    for state in states:
        for tree in (state.low, state.inner.mu, state.inner.nu):
            for name, spec in SPECS.items():
                for x in jax.tree.leaves(tree[name]):
                    assert x.sharding.is_equivalent_to(NamedSharding(mesh, spec), x.ndim)
    step = cases.step(tx).lower(p, states[0], p).compile()
    # It takes nothing that is sharded otherwise: what a step returns is where it was.
    end = cases.train(step, p, states[0], put)
    assert_equal(jax.device_get(end), cases.alone("int8", 24))
    assert not fa.collectives(step)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_algorithm_on_explicit_axes(case):
    """Types are checked when a step is traced: nothing needs to be compiled."""
    _trace(case.make(), jnp.float32)


def test_every_way_to_store_on_explicit_axes():
    for row in fa.ALGORITHMS.values():
        _trace(row.make(1e-2, moments="int8"), jnp.float32)
    for dtype in (jnp.bfloat16, jnp.float16):
        for bits in (32, 24, 16):
            _trace(cases.master("bfloat16", bits), dtype)
    _trace(fa.clip_by_update_bound(b1=0.9, b2=0.999), jnp.float32)
    _trace(fa.adamw(1e-2), jnp.complex64)
    _trace(fa.adam(1e-2, dialect=fa.OPTAX), jnp.complex64)


def _trace(tx, dtype):
    where = NamedSharding(cases.mesh(TYPES["explicit"]), P("data", "model"))
    p = {"w": jax.ShapeDtypeStruct((64, 512), dtype, sharding=where)}
    state = jax.eval_shape(tx.init, p)
    updates, after = jax.eval_shape(tx.update, p, state, p)
    for x in jax.tree.leaves((updates, state, after)):
        assert not x.ndim or x.sharding.spec == where.spec


def test_zero1_on_axes_of_both_types():
    """Each is asked for in its own words."""
    mesh = cases.mesh(TYPES["mixed"])
    p = cases.put(cases.start(jnp.bfloat16), mesh, WHOLE)
    tx = fa.zero1(cases.master("int8", 24), mesh)
    state = jax.jit(tx.init)(p)
    updates, after = jax.jit(tx.update)(p, state, p)
    for tree in (state, after):
        for x in jax.tree.leaves((tree.low["w"], tree.inner.nu["w"])):
            assert x.sharding.spec == P("data", None)
    assert updates["w"].sharding.spec == P(None, None)
    # Without jit, one kind of axes must not undo what was asked of the other.
    found = fa.zero1(fa.scale_by_adam(), mesh).init({"w": p["w"]}).nu["w"]
    assert found.sharding.is_equivalent_to(NamedSharding(mesh, P("data")), 2)


@pytest.mark.parametrize("types", [TYPES["auto"], TYPES["explicit"]], ids=["auto", "explicit"])
def test_zero1_gathers_each_weight_once(types):
    """Bit for bit what one device computes; one all-gather a leaf, in the weights' 16 bits."""
    mesh = cases.mesh(types)
    put = functools.partial(cases.put, mesh=mesh, specs=WHOLE)
    p, inner = put(cases.start(jnp.bfloat16)), cases.master("int8", 24)
    tx = fa.zero1(inner, mesh)
    state, plain = jax.jit(tx.init)(p), inner.init(p)
    rows = NamedSharding(mesh, P("data"))
    for x in jax.tree.leaves((state.low["w"], state.inner.mu["w"], state.inner.nu["w"])):
        assert x.sharding.is_equivalent_to(rows, x.ndim)
    # The vector is small and stays whole, as the scalars do.
    small = 512 * (1 + 4 + 4) + 5 * 4
    assert _held(state) - small == pytest.approx((_held(plain) - small) / 4, abs=16)
    step = cases.step(tx).lower(p, state, p).compile()
    q, after = cases.train(step, p, state, put)
    assert_equal(jax.device_get((q, after)), cases.alone("int8", 24))
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(q))
    assert _held(after) == _held(state)
    assert fa.collectives(step) == {"all-gather": 1}
    assert "u16[64,512]" in _line(step, "all-gather")


def test_zero1_lands_on_the_same_weights_where_they_cross_zero():
    """Where float32 has no number for the difference of the new weight and the old one."""
    rng = np.random.default_rng(0)
    p = cases.start(jnp.bfloat16, (64, 4096))
    p["f16"] = p["w"].astype(jnp.float16)
    inner = fa.with_master(optax.sgd(1.0))
    state = inner.init(p)
    near = 1 + 10.0 ** rng.uniform(-7, -1, (64, 4096)) * rng.standard_normal((64, 4096))
    g = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float32) * near[0, 0]), p)
    g |= {name: jnp.asarray(np.asarray(p[name], np.float32) * near) for name in ("w", "f16")}
    want = jax.device_get(cases.step(inner)(p, state, g))
    mesh = cases.mesh(TYPES["auto"])
    whole = NamedSharding(mesh, P())
    p, g = jax.device_put((p, g), whole)
    tx = fa.zero1(inner, mesh)
    assert_equal(jax.device_get(cases.step(tx)(p, jax.jit(tx.init)(p), g)), want)


def _line(compiled, name):
    (line,) = [x for x in compiled.as_text().splitlines() if f" {name}(" in x]
    return line


def test_zero1_in_data_parallel_training_and_in_turn_with_tensor_parallel():
    """The gradients' sum, and the updates back; a stock chain, a norm over all of it."""
    mesh = cases.mesh(TYPES["auto"])
    specs = {"w": P(None, "model"), "b": P("model")}
    p = cases.put(cases.start(), mesh, specs)
    inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
    tx = fa.zero1(inner, mesh, specs=specs)
    x = jax.device_put(np.ones((16, 64), np.float32), NamedSharding(mesh, P("data")))

    def loss(p, x):
        return jnp.mean(jnp.tanh(x @ p["w"] + p["b"]) ** 2)

    def make(tx):
        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(p, state, x):
            updates, state = tx.update(jax.grad(loss)(p, x), state, p)
            return optax.apply_updates(p, updates), state

        return step

    state = tx.init(p)
    (moments,) = [s for s in jax.tree.leaves(state, is_leaf=_is_adam) if _is_adam(s)]
    assert moments.mu["w"].sharding.spec == moments.nu["w"].sharding.spec == P("data", "model")
    alone = jax.device_get(p)
    want, _ = make(inner)(alone, inner.init(alone), np.asarray(x))
    compiled = make(tx).lower(p, state, x).compile()
    found = fa.collectives(compiled)
    # One for the loss's own axis, one for the sum over the batch, one for the norm.
    assert set(found) == {"all-reduce", "all-gather"}
    assert found["all-gather"] == 1
    assert "f32[64,256]" in _line(compiled, "all-gather")
    got, after = compiled(p, state, x)
    assert_close(jax.device_get(got), jax.device_get(want), **OTHER_PROGRAM)
    assert got["w"].sharding.is_equivalent_to(NamedSharding(mesh, specs["w"]), 2)
    assert after[1][0].mu["w"].sharding.spec == P("data", "model")


def _is_adam(x):
    return isinstance(x, optax.ScaleByAdamState)


def test_zero1_without_jit():
    mesh, inner = cases.mesh(TYPES["auto"]), fa.scale_by_adam()
    p = cases.put({"w": cases.start()["w"]}, mesh, {"w": P()})
    tx = fa.zero1(inner, mesh)
    updates, state = tx.update(p, tx.init(p))
    assert state.nu["w"].sharding.is_equivalent_to(NamedSharding(mesh, P("data")), 2)
    assert updates["w"].sharding.is_fully_replicated
    assert_equal(jax.device_get((updates, state)), inner.update(p, inner.init(p)))


def test_zero1_on_explicit_axes_that_say_where_parameters_are():
    mesh, own = cases.mesh(TYPES["explicit"]), {"w": P("model")}
    p = cases.put({"w": cases.start()["w"]}, mesh, own)
    tx = fa.zero1(fa.scale_by_adam(), mesh)
    updates, state = jax.jit(tx.update)(p, jax.jit(tx.init)(p))
    assert updates["w"].sharding.is_equivalent_to(NamedSharding(mesh, own["w"]), 2)
    # The other dimension is free.
    both = NamedSharding(mesh, P("model", "data"))
    assert state.nu["w"].sharding.is_equivalent_to(both, 2)


@pytest.mark.parametrize("types", [TYPES["auto"], TYPES["explicit"]], ids=["auto", "explicit"])
def test_zero1_around_what_does_not_read_the_parameters(types):
    """jit drops such arguments of init, and with them which devices there are."""
    mesh = cases.mesh(types)
    whole = NamedSharding(mesh, P())
    p = jax.device_put({"a": jnp.zeros((512, 64)), "b": jnp.zeros(3)}, whole)
    tx = fa.zero1(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)), mesh)
    for x, y in zip(jax.tree.leaves(jax.jit(tx.init)(p)), jax.tree.leaves(tx.init(p)), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        assert (x == y).all()


def test_zero1_leaves_what_it_cannot_cut_and_says_so():
    mesh = cases.mesh(TYPES["auto"])
    p = {"odd": jnp.ones((65, 513)), "none": None, "blocks": jnp.ones(4096 + 128)}
    tx = fa.zero1(fa.adamw(1e-2, moments="int8"), mesh)
    with pytest.warns(UserWarning, match=r"whole on every device: 4 devices divide no dimension"):
        state = tx.init({"odd": p["odd"]})
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(state))
    with pytest.warns(UserWarning, match=r"params\['blocks'\] of shape \(4224,\)"):
        # 4224 elements divide by four, their 33 blocks do not.
        state = tx.init({"blocks": p["blocks"]})
    # The flat vector of all parameters is nobody's.
    with pytest.warns(UserWarning, match=r"state.*trace of shape .*: it belongs to no parameter"):
        fa.zero1(optax.flatten(optax.sgd(1e-2, 0.9)), mesh).init({"w": jnp.ones((64, 128))})
    # No gradient, no update, and no step for its state; but that is cut where it was whole.
    q = {name: jnp.ones((64, 128), jnp.bfloat16) for name in ("w", "none")}
    tx, state = fa.zero1(cases.master(), mesh), cases.master().init(q)
    updates, after = jax.jit(tx.update)({"w": q["w"], "none": None}, state, q)
    assert updates["none"] is None
    assert_equal(jax.device_get(after.inner.nu["none"]), state.inner.nu["none"])
    assert after.inner.nu["none"].sharding.is_equivalent_to(NamedSharding(mesh, P("data")), 2)


def test_a_state_inside_wrappers_knows_its_parameter():
    """Parameters in a list, whose keys are those of chains; masks and accumulated gradients."""
    mesh = cases.mesh(TYPES["auto"])
    p, specs = [jnp.ones((64, 128)), jnp.ones((64, 128)), jnp.ones(3)], [P(), P("model"), P()]
    masked = optax.masked(fa.adam(1e-2), [True, False, True])
    tx = optax.MultiSteps(optax.chain(optax.trace(0.9), masked), 2)
    tx = fa.zero1(tx.gradient_transformation(), mesh, specs=specs)
    state = jax.jit(tx.init)(p)
    cut, both = NamedSharding(mesh, P("data")), NamedSharding(mesh, P("model", "data"))
    trace, masked = state.inner_opt_state
    first, second = (state.acc_grads, trace.trace), masked.inner_state
    for x in (first[0][0], first[1][0], second.mu[0], second.nu[0]):
        assert x.sharding.is_equivalent_to(cut, 2)
    for x in (first[0][1], first[1][1]):
        assert x.sharding.is_equivalent_to(both, 2)
    assert all(x.is_fully_replicated for x in jax.tree.leaves(state) if x.ndim < 2)
    # A single array has no name at all.
    state = fa.zero1(optax.adam(1e-2), mesh).init(p[0])
    assert state[0].mu.sharding.is_equivalent_to(cut, 2)


def test_blocks_that_devices_would_share():
    """Right but slow on automatic axes, refused on explicit ones, cured by smaller blocks."""
    tx, small = (fa.scale_by_adam(moments=m) for m in ("int8", _blocks(32)))
    like, specs = {"w": cases.start(shape=(32, 256))["w"]}, {"w": P(None, ("data", "model"))}
    mesh = cases.mesh(TYPES["auto"])
    p = cases.put(like, mesh, specs)
    step = jax.jit(lambda g, state: tx.update(g, state)[1].nu["w"])
    assert fa.collectives(step.lower(p, tx.init(p)).compile())
    assert_equal(jax.device_get(step(p, tx.init(p))), step(like, tx.init(like)))
    mesh = cases.mesh(TYPES["explicit"])
    p = cases.put(like, mesh, specs)
    with pytest.raises(ValueError, match=r"in blocks of 128, .* share: .* 32 elements each"):
        tx.init(p)
    assert not fa.collectives(jax.jit(small.update).lower(p, small.init(p)).compile())
    with pytest.raises(ValueError, match="block must be at least 16, got 8"):
        fa.int8_codec(signed=True, block=8)


def _blocks(block):
    return tuple(fa.int8_codec(signed=signed, block=block) for signed in (True, False))


def test_errors():
    mesh, tx = cases.mesh(TYPES["auto"]), fa.adam(1e-2)
    p = cases.put(cases.start(), mesh, SPECS)
    plain = {"w": np.ones((64, 512), np.float32)}
    for act, error, match in (
        (lambda: fa.zero1(tx, mesh, "batch"), ValueError,
         r"axis must be of the mesh's \('data', 'model'\), got 'batch'"),
        (lambda: fa.zero1(tx, None), TypeError, "mesh must be a jax.sharding.Mesh, got None"),
        (lambda: fa.zero1(tx, mesh).init(p), ValueError, r"params\['b'\] is sharded.*give specs="),
        (lambda: fa.zero1(tx, mesh, specs={"v": P()}).init(plain), ValueError,
         "specs must be a tree like params, or a prefix"),
        (lambda: fa.zero1(tx, mesh, specs={"w": "data"}).init(plain), ValueError,
         r"specs\['w'\] must be a PartitionSpec, got 'data'"),
        (lambda: fa.zero1(tx, mesh, specs=P(None, None, "data")).init(plain), ValueError,
         r"specs\['w'\] is .* but the parameter has shape \(64, 512\)"),
        (lambda: fa.zero1(tx, mesh, specs=P("x")).init(plain), ValueError, "mesh has"),
        (lambda: fa.zero1(tx, mesh).update({"w": None}, tx.init(plain)), ValueError,
         "zero1 needs the parameters where a gradient is None"),
        (lambda: fa.abstract_state(tx, plain), ValueError, r"params\['w'\] has no sharding"),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            act()


@pytest.mark.parametrize("types", TYPES.values(), ids=list(TYPES))
def test_a_target_has_the_parameters_sharding_on_axes_of_all_types(types):
    """Of optax's accumulated gradients compiled code knows the explicit axes only."""
    p = cases.put(cases.start(), cases.mesh(types), cases.SPECS)
    tx = optax.MultiSteps(optax.adamw(1e-2), 2)
    found = fa.abstract_state(tx, p)
    for tree in (found.acc_grads, found.inner_opt_state[0].mu):
        for name, x in tree.items():
            assert x.sharding.is_equivalent_to(p[name].sharding, x.ndim)


def test_collectives_are_counted():
    text = """
      %all-gather.1 = f32[8]{0} all-gather(%p), dimensions={0}
      %ar = (f32[8]{0}, f32[]) all-reduce(%all-gather.1, %x), to_apply=%add
      %s = (f32[1], f32[8]) all-gather-start(%p), dimensions={0}
      %d = f32[8] all-gather-done(%s)
      %rs = f32[1]{0} reduce-scatter(%ar), dimensions={0}
    """
    assert fa.collectives(text) == {"all-gather": 2, "all-reduce": 1, "reduce-scatter": 1}


def test_placeholders_do_not_keep_a_state_whole():
    """Adafactor keeps an array of one element where it factors nothing."""
    mesh = cases.mesh(TYPES["auto"])
    params = {"v": jnp.ones(8192), "w": jnp.ones((256, 128))}
    tx = fa.zero1(optax.adafactor(1e-2, min_dim_size_to_factor=1024), mesh)
    state = jax.jit(tx.init)(params)
    cut = [x for x in jax.tree.leaves(state) if x.shape == (8192,)]
    assert cut
    assert not any(x.sharding.is_fully_replicated for x in cut)


def test_a_memory_of_several_is_cut_as_its_parameter():
    """L-BFGS keeps its memory of each parameter stacked along a first dimension."""
    mesh = cases.mesh(TYPES["auto"])
    params = {"w": jnp.linspace(-1, 1, 256 * 128).reshape(256, 128), "b": jnp.ones(3)}
    inner = optax.scale_by_lbfgs(memory_size=4)
    tx = fa.zero1(inner, mesh)
    state, alone = tx.init(params), inner.init(params)
    for memory in (state.diff_params_memory, state.diff_updates_memory):
        assert memory["w"].sharding.is_equivalent_to(NamedSharding(mesh, P(None, "data")), 3)
        assert memory["b"].sharding.is_fully_replicated
    step, whole = jax.jit(tx.update), jax.jit(inner.update)
    there, here = params, params
    for _ in range(3):
        updates, state = step(jax.tree.map(jnp.sin, there), state, there)
        there = optax.apply_updates(there, jax.tree.map(lambda u: -0.1 * u, updates))
        updates, alone = whole(jax.tree.map(jnp.sin, here), alone, here)
        here = optax.apply_updates(here, jax.tree.map(lambda u: -0.1 * u, updates))
    # Sums over elements are taken in parts.
    assert_close(jax.device_get(there), here, **OTHER_PROGRAM)
    found = fa.abstract_state(inner, cases.put(params, mesh, {"w": P("data"), "b": P()}))
    assert found.diff_params_memory["w"].sharding.spec == P(None, "data")


@pytest.mark.parametrize("axis", [(), ("data", "data")])
def test_axes_are_different_and_there_is_one(axis):
    with pytest.raises(ValueError, match="axis must name one or more different axes"):
        fa.zero1(fa.adam(1e-3), cases.mesh(TYPES["auto"]), axis)
