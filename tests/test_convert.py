"""State that moves: torch to JAX and back, optax to ours and back, without losing a bit."""

from __future__ import annotations

import copy
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from cases import assert_equal
from torch import nn

import functional_adam as fa
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
# A run in half precision has moments that cannot decay, and we say so: see test_moments.
half_moments = pytest.mark.filterwarnings("ignore::functional_adam.PrecisionWarning")
DTYPES = (
    *(torch.float32, torch.float64, torch.bfloat16, torch.float16),
    *(torch.complex64, torch.complex128),
)
SHAPES = {"a.weight": (5, 7), "a.bias": (33,), "scale": (), "none": (0,)}


def _wide(dtype):
    return jax.enable_x64(dtype in (torch.float64, torch.complex128))


def _parameters(dtype=torch.float32, seed=0, names=tuple(SHAPES)):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(SHAPES[name], dtype=dtype, generator=generator).requires_grad_()
        for name in names
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
@half_moments
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


def _nested(named):
    """Gradients as the tree that `to_jax` makes of the parameters' names."""
    tree = {"a": {}}
    for name, p in named.items():
        *_, last = name.split(".")
        (tree["a"] if "." in name else tree)[last] = jnp.array(p.grad.numpy(), copy=True)
    return tree


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
        params, state = jitted[0](params, state, _nested(named))
    options.pop("scheduler", None)
    return ft.to_torch(params, state, *target, **options)


def _distance(named, other):
    pairs = [(p.detach().double(), other[key].detach().double()) for key, p in named.items()]
    return max((float((p - q).abs().max()) for p, q in pairs if p.numel()), default=0.0)


