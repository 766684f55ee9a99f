"""`apply_update` is the two calls, and one loop over memory where XLA joins loops."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import applying_worker
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from applying_worker import two_calls
from cases import assert_equal, gradients, params
from processes import PATIENCE

import functional_adam as fa
from functional_adam import applying

FLAGS = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
# Loops of the two calls, of one call; a clipped gradient is kept between the loops of two.
LOOPS = {
    **dict.fromkeys(fa.ALGORITHMS, 1), "optax": 1, "clipped": 1, "clipped optax": 1,
    "clipped within": 1, "schedule": 1, "argument": 1, "bfloat16": 1, "sharded": 1,
    "tree": 2, "packed": 2, "numpy argument": 1,
}  # fmt: skip
AS_EVER = ["finite", "several", "several within", "bfloat16 moments", "int8 moments",
           "16 bits", "24 bits", "32 bits"]  # fmt: skip


@pytest.fixture(scope="module")
def found():
    environment = os.environ | {
        "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, applying_worker.__file__]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_every_case_is_looked_at(found):
    assert found.keys() == {*LOOPS, *AS_EVER, "summed", "scanned", "closed over"}
    assert all(case["moved"] for case in found.values())


def test_the_same_bits(found):
    # XLA rounds optax's product of clipped gradient and 1 - b1 once where it is not kept between.
    assert [name for name, case in found.items() if not case["same"]] == ["clipped optax"]


@pytest.mark.parametrize("name", LOOPS)
def test_one_loop_and_nothing_in_between(found, name):
    one, two = found[name]["one"], found[name]["two"]
    assert one["loops"] == LOOPS[name]
    assert one["loops"] < max(two["loops"], 2)  # XLA joins Lion's two by itself
    assert one["copies"] == one["collectives"] == 0
    assert one["reductions"] == two["reductions"] == name.startswith("clipped")
    assert one["temporary"] < 8192


@pytest.mark.parametrize("name", AS_EVER)
def test_what_cannot_be_joined_is_as_it_was(found, name):
    assert found[name]["one"] == found[name]["two"]


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_without_the_option(monkeypatch, joins, compiled):
    assert not applying.joins_loops()
    monkeypatch.setattr(applying, "joins_loops", lambda: joins)
    monkeypatch.setattr(applying, "_LARGE", 4)
    tx = optax.chain(optax.clip_by_global_norm(1.0), fa.adamw(0.1))
    wrap = jax.jit if compiled else lambda f: f
    one = wrap(lambda carry, g: fa.apply_update(tx, g, carry[1], carry[0]))
    two = wrap(lambda carry, g: two_calls(tx, g, carry[1], carry[0]))
    a = b = (params(), tx.init(params()))
    for t in range(3):
        g = gradients(t, params())
        a, b = one(a, g), two(b, g)
    assert_equal(a, b)
    assert np.any(a[0]["dense"]["w"] != params()["dense"]["w"])


@pytest.mark.parametrize(("joins", "compiled"), [(True, False), (False, True)])
def test_nothing_is_computed_twice_for_nothing(monkeypatch, joins, compiled):
    monkeypatch.setattr(applying, "joins_loops", lambda: joins)
    monkeypatch.setattr(applying, "_each_on_its_own", None)
    tx = fa.adam(0.5)
    step = lambda p: fa.apply_update(tx, p, tx.init(p), p)[0]  # noqa: E731
    p = jnp.arange(1.0, 9.0)
    np.testing.assert_allclose((jax.jit(step) if compiled else step)(p), p - 0.5, rtol=1e-6)


def test_what_is_small_or_belongs_to_no_parameter_is_left_alone():
    small, p = jnp.zeros(applying._LARGE - 1), jnp.zeros(applying._LARGE)
    other = jnp.zeros((2, applying._LARGE))
    assert applying._turns((small, {"mu": small}), small) == [0, 0]
    found = applying._turns((p, {"mu": p, "x": other, "y": other, "nu": p}), p)
    assert found == [0, 1, 2, 0, 0]  # in the order of the keys


def test_missing_gradients_and_what_is_no_array(monkeypatch):
    monkeypatch.setattr(applying, "joins_loops", lambda: True)
    monkeypatch.setattr(applying, "_LARGE", 4)
    p = {"a": jnp.arange(8.0), "none": None}
    tx = fa.adam(0.1)

    @jax.jit
    def step(p, state, g):
        return fa.apply_update(tx, {"a": g, "none": None}, state, p, learning_rate=0.5)

    after, state = step(p, tx.init(p), jnp.ones(8))
    np.testing.assert_allclose(after["a"], p["a"] - 0.5, rtol=1e-6)
    assert after["none"] is None
    assert state.count == 1


def test_it_can_be_differentiated(monkeypatch):
    monkeypatch.setattr(applying, "_LARGE", 4)
    tx = fa.adam(0.1)

    def after(scale):
        p = jnp.arange(8.0)
        return jnp.sum(fa.apply_update(tx, scale * p + 1, tx.init(p), p)[0] ** 2)

    slopes = []
    for joins in (False, True):
        monkeypatch.setattr(applying, "joins_loops", lambda joins=joins: joins)
        slopes.append(jax.jit(jax.grad(after))(0.5))
        jax.clear_caches()
    assert slopes[0] != 0
    np.testing.assert_allclose(*slopes, rtol=1e-6)
