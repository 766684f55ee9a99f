"""On a GPU: the numbers of the CPU, and torch's own. Without one, what is left to compare.

`make test` runs it on the CPU; CONTRIBUTING.md says how to run it on a GPU.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch_cases import DEVICE, assert_near, assert_same, give, pair, start, train

import functional_adam as fa
import functional_adam_torch as ft
from functional_adam import _halves
from functional_adam._bits import random_bits
from functional_adam._codecs import codecs
from functional_adam._two_float import one_minus_exp, rate, two_float

HOST, THERE = jax.devices("cpu")[0], jax.devices()[0]
# What another program may contract, in a step from the same state: of the largest element of a
# leaf (of a sum, the parts may be larger than what is left of them), and in the median of its own.
ULPS, MEDIAN = 4, 2
SMALLEST = np.finfo(np.float32).tiny
SHAPES = {"matrix": (48, 96), "vector": (33,), "scalar": ()}  # of the tests in JAX
accelerated = pytest.mark.skipif(DEVICE.type == "cpu", reason="torch captures no steps on a CPU")


def _jax_params():
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in SHAPES.items()}


def _jax_gradients(step):
    rng = np.random.default_rng((1, step))
    return {
        name: (rng.standard_normal(s) * 10.0 ** rng.uniform(-4, 2)).astype(np.float32)
        for name, s in SHAPES.items()
    }


def _bits_of(x):
    x = np.asarray(x)
    return x.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[x.itemsize])


def _on_host(tensors):
    return [p.detach().cpu().clone().requires_grad_() for p in tensors]


def _give_both(step, here, there):
    give(step, there, missing=False)
    for p, q in zip(here, there, strict=True):
        p.grad = q.grad.cpu()


def _both(function, *arguments):
    """Results of a jitted function on the CPU and on the device that JAX prefers."""
    found = []
    for device in (HOST, THERE):
        with jax.default_device(device):
            results = jax.jit(function)(*jax.device_put(arguments, device))
        assert all(x.devices() == {device} for x in jax.tree.leaves(results))
        found.append(jax.device_get(results))
    return found


@pytest.mark.parametrize("name", fa.ALGORITHMS)
def test_a_step_in_jax_is_the_cpu_s(name):
    """From the same state at each of 12 steps, counts far on among them."""
    row = fa.ALGORITHMS[name]
    decay = {"weight_decay": 0.1} if row.decay != "none" else {}
    tx = row.make(1e-2, **decay)

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = _jax_params()
    with jax.default_device(HOST):
        state = jax.device_get(tx.init(params))
    for t in range(12):
        here, there = _both(step, params, state, _jax_gradients(t))
        for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
            if a.dtype != np.float32:
                np.testing.assert_array_equal(a, b)
                continue
            off = np.abs(a.astype(np.float64) - b)
            assert off.max() <= ULPS * np.spacing(np.abs(a).max()), t
            assert np.median(off / np.spacing(np.maximum(np.abs(a), SMALLEST))) <= MEDIAN, t
        params, state = here


def test_scalars_of_a_step_are_the_cpu_s():
    """Pairs of float32: no contraction of products may reach the 36th bit."""
    exponents = np.logspace(-8, 1.4, 2000)
    pair_of = two_float(exponents)
    for function in (one_minus_exp, lambda x: rate(x * 0.03), lambda x: (x * x + x) / (x + 3)):
        here, there = _both(function, pair_of)
        a, b = (np.asarray(x.hi, np.float64) + x.lo for x in (here, there))
        np.testing.assert_allclose(a, b, rtol=2.0**-36, atol=0)


def test_random_bits_codes_and_halves_are_the_cpu_s():
    """Integer arithmetic: nothing may differ at all."""
    rng = np.random.default_rng(0)
    x = (10 ** rng.normal(0, 5, (64, 256)) * rng.choice([-1, 1], (64, 256))).astype(np.float32)
    bits = functools.partial(random_bits, np.uint32(7), 3, np.uint32(11), x.shape)
    functions = [bits]
    for kind, signed in itertools.product(("bfloat16", "int8"), (True, False)):
        codec = codecs(kind)[not signed]

        def encoded(x, codec=codec, signed=signed):
            x = x if signed else jnp.abs(x)
            code = codec.encode(x, codec.init(x), bits())
            return code, codec.decode(code, x.shape)

        functions.append(functools.partial(encoded, x))
    for dtype, extra in itertools.product((jnp.bfloat16, jnp.float16), (16, 8, 0)):

        def halved(x, dtype=dtype, extra=extra):
            leaf, rest = _halves.split(x, dtype, extra, bits())
            return leaf, rest, _halves.join(leaf, rest)

        functions.append(functools.partial(halved, x))
    for function in functions:
        here, there = _both(function)
        for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
            np.testing.assert_array_equal(_bits_of(a), _bits_of(b))


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
def test_32_bits_are_the_float32_run(half):
    """Two programs of one device: a step with a master, and the plain step."""
    tx = fa.adamw(1e-3, weight_decay=0.1)
    kept = fa.with_master(tx)

    @functools.partial(jax.jit, static_argnums=0)
    def step(tx, params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    leaves = jax.tree.map(lambda p: jnp.asarray(p, half), _jax_params())
    wide = jax.tree.map(lambda p: p.astype(jnp.float32), leaves)
    states = [kept.init(leaves), tx.init(wide)]
    for t in range(12):
        gradients = jax.tree.map(lambda g: jnp.asarray(g, half), _jax_gradients(t))
        leaves, states[0] = step(kept, leaves, states[0], gradients)
        gradients = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)
        wide, states[1] = step(tx, wide, states[1], gradients)
    masters = fa.master_params(leaves, states[0])
    for a, b in zip(jax.tree.leaves(masters), jax.tree.leaves(wide), strict=True):
        np.testing.assert_array_equal(_bits_of(a), _bits_of(b))


def test_float16_survives_a_zero_gradient():
    params = {"w": jnp.ones(33, jnp.float16)}
    tx = fa.adam(1e-3)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    assert (updates["w"] == 0).all()


STORED = pytest.mark.parametrize("moments", ["float32", "bfloat16", "int8"])
ONES = np.full((32, 256), 0x7FFF_FFFF, np.int32).view(np.float32)  # NaN as a GPU makes it


@STORED
@pytest.mark.parametrize("bits", [None, 32, 24, 16])
def test_nan_is_not_hidden(moments, bits):
    tx = fa.adamw(1e-3, moments=moments)
    params = jnp.ones(ONES.shape, jnp.bfloat16 if bits else jnp.float32)
    if bits:
        tx = fa.with_master(tx, bits=bits)
    updates, _ = jax.jit(tx.update)(jnp.asarray(ONES), tx.init(params), params)
    assert jnp.isnan(optax.apply_updates(params, updates)).all()


@STORED
@pytest.mark.parametrize("engine", ["auto", "compile"])
def test_nan_is_not_hidden_in_torch(moments, engine):
    p = torch.ones(ONES.shape, device=DEVICE, requires_grad=True)
    p.grad = torch.from_numpy(ONES).to(DEVICE)
    ft.AdamW([p], moments=moments, engine=engine).step()
    assert torch.isnan(p).all()


NAMES = [
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
]
names = pytest.mark.parametrize(
    ("name", "options"), NAMES, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "plain"
)


@names
@pytest.mark.parametrize("foreach", [None, False, True])
def test_torch_s_loops_bit_for_bit(name, options, foreach):
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64):
        left, right = pair(name, dtype=dtype, foreach=foreach, eps=1e-6, **options)
        train(range(15), left, right)
        assert_same(left, right)


@names
@pytest.mark.parametrize("engine", ["compile", "flat"])
def test_compiled_engines(name, options, engine):
    left, right = pair(name, engine, **options)
    train(range(50), left, right)
    assert_near(left, right)


@accelerated
@names
@pytest.mark.parametrize("foreach", [False, True])
def test_capturable(name, options, foreach):
    """Counts on the device, scalars in float64: nearer to the plain step than torch's own."""
    left, right = pair(name, capturable=True, foreach=foreach, **options)
    plain, _ = pair(name, foreach=False, **options)
    train(range(50), left, right, plain)
    for _, optimizer in (left, right):
        assert all(state["step"].device.type == DEVICE.type for state in optimizer.state.values())
    assert_near(plain, right)


