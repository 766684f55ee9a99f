"""The algorithm that CONTRIBUTING makes outside of the package: what it says is all it takes."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from cases import OTHER_PROGRAM, assert_close, gradients, params

import functional_adam as fa
import functional_adam_torch as ft

TEXT = (Path(__file__).parent.parent / ".github" / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def heavy_ball():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict = {}
    exec(code, names)
    return names["heavy_ball"]


def _end(tx, p, steps=5):
    state, step = tx.init(p), jax.jit(tx.update)
    for t in range(steps):
        updates, state = step(gradients(t, p), state, p)
        p = optax.apply_updates(p, updates)
    return p


def test_it_is_what_optax_has(heavy_ball):
    schedule = optax.linear_schedule(1e-2, 1e-3, 5)
    got, want = (_end(tx, params()) for tx in (heavy_ball(schedule), optax.sgd(schedule, 0.9)))
    assert_close(got, want, **OTHER_PROGRAM)


@pytest.mark.parametrize("moments", ["bfloat16", "int8"])
def test_its_moments_may_be_in_few_bits_and_its_weights_halves(heavy_ball, moments):
    p = {"w": jnp.ones((64, 64), jnp.bfloat16)}
    tx = fa.with_master(heavy_ball(1e-2, moments=moments), bits=24)
    state = tx.init(p)
    for _ in range(5):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, p), state, p)
        p = optax.apply_updates(p, updates)
    want = 1 - 1e-2 * sum(1 - 0.9 ** (t + 1) for t in range(5)) / 0.1
    found = np.asarray(fa.master_params(p, state)["w"])
    np.testing.assert_allclose(found.mean(), want, rtol=1e-3)
    assert jax.tree.leaves(state.inner.mu)[0].dtype != jnp.float32


def test_in_torch_it_is_an_optimizer(heavy_ball):
    ps = [torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)) for _ in range(2)]
    ours = ft.OptaxOptimizer(ps[:1], heavy_ball, lr=1e-2)
    theirs = torch.optim.SGD(ps[1:], lr=1e-2, momentum=0.9)
    for t in range(4):
        for p, optimizer in zip(ps, (ours, theirs), strict=True):
            p.grad = torch.sin(p.detach() + t)
            optimizer.step()
    torch.testing.assert_close(*ps, rtol=1e-6, atol=1e-6)
    assert (ps[0] != torch.arange(6.0).reshape(2, 3)).any()