@pytest.mark.parametrize(
    ("algorithm", "name", "options", "dtype"),
    [(*kind, torch.float32) for kind in KINDS]
    + [(*kind, torch.float64) for kind in KINDS if kind[0] == "nadam"],
    ids=lambda x: x if isinstance(x, str) else str(x).removeprefix("torch."),
)
def test_hopping_every_fifty_steps_stays_with_the_run_that_never_moves(
    algorithm, name, options, dtype
):
    """The bound is the parity table's, for JAX and torch each running freely."""
    row = Row(algorithm, VARIANTS[0], str(dtype).removeprefix("torch."), "jax", "torch-single")
    settings = dict(lr=1e-2, weight_decay=0.01, **options)
    start = functools.partial(_parameters, dtype, names=("a.weight", "a.bias"))
    stays, hops = start(), start()
    steady = getattr(torch.optim, name)(stays.values(), **settings)
    moving = getattr(ft, name)(hops.values(), **settings)
    jitted = []
    with _wide(dtype):
        for first in range(0, 400, 100):
            _train(steady, stays, range(first, first + 100))
            _train(moving, hops, range(first, first + 50))
            there = start(seed=first)
            target = getattr((ft, torch.optim)[first // 100 % 2], name)(there.values(), **settings)
            moving = _in_jax(moving, hops, (target, there), range(first + 50, first + 100), jitted)
            hops = there
    travelled = _distance(stays, start())
    assert travelled > 0.1
    assert _distance(stays, hops) / travelled <= limits(row)["free"]
    assert {int(entry["step"]) for entry in moving.state.values()} == {400}


def test_hopping_with_groups_and_parameters_held_up():
    """Groups, steps that differ and a parameter without a gradient go through a partition."""
    row = Row("nadam", VARIANTS[0], "float32", "jax", "torch-single")
    stays, hops = _parameters(), _parameters()
    steady = torch.optim.NAdam(_groups(stays), lr=1e-2)
    moving = torch.optim.NAdam(_groups(hops), lr=1e-2)
    jitted = []
    for start in range(0, 400, 100):
        missing = _held_up if start == 0 else lambda step: ()
        for optimizer, named in ((steady, stays), (moving, hops)):
            _train(optimizer, named, range(start, start + 50), missing)
        _train(steady, stays, range(start + 50, start + 100))
        there = _parameters(seed=start)
        target = ft.NAdam(_groups(there), lr=1e-2)
        moving = _in_jax(moving, hops, (target, there), range(start + 50, start + 100), jitted)
        hops = there
    sides = [(moving, hops), (steady, stays)]
    steps = [[int(side.state[p]["step"]) for p in named.values()] for side, named in sides]
    assert steps == [[400, 383, 350, 400]] * 2
    assert _distance(stays, hops) / _distance(stays, _parameters()) <= limits(row)["free"]


class Model(nn.Module):
    """Every layout there is, a frozen parameter and a shared one."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.conv = nn.ModuleList(
            [nn.Conv1d(2, 3, 5), nn.Conv2d(2, 3, (5, 4)), nn.ConvTranspose2d(3, 2, 4)]
        )
        self.hidden = nn.Linear(4, 5)
        self.frozen = nn.Linear(5, 5, bias=False).requires_grad_(False)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight


def _model(seed=0, **options):
    torch.manual_seed(seed)
    model = Model()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = ft.AdamW(trained, lr=1e-2, foreach=False, **options)
    for step in range(3):
        for p in trained:
            p.grad = torch.full_like(p, 1.0 + step) * torch.arange(p.numel()).reshape(p.shape)
        optimizer.step()
    return model, optimizer


def test_layouts_shared_and_frozen_parameters_and_paths():
    model, optimizer = _model()
    layout = ft.jax_layout(model)
    assert layout == {
        "conv.0.weight": (2, 1, 0),
        "conv.1.weight": (2, 3, 1, 0),
        "conv.2.weight": (2, 3, 1, 0),
        "hidden.weight": (1, 0),
        "frozen.weight": (1, 0),
    }
    paths = {"hidden.weight": "params.Dense_0.kernel", "hidden.bias": ("params", "Dense_0", "bias")}
    tx, params, state = ft.to_jax(optimizer, model.named_parameters(), paths=paths, layout=layout)
    kernel = params["params"]["Dense_0"]["kernel"]
    np.testing.assert_array_equal(kernel, model.hidden.weight.detach().T)
    inner = state.inner_states["group0"].inner_state
    entry = optimizer.state[model.conv[1].weight]
    turned = np.einsum("oihw->hwio", entry["exp_avg_sq"].numpy())
    np.testing.assert_array_equal(inner.nu["conv"]["1"]["weight"], turned)
    assert "head" not in params
    # A frozen parameter gets no update, whatever its gradient.
    updates, _ = jax.jit(tx.update)(params, state, params)
    assert not np.any(updates["frozen"]["weight"])
    assert np.any(updates["embedding"]["weight"])
    # The structure of the user's own tree.
    like = {key: [leaf] for key, leaf in params.items() if key != "conv"}
    with pytest.raises(ValueError, match=r"(?s)do not fit like.*missing: embedding\.0\.weight"):
        ft.to_jax(optimizer, model.named_parameters(), like=like)
    other, target = _model(seed=1)
    ft.to_torch(params, state, target, other.named_parameters(), paths=paths, layout=layout)
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert _bits(p) == _bits(q), name
    _assert_same(optimizer, target)


def test_a_tree_of_another_structure_keeps_it():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.named_parameters())
    like = [{"weight": 0, "bias": 0}, {"weight": 0, "bias": 0}]
    tx, params, state = ft.to_jax(optimizer, like=like)
    assert jax.tree.structure(params) == jax.tree.structure(like)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))
    ft.to_torch(params, state, optimizer)


@half_moments
def test_a_half_precision_run_keeps_the_dtype_of_its_moments():
    """torch's own load_state_dict casts them: pytorch#43706."""
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    tx = fa.adam(1e-2)
    params = {"p": jnp.ones(3, jnp.bfloat16)}
    state = tx.init(params)._replace(count=jnp.int32(5))
    state = state._replace(mu={"p": jnp.full(3, 1 / 3)}, nu={"p": jnp.full(3, 1 / 7)})
    optimizer = ft.to_torch(params, state, ft.Adam([p]), {"p": p})
    assert _bits(optimizer.state[p]["exp_avg"]) == _bits(torch.full((3,), 1 / 3))
    assert_equal(ft.to_jax(optimizer, {"p": p}).state, state)
    ft.to_torch(params, state, optimizer, {"p": p}, cast_moments=True)
    assert optimizer.state[p]["exp_avg_sq"].dtype == torch.bfloat16
    p.grad = torch.ones_like(p)
    optimizer.step()
    # The transformation keeps bfloat16 moments too, where torch had them.
    there = ft.to_jax(optimizer, {"p": p})
    assert there.transformation.init(there.params).nu["p"].dtype == jnp.bfloat16


@pytest.mark.parametrize("count", [2**24 - 1, 2**24 + 1, 2**31 - 1])
def test_a_count_that_float32_cannot_hold_goes_on(count):
    p = nn.Parameter(torch.ones(3))
    params = {"p": jnp.ones(3)}
    state = fa.adam(1e-2).init(params)._replace(count=jnp.int32(count))
    state = state._replace(mu={"p": jnp.ones(3)})
    optimizer = ft.to_torch(params, state, torch.optim.Adam([p]), {"p": p})
    assert_equal(ft.to_jax(optimizer, {"p": p}).state, state)
    p.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == count + 1


def test_learning_rate_and_momentum_go_on_where_the_scheduler_is():
    """Against torch going on by itself."""
    named = _parameters(names=("a.weight", "a.bias", "scale"))
    optimizer = torch.optim.AdamW(_groups(named), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40)
    for step in range(10):
        _train(optimizer, named, [step], _held_up)
        scheduler.step()
    tx, params, state = ft.to_jax(optimizer, named, scheduler=scheduler)
    update = jax.jit(tx.update)
    for t in range(10, 20):
        _give_gradients(t, named)
        updates, state = update(_nested(named), state, params)
        params = optax.apply_updates(params, updates)
        optimizer.step()
        scheduler.step()
    for p, mine in zip(named.values(), (*_pair(params["a"]), params["scale"]), strict=True):
        np.testing.assert_allclose(mine, p.detach(), rtol=0, atol=1e-6)


def _pair(layer):
    return layer["weight"], layer["bias"]


def _moved(change):
    """`to_torch` of a good run, changed."""
    named = _parameters()
    optimizer = torch.optim.Adam(named.values())
    _train(optimizer, named, range(2))
    _, params, state = ft.to_jax(optimizer, named)
    arguments = dict(params=params, state=state, optimizer=optimizer, names=named)
    before = [p.detach().clone() for p in named.values()]
    try:
        ft.to_torch(**(arguments | change(arguments)))
    finally:
        # Nothing is written where anything does not fit.
        for p, q in zip(named.values(), before, strict=True):
            assert torch.equal(p, q)


def _stepped_master(params):
    tx = fa.with_master(fa.adam(1.0))
    halves = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    return tx.update(halves, tx.init(halves), halves)[1]


def _sgd():
    return torch.optim.SGD([nn.Parameter(torch.ones(2))])


ERRORS = [
    (
        lambda: ft.to_jax(torch.optim.Adam([nn.Parameter(torch.ones(2))])),
        ValueError,
        r"names is needed: pass names=model\.named_parameters\(\)",
    ),
    (
        lambda: ft.to_jax(torch.optim.Adam(_parameters().values()), {"x": torch.ones(2)}),
        ValueError,
        r"has parameters that names lacks: group 0, parameter 0, shape \(5, 7\);",
    ),
    (lambda: ft.to_jax(_sgd(), {}), ValueError, "parameters that names lacks"),
    (
        lambda: ft.to_jax((o := _sgd()), {"x": o.param_groups[0]["params"][0]}),
        TypeError,
        "must be Adam, AdamW, NAdam, RAdam or Adamax.*got SGD",
    ),
    (
        lambda: ft.to_jax(torch.optim.Adam((p := _parameters()).values()), p, layout={"y": (0,)}),
        ValueError,
        "layout names parameters that are not there: y",
    ),
    (
        lambda: ft.to_jax(
            torch.optim.Adam((p := _parameters()).values()), p, layout={"a.weight": (0, 0)}
        ),
        ValueError,
        r"layout of a\.weight must be a permutation of the axes of shape \(5, 7\), got \(0, 0\)",
    ),
    (
        lambda: ft.to_jax(torch.optim.Adam((p := _parameters()).values()), p, paths={"y": "z"}),
        ValueError,
        "paths names parameters that are not there: y",
    ),
    (
        lambda: ft.to_jax(
            torch.optim.Adam((p := _parameters()).values()), p, paths={"scale": "none"}
        ),
        ValueError,
        "two parameters would be named 'none'",
    ),
    (
        lambda: ft.to_jax(
            torch.optim.Adam((p := _parameters()).values()), p, paths={"scale": "a.bias.b"}
        ),
        ValueError,
        r"'a\.bias\.b' lies below another leaf's name",
    ),
    (
        lambda: ft.to_jax(torch.optim.Adam((p := _parameters(torch.float64)).values()), p),
        TypeError,
        r"x64 is off and would narrow .*a\.weight \(float64\)",
    ),
    (lambda: _moved(lambda a: {"params": {**a["params"], "b": jnp.ones(2)}}), ValueError,
     "params extra: b"),
    (lambda: _moved(lambda a: {"params": {"a": a["params"]["a"]}}), ValueError,
     "(?s)params missing: scale.*params missing: none"),
    (lambda: _moved(lambda a: {"params": a["params"] | {"scale": jnp.ones(2)}}), ValueError,
     r"params shape: scale is \(2,\), must be \(\)"),
    (lambda: _moved(lambda a: {"params": jax.tree.map(jnp.bfloat16, a["params"])}), ValueError,
     r"dtype: a\.weight is bfloat16, must be float32"),
    (lambda: _moved(lambda a: {"state": fa.amsgrad(1.0).init(a["params"])}), ValueError,
     r"state of a\.weight has mu, nu, nu_max; adam keeps mu, nu"),
    (lambda: _moved(lambda a: {"state": a["state"]._replace(mu=1, nu=1)}), ValueError,
     "(?s)state missing: a.weight.*state extra: "),
    (lambda: _moved(lambda a: {"state": a["state"]._replace(count=-3)}), ValueError,
     r"count of a\.bias is -3: must be one number, at least 0"),
    (lambda: _moved(lambda a: {"state": a["state"]._replace(count=jnp.zeros(3, int))}), ValueError,
     r"count of a\.bias is \[0 0 0\]: must be one number"),
    (lambda: _moved(lambda a: {"state": optax.amsgrad(1.0).init(a["params"])}), ValueError,
     "state is that of optax.amsgrad, whose nu_max is of corrected moments"),
    (lambda: _moved(lambda a: {"state": (optax.EmptyState(),)}), ValueError,
     "state holds no state of Adam: it has to contain one of ADOPTState, AMSGradState"),
    (lambda: _moved(lambda a: {"state": (a["state"], a["state"])}), ValueError,
     r"two states of Adam hold the leaf 'a\.bias'"),
    (
        lambda: _moved(lambda a: {"state": _stepped_master(a["params"])}),
        ValueError,
        r"state of a\.weight has 16 more bits of the weight: the optimizer needs master_bits=32",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "said"), ERRORS, ids=range(len(ERRORS)))
def test_errors_name_what_is_wrong(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_nothing_is_written_before_every_moment_fits():
    model, optimizer = _model()
    _, params, state = ft.to_jax(optimizer, model.named_parameters())
    inner = state.inner_states["group0"].inner_state
    before = copy.deepcopy(optimizer.state_dict()["state"])
    nu = {**inner.nu, "hidden": {**inner.nu["hidden"], "bias": jnp.ones(77)}}
    changed = jax.tree.map(lambda x: x + 1, inner)._replace(nu=nu)
    inside = {"group0": optax.MaskedState(changed)}
    wrong = state._replace(inner_states=state.inner_states | inside)
    with pytest.raises(ValueError, match=r"shape: nu of hidden\.bias is \(77,\), must be"):
        ft.to_torch(params, wrong, optimizer, model.named_parameters())
    for i, entry in optimizer.state_dict()["state"].items():
        assert all(torch.equal(x, before[i][key]) for key, x in entry.items())


@pytest.mark.parametrize("make", [torch.optim.AdamW, ft.AdamW])
def test_what_requires_no_gradient_stands_still_in_jax_as_in_torch(make):
    """The usual way to fine-tune: the optimizer has every parameter, some are frozen later."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = make(model.parameters(), lr=0.1, weight_decay=0.1)
    model(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    model[0].requires_grad_(False)
    kept = copy.deepcopy(optimizer.state[model[0].weight])
    tx, params, state = ft.to_jax(optimizer, model.named_parameters())
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params["0"]["weight"], model[0].weight.detach())
    assert (np.asarray(params["1"]["weight"]) != model[1].weight.detach().numpy()).all()
    ft.to_torch(params, state, optimizer, model.named_parameters())
    assert all(torch.equal(x, kept[key]) for key, x in optimizer.state[model[0].weight].items())
    assert int(optimizer.state[model[1].weight]["step"]) == 4
    # Thawed, it goes on from what torch has kept.
    model[0].requires_grad_(True)
    _, _, state = ft.to_jax(optimizer, model.named_parameters())
    counts = {int(x.inner_state.count) for x in state.inner_states.values()}
    assert counts == {1, 4}
