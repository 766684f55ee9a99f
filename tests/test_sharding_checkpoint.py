"""Sharded state saved by orbax, restored onto other meshes, into optax, and from two processes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest
import sharding_cases as cases
import sharding_worker as worker
from cases import assert_equal
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from processes import free_port, reports
from sharding_cases import SPECS, TYPES, WHOLE

import functional_adam as fa

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight (virtual) devices")


def _save(path, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


def _restore(path, target):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, target)


def _abstract(mesh, specs, dtype=jnp.bfloat16):
    return jax.tree.map(
        lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
        cases.start(dtype), specs,
    )  # fmt: skip


def test_a_run_goes_on_upon_another_mesh(tmp_path):
    """From ZeRO-1 on automatic axes to sharded parameters on explicit ones, and to one device."""
    mesh, inner = cases.mesh(TYPES["auto"]), cases.master("int8", 24)
    put = functools.partial(cases.put, mesh=mesh, specs=WHOLE)
    tx, p = fa.zero1(inner, mesh), put(cases.start(jnp.bfloat16))
    state = jax.jit(tx.init)(p)
    for found, x in zip(
        jax.tree.leaves(fa.abstract_state(tx, p)), jax.tree.leaves(state), strict=True
    ):
        assert (found.shape, found.dtype) == (x.shape, x.dtype)
        assert found.sharding.is_equivalent_to(x.sharding, x.ndim)
    saved = cases.train(cases.step(tx), p, state, put, range(1))
    _save(tmp_path / "saved", saved)

    other = cases.mesh(TYPES["explicit"])
    like = _abstract(other, SPECS)
    p, state = _restore(tmp_path / "saved", (like, fa.abstract_state(inner, like)))
    for name, spec in SPECS.items():
        for x in jax.tree.leaves((p[name], state.low[name], state.inner.nu[name])):
            assert x.sharding.is_equivalent_to(NamedSharding(other, spec), x.ndim)
    before = jax.device_get((p, state))
    assert_equal(before, jax.device_get(saved))
    put = functools.partial(cases.put, mesh=other, specs=SPECS)
    end = cases.train(cases.step(inner), p, state, put, range(1, 2))
    assert_equal(jax.device_get(end), cases.alone("int8", 24))

    one = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_one()), cases.start(jnp.bfloat16)
    )
    whole = _restore(tmp_path / "saved", (one, fa.abstract_state(inner, one)))
    assert all(x.sharding == _one() for x in jax.tree.leaves(whole))
    assert_equal(jax.device_get(whole), before)


def _one():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def test_into_optax_on_another_mesh(tmp_path):
    """optax's own zeros would be whole on every device: they take the parameters' sharding."""
    mesh, ours = cases.mesh(TYPES["auto"]), fa.adamw(1e-2)
    p = cases.put(cases.start(), mesh, SPECS)
    state = ours.init(p)._replace(mu=p, nu=jax.tree.map(jnp.square, p))
    _save(tmp_path / "saved", state)
    turned = {"w": P("model", "data"), "b": P("data")}
    like = _abstract(mesh, turned, jnp.float32)
    restored = _restore(tmp_path / "saved", fa.abstract_state(ours, like))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
    target = fa.abstract_state(tx, like)
    made = jax.jit(tx.init, out_shardings=jax.tree.map(lambda x: x.sharding, target))(p)
    found = fa.to_optax(restored, target)
    assert jax.tree.structure(found) == jax.tree.structure(made)
    for name, spec in turned.items():
        for x in (found[1][0].mu[name], found[1][0].nu[name], made[1][0].mu[name]):
            assert x.sharding.is_equivalent_to(NamedSharding(mesh, spec), x.ndim)
    assert_equal(jax.device_get(found[1][0].nu), jax.device_get(state.nu))


def _run_pair(folder):
    flags = f"--xla_force_host_platform_device_count={worker.DEVICES}"
    return reports(worker, free_port(), folder=folder, XLA_FLAGS=flags)


def test_two_processes(tmp_path):
    """Sharded and ZeRO-1: bit for bit what one device computes, restored by one process."""
    for report in _run_pair(tmp_path):
        # Four devices of each process hold a quarter and a half: (64 / 4, 512 / 2), or a quarter.
        assert report == {
            "fsdp": {"collectives": {}, "addressable": 4, "own": [16, 256], "eager init": True},
            "zero1": {
                "collectives": {"all-gather": 1},
                "addressable": 4,
                "own": [16, 512],
                "eager init": True,
            },
        }
    tx = cases.master("int8", 24)
    like = _abstract(cases.mesh(TYPES["auto"]), SPECS)
    target = like, fa.abstract_state(tx, like)
    for name in ("fsdp", "zero1"):
        found = _restore(tmp_path / name, target)
        assert_equal(jax.device_get(found), cases.alone("int8", 24))