@accelerated
@names
def test_a_captured_graph_goes_on_counting(name, options):
    (a, plain), _ = pair(name, **options)
    _, (b, optimizer) = pair(name, capturable=True, **options)
    static = [torch.zeros_like(p) for p in b]
    for p, g in zip(b, static, strict=True):
        p.grad = g

    def fill(step):
        give(step, a, missing=False)
        for p, g in zip(a, static, strict=True):
            g.copy_(p.grad)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for step in range(3):
            fill(step)
            plain.step()
            optimizer.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    fill(3)
    with torch.cuda.graph(graph):
        optimizer.step()
    for step in range(3, 20):
        fill(step)
        plain.step()
        graph.replay()
    assert_near((a, plain), (b, optimizer))
    assert int(optimizer.state[b[0]]["step"]) == 20


@pytest.mark.parametrize("engine", ["auto", "compile"])
@pytest.mark.parametrize("options", [
    dict(moments="int8", master_bits=16), dict(moments="bfloat16", master_bits=24),
    dict(moments="float32", master_bits=32),
], ids=lambda x: f"{x['moments']}-{x['master_bits']}")  # fmt: skip
def test_stored_in_few_bits(engine, options):
    """The steps of the CPU, rounded by the same bits: nearly all stored numbers are the same."""
    shapes = ((32, 256), (7,), (8192,))
    there = start(torch.bfloat16, shapes)
    here = _on_host(there)
    runs = [(p, ft.AdamW(p, lr=1e-2, engine=engine, **options)) for p in (here, there)]
    for step in range(8):
        _give_both(step, here, there)
        for _, optimizer in runs:
            optimizer.step()
    unit = 2.0 ** -(options["master_bits"] - 9)
    masters = [optimizer.master_params() for _, optimizer in runs]
    for x, y in zip(*masters, strict=True):
        assert y.device.type == DEVICE.type
        torch.testing.assert_close(x, y.cpu(), rtol=2 * unit, atol=2**-20)
    for p, q in zip(here, there, strict=True):
        state, other = runs[0][1].state[p], runs[1][1].state[q]
        assert list(state) == list(other)
        for key, x in state.items():
            assert x.dtype == other[key].dtype
            if x.dtype in (torch.int8, torch.uint8, torch.bfloat16) and key != "master_low":
                assert (x == other[key].cpu()).float().mean() > 0.995, key


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_optax_transformation_steps_tensors_there(dtype):
    """In JAX on the device of the tensors, without a copy to the host: the CPU's numbers."""
    there = start(dtype, ((4, 6), (33,), ()))
    here = _on_host(there)

    def make(learning_rate):
        return fa.with_master(fa.adamw(learning_rate), bits=32)

    runs = [ft.OptaxOptimizer(p, make, lr=1e-2) for p in (here, there)]
    for step in range(8):
        _give_both(step, here, there)
        for optimizer in runs:
            optimizer.step()
    leaves = jax.tree.leaves(runs[1].to_jax()[1])
    assert all(x.devices() == {THERE} for x in leaves if x.ndim)
    unit = 4 * torch.finfo(dtype).eps
    for p, q in zip(here, there, strict=True):
        assert q.device.type == DEVICE.type
        torch.testing.assert_close(p.detach(), q.detach().cpu(), rtol=unit, atol=unit)


