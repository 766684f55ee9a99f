"""State that moves: torch to JAX and back, optax to ours and back, without losing a bit."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import optax
import pytest
import torch

import functional_adam_torch as ft
from functional_adam.cli._parity.bounds import limits
from functional_adam.cli._parity.rows import VARIANTS, Row

# Algorithm, torch's class, the options that select it.
KINDS = [
    ("adam", "Adam", {}),
    ("adamw", "AdamW", {}),
    ("amsgrad", "Adam", {"amsgrad": True}),
    ("amsgradw", "AdamW", {"amsgrad": True}),
    ("nadam", "NAdam", {"momentum_decay": 0.1}),
    ("nadamw", "NAdam", {"decoupled_weight_decay": True}),
    ("radam", "RAdam", {}),
    ("radamw", "RAdam", {"decoupled_weight_decay": True}),
    ("adamax", "Adamax", {}),
]
kinds = pytest.mark.parametrize(("algorithm", "name", "options"), KINDS, ids=[k[0] for k in KINDS])
DTYPES = (
    *(torch.float32, torch.float64, torch.bfloat16, torch.float16),
    *(torch.complex64, torch.complex128),
)
SHAPES = {"a.weight": (5, 7), "a.bias": (33,), "scale": (), "none": (0,)}


def _wide(dtype):
    return jax.enable_x64(dtype in (torch.float64, torch.complex128))


def _parameters(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
        for name, shape in SHAPES.items()
    }


@functools.cache
def _gradients(step, dtype):
    generator = torch.Generator().manual_seed(1000 + step)
    size = 10.0 ** (step % 4 - 2)
    return {n: torch.randn(s, dtype=dtype, generator=generator) * size for n, s in SHAPES.items()}


def _give_gradients(step, named, missing=()):
    for name, p in named.items():
        p.grad = None if name in missing else _gradients(step, p.dtype)[name].clone()


def _train(optimizer, named, steps, missing=lambda step: ()):
    for step in steps:
        _give_gradients(step, named, missing(step))
        optimizer.step()


def _held_up(step):
    """One parameter never has a gradient, another one not always."""
    return ("scale", "a.bias") if step % 3 == 1 else ("scale",)


def _bits(x):
    if not isinstance(x, torch.Tensor):
        return x
    x = x.detach()
    return x.dtype, x.shape, x.contiguous().flatten().view(torch.uint8).tolist()


def _assert_same(left, right):
    """Parameters and state_dicts of two optimizers, in every bit, dtype and key."""
    a, b = left.state_dict(), right.state_dict()
    assert a["state"].keys() == b["state"].keys()
    for i, entry in a["state"].items():
        assert list(entry) == list(b["state"][i])
        for key, value in entry.items():
            assert _bits(value) == _bits(b["state"][i][key]), (i, key)
    for one, other in zip(left.param_groups, right.param_groups, strict=True):
        for p, q in zip(one["params"], other["params"], strict=True):
            assert _bits(p) == _bits(q)


def _groups(named, **options):
    """Two groups, the second with options of its own."""
    first, *others = named.values()
    return [{"params": [first]}, {"params": others, "lr": 3e-3, "weight_decay": 0.3} | options]


@kinds
def test_there_and_back_is_bit_equal(algorithm, name, options):
    modules = itertools.cycle((torch.optim, ft))
    for dtype, grouped, missing in itertools.product(
        DTYPES, (False, True), (lambda step: (), _held_up)
    ):
        make = getattr(next(modules), name)
        named, target = _parameters(dtype), _parameters(dtype, seed=9)
        settings = dict(lr=1e-2, weight_decay=0.1, maximize=True, foreach=False, **options)
        sides = [
            make(_groups(side) if grouped else side.values(), **settings)
            for side in (named, target)
        ]
        _train(sides[0], named, range(4), missing)
        before = {key: p.detach().clone() for key, p in named.items()}
        with _wide(dtype):
            tx, params, state = ft.to_jax(sides[0], named)
            # The state is one that the transformation itself makes.
            empty = tx.init(params)
            assert jax.tree.structure(empty) == jax.tree.structure(state)
            for x, y in zip(jax.tree.leaves(empty), jax.tree.leaves(state), strict=True):
                scalar = x.shape == ()
                assert x.shape == y.shape
                assert x.dtype == y.dtype or scalar
            # Neither side sees what the other does afterwards.
            with torch.no_grad():
                for p in named.values():
                    p.zero_()
            ft.to_torch(params, state, sides[1], target)
            with torch.no_grad():
                for key, p in named.items():
                    p.copy_(before[key])
        _assert_same(*sides)


def _as_jax(named):
    return {key: jnp.asarray(p.grad.numpy().copy()) for key, p in named.items()}


def _in_jax(optimizer, named, target, steps, jitted, **options):
    """Go on in JAX, on a nested tree, and put the result into another torch optimizer."""
    tx, params, state = ft.to_jax(optimizer, named, **options)
    if not jitted:

        def step(params, state, g):
            updates, state = tx.update(g, state, params)
            return optax.apply_updates(params, updates), state

        jitted.append(jax.jit(step))
    for t in steps:
        _give_gradients(t, named)
        flat = _as_jax(named)
        tree = {
            "a": {"weight": flat["a.weight"], "bias": flat["a.bias"]},
            "scale": flat["scale"],
            "none": flat["none"],
        }
        params, state = jitted[0](params, state, tree)
    options.pop("scheduler", None)
    return ft.to_torch(params, state, *target, **options)


def _distance(named, other):
    pairs = [(p.detach().double(), other[key].detach().double()) for key, p in named.items()]
    return max((float((p - q).abs().max()) for p, q in pairs if p.numel()), default=0.0)


@pytest.mark.parametrize(
    ("algorithm", "name", "options", "dtype"),
    [(*kind, torch.float32) for kind in KINDS]
    + [(*kind, torch.float64) for kind in KINDS if kind[0] in ("adamw", "nadam", "radam")],
    ids=lambda x: x if isinstance(x, str) else str(x).removeprefix("torch."),
)
def test_hopping_every_fifty_steps_stays_with_the_run_that_never_moves(
    algorithm, name, options, dtype
):
    """The bound is the parity table's, for JAX and torch each running freely."""
    row = Row(algorithm, VARIANTS[0], str(dtype).removeprefix("torch."), "jax", "torch-single")
    settings = dict(lr=1e-2, weight_decay=0.01, **options)
    stays, hops = _parameters(dtype), _parameters(dtype)
    steady = getattr(torch.optim, name)(stays.values(), **settings)
    moving = getattr(ft, name)(hops.values(), **settings)
    jitted = []
    with _wide(dtype):
        for start in range(0, 400, 100):
            _train(steady, stays, range(start, start + 100))
            _train(moving, hops, range(start, start + 50))
            there = _parameters(dtype, seed=start)
            target = getattr((ft, torch.optim)[start // 100 % 2], name)(there.values(), **settings)
            moving = _in_jax(moving, hops, (target, there), range(start + 50, start + 100), jitted)
            hops = there
    travelled = _distance(stays, _parameters(dtype))
    assert travelled > 0.1
    assert _distance(stays, hops) / travelled <= limits(row)["free"]
    assert {int(entry["step"]) for entry in moving.state.values()} == {400}


@pytest.mark.parametrize(("name", "options"), [("AdamW", {"amsgrad": True}), ("NAdam", {})])
def test_hopping_with_groups_and_parameters_held_up(name, options):
    """Groups, steps that differ and a parameter without a gradient go through a partition."""
    row = Row("nadam", VARIANTS[0], "float32", "jax", "torch-single")
    stays, hops = _parameters(), _parameters()
    settings = dict(lr=1e-2, **options)
    steady = getattr(torch.optim, name)(_groups(stays), **settings)
    moving = getattr(torch.optim, name)(_groups(hops), **settings)
    jitted = []
    for start in range(0, 400, 100):
        missing = _held_up if start == 0 else lambda step: ()
        for optimizer, named in ((steady, stays), (moving, hops)):
            _train(optimizer, named, range(start, start + 50), missing)
        _train(steady, stays, range(start + 50, start + 100))
        there = _parameters(seed=start)
        target = getattr(ft, name)(_groups(there), **settings)
        moving = _in_jax(moving, hops, (target, there), range(start + 50, start + 100), jitted)
        hops = there
    sides = [(moving, hops), (steady, stays)]
    steps = [[int(side.state[p]["step"]) for p in named.values()] for side, named in sides]
    assert steps == [[400, 383, 350, 400]] * 2
    assert _distance(stays, hops) / _distance(stays, _parameters()) <= limits(row)["free"]