@names
def test_moves_to_jax_and_back(name, options):
    """State on the device: to JAX, a step there, back, and a step in torch."""
    (_, _), (params, optimizer) = pair(name, shapes=((4, 6), (33,)), **options)
    train(range(5), (params, optimizer), missing=False)
    moved = ft.to_jax(optimizer, names=[(str(i), p) for i, p in enumerate(params)])
    give(5, params, missing=False)
    gradients = {str(i): jnp.asarray(p.grad.cpu().numpy()) for i, p in enumerate(params)}
    gradients = jax.tree.unflatten(jax.tree.structure(moved.params), gradients.values())
    updates, state = moved.transformation.update(gradients, moved.state, moved.params)
    stepped = optax.apply_updates(moved.params, updates)
    optimizer.step()
    for p, x in zip(params, jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(p.detach().cpu().numpy(), x, rtol=2e-6, atol=2.5e-7)
    (_, _), (back, other) = pair(name, shapes=((4, 6), (33,)), **options)
    ft.to_torch(stepped, state, other, names=[(str(i), p) for i, p in enumerate(back)])
    for run in ((params, optimizer), (back, other)):
        train([6], run, missing=False)
    assert_near((params, optimizer), (back, other))


def test_health_is_the_cpu_s():
    from functional_adam.diagnostics import flatten

    there = start(torch.bfloat16, ((48, 96), (64,)))
    here = _on_host(there)
    optimizers = [ft.AdamW(params, moments="int8") for params in (here, there)]
    for step in range(3):
        _give_both(step, here, there)
        for optimizer in optimizers if step < 2 else ():
            optimizer.step()
    found = [flatten(ft.health(optimizer, every=1)) for optimizer in optimizers]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=2e-2, abs=2e-3), name


@accelerated
def test_the_jax_engine_names_the_device():
    params = start(shapes=((3,),))
    give(0, params, missing=False)
    with pytest.raises(RuntimeError, match="steps tensors on the CPU, got one on cuda:0"):
        ft.Adam(params, engine="jax").step()
