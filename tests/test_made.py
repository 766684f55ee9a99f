"""Classes that the bridge makes of rows which torch.optim has not: torch's manners, our numbers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import functional_adam as fa
import functional_adam_torch as ft
from functional_adam.bounds import on_host
from functional_adam.cli import reference
from functional_adam.tune import _hyper
from functional_adam.tune.code._functional_adam import write_ours
from functional_adam.tune.code._optax import write_optax
from functional_adam.tune.code._settings import settings
from functional_adam.tune.code._torch import write_torch
from functional_adam.tune.space import adamw_space
from functional_adam_torch import _made
from functional_adam_torch.population import _lanes

MADE = {name: row for name, row in fa.ALGORITHMS.items() if row.torch_twin is None}
every = pytest.mark.parametrize("row", MADE.values(), ids=MADE)
TWINS = {name: row for name, row in MADE.items() if row.optax is not None}
STEPS = 12
# Float64 and float32: a few roundings of a parameter near 1 in each step.
EXACT, ROUNDED = dict(rtol=1e-12, atol=1e-12), dict(rtol=0, atol=STEPS * 2.0**-23)
SHAPES = ((3, 5), (7,), ())


def start(dtype=torch.float64):
    rng = np.random.default_rng(0)
    return [torch.nn.Parameter(torch.tensor(rng.standard_normal(s), dtype=dtype)) for s in SHAPES]


def gradient(t, shape):
    """Over six decades, and now and then zero."""
    rng = np.random.default_rng((t, *shape))
    size = 10.0 ** rng.uniform(-4, 2, shape) * rng.choice([-1.0, 1.0], shape)
    return size * (rng.random(shape) > 0.1)


def train(optimizer, params, steps):
    for t in steps:
        for p in params:
            p.grad = torch.tensor(gradient(t, p.shape), dtype=p.dtype)
        optimizer.step()
    return [p.detach().clone() for p in params]


def made(row, params, **options):
    return getattr(ft, row.torch_class)(params, **{"lr": 1e-2, "weight_decay": 0.1, **options})


def truth(row, steps, **options):
    """Where the float64 oracle gets to."""
    own = {k: x for k, x in row.defaults.items() if k in reference.Hyperparameters.__annotations__}
    h = reference.Hyperparameters(lr=1e-2, **{**own, "weight_decay": 0.1, **options})
    ends = []
    for p in start():
        x = p.detach().numpy().copy()
        state = [np.zeros_like(x) for _ in row.rule.moments]
        for t in steps:
            x, *state = getattr(reference, row.name)(x, gradient(t, x.shape), *state, t + 1, h)
        ends.append(torch.tensor(x))
    return ends


@every
@pytest.mark.parametrize(
    "options",
    [{"engine": "single"}, {"engine": "foreach"}, {"engine": "auto"}, {"differentiable": True}],
    ids=["single", "foreach", "auto", "differentiable"],
)
def test_eager_torch_is_the_paper(row, options):
    params = start()
    if "differentiable" in options:
        params = [p.detach() for p in params]  # autograd refuses leaves that are stepped in place
    for p, want in zip(
        train(made(row, params, **options), params, range(STEPS)),
        truth(row, range(STEPS)),
        strict=True,
    ):
        torch.testing.assert_close(p, want, **EXACT)


@every
def test_ascent_and_a_tensor_rate(row):
    params = start()
    optimizer = made(row, params, lr=torch.tensor(1e-2, dtype=torch.float64), maximize=True)
    for p, want in zip(
        train(optimizer, params, range(STEPS)), truth(row, range(STEPS), maximize=True), strict=True
    ):
        torch.testing.assert_close(p, want, **EXACT)


@every
def test_steps_of_their_own(row):
    """A parameter without a gradient stands still, lists step with scalars of each."""
    ends = []
    for engine in ("single", "foreach"):
        params = start()
        optimizer = made(row, params, engine=engine)
        train(optimizer, params[:2], range(3))
        ends.append(train(optimizer, params, range(3, 6)))
        assert [int(optimizer.state[p]["step"]) for p in params] == [6, 6, 3]
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@every
def test_float32_is_the_core_s(row):
    params = start(torch.float32)
    ps = [jnp.asarray(p.detach().numpy()) for p in params]
    tx = row.make(1e-2, weight_decay=0.1)
    state = tx.init(ps)
    for t in range(STEPS):
        gs = [jnp.asarray(gradient(t, p.shape), jnp.float32) for p in ps]
        updates, state = tx.update(gs, state, ps)
        ps = optax.apply_updates(ps, updates)
    for p, want in zip(train(made(row, params), params, range(STEPS)), ps, strict=True):
        np.testing.assert_allclose(p, want, **ROUNDED)


@every
def test_checkpoints_copies_and_pickles_resume(row):
    params = start()
    optimizer = made(row, params)
    train(optimizer, params, range(5))
    keys = ["step", *row.torch_state.values()]
    assert [list(entry) for entry in optimizer.state_dict()["state"].values()] == [keys] * 3
    ways = [
        (pickle.loads(pickle.dumps((optimizer, params)))),
        copy.deepcopy((optimizer, params)),
    ]
    fresh = start()
    other = made(row, fresh, lr=1.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch shares what it loads
    with torch.no_grad():
        for p, q in zip(fresh, params, strict=True):
            p.copy_(q)
    want = train(optimizer, params, range(5, 8))
    for again, own in (*ways, (other, fresh)):
        assert type(again) is type(optimizer)
        for p, q in zip(train(again, own, range(5, 8)), want, strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=0)


@every
def test_to_jax_and_back_goes_on(row):
    params, names = start(torch.float32), ("a", "b", "c")
    optimizer = made(row, list(zip(names, params, strict=True)))
    train(optimizer, params, range(4))
    there = ft.to_jax(optimizer)
    ps, state = there.params, there.state
    for t in range(4, 7):
        gs = {n: jnp.asarray(gradient(t, p.shape), jnp.float32) for n, p in ps.items()}
        updates, state = there.transformation.update(gs, state, ps)
        ps = optax.apply_updates(ps, updates)
    fresh = start(torch.float32)
    other = made(row, list(zip(names, fresh, strict=True)))
    ft.to_torch(ps, state, other)
    ends = train(other, fresh, range(7, 9)), train(optimizer, params, range(4, 9))
    for p, q in zip(*ends, strict=True):
        np.testing.assert_allclose(p, q, **ROUNDED)


@pytest.mark.parametrize("row", TWINS.values(), ids=TWINS)
def test_optax_s_state_becomes_ours_and_back(row):
    """Under the same gradients both go on alike, whichever made the state."""
    twin, p = row.optax, jnp.asarray(np.random.default_rng(0).standard_normal(9), jnp.float32)
    known = {**row.defaults, "learning_rate": 1e-2}
    known.pop("weight_decay")
    decay = {"weight_decay": 0.0} if twin.decays else {}
    theirs, ours = twin.of(optax)(**twin.arguments(known), **decay), row.make(1e-2)

    def run(tx, state, p, steps):
        for t in steps:
            updates, state = tx.update(jnp.asarray(gradient(t, (9,)), jnp.float32), state, p)
            p = optax.apply_updates(p, updates)
        return state, p

    state, middle = run(theirs, theirs.init(p), p, range(4))
    want = run(theirs, state, middle, range(4, 8))[1]
    # optax corrects with 1 - b**t in float32: 1e-4 of a step.
    near = dict(rtol=0, atol=1e-5)
    # ADOPT's state in optax has Adam's type: what it becomes has to be said.
    alone = row.name != "adopt"
    for like in (None, ours.init(p)) if alone else (ours.init(p),):
        np.testing.assert_allclose(
            run(ours, fa.from_optax(state, like), middle, range(4, 8))[1], want, **near
        )
    again = fa.to_optax(fa.from_optax(state, ours.init(p)), theirs.init(p))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


@every
def test_groups_and_signature(row):
    params = start()
    optimizer = made(row, params[:1])
    optimizer.add_param_group({"params": params[1:], "lr": 0.0})
    before = [p.detach().clone() for p in params]
    after = train(optimizer, params, range(2))
    assert [bool((a == b).all()) for a, b in zip(before, after, strict=True)] == [False, True, True]
    known = inspect.signature(type(optimizer)).parameters
    assert list(known)[:3] == ["params", "lr", "betas"]
    assert known["betas"].default == tuple(row.defaults[name] for name in row.averages)
    assert row.torch_class in dir(ft)
    assert row.paper in type(optimizer).__doc__


@every
def test_wrong_numbers_are_refused(row):
    p = start()
    for options, error, match in (
        ({"betas": (0.9,)}, ValueError, r"^betas of \w+ must be \d numbers \(b1, b2.*got \(0.9,\)"),
        ({"betas": (1.5,) + (0.9,) * (len(row.averages) - 1)}, ValueError, r"^b1 must be in \[0, "),
        ({"lr": -1.0}, ValueError, "^learning_rate must be a finite number >= 0, got -1.0"),
        ({"weight_decay": "much"}, TypeError, "^weight_decay must be a number, got 'much'"),
        ({"amsgrad": True}, TypeError, "amsgrad"),
        ({"engine": "fast"}, ValueError, "^engine must be one of"),
        ({"fused": True, "foreach": True}, RuntimeError, "cannot be `True` together"),
    ):
        with pytest.raises(error, match=match):
            made(row, p, **options)
    with pytest.raises(TypeError, match="lr"):
        getattr(ft, row.torch_class)(p)
    optimizer = made(row, p[:1])
    with pytest.raises(ValueError, match=r"^weight_decay must be"):
        optimizer.add_param_group({"params": p[1:], "weight_decay": -1.0})
    assert len(optimizer.param_groups) == 1
    p[0].grad = torch.ones(SHAPES[0], dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()


def test_names_that_are_none():
    with pytest.raises(AttributeError, match="has no attribute 'Adagrad'"):
        ft.Adagrad  # noqa: B018


def test_a_row_is_all_it_takes():
    """A made-up algorithm with a previous gradient, further numbers and a scalar in its state."""

    class State(tuple):
        pass

    def coefficients(t, h, scalars):
        return Row(1 - h.b1, -h.learning_rate, h.zeta, scalars["seen"] + 1)

    def step(ops, u, g, m, old, k):
        m = ops.lerp_(m, ops.add_scaled(g, old, k.zeta), k.one_minus_b1)
        u = ops.add_scaled_(u, m, k.neg_step)
        return u, m, ops.lerp_(old, g, 1.0)

    def toy(learning_rate, *, b1=0.5, b4=0.25, zeta=2.0, weight_decay=0.0):
        raise NotImplementedError

    Row = dataclasses.make_dataclass("Row", ["one_minus_b1", "neg_step", "zeta", "seen"])
    rule = fa.ALGORITHMS["adam"].rule
    rule = dataclasses.replace(
        rule,
        state=State,
        moments=("mu", "mu_before"),
        coefficients=coefficients,
        step=step,
        scalars=(("seen", 0.0),),
        limit=None,
    )
    row = dataclasses.replace(
        fa.ALGORITHMS["lion"],
        make=toy,
        rule=rule,
        torch="Toy",
        torch_state={"mu": "m", "mu_before": "before", "seen": "seen"},
        hyperparameters=("learning_rate", "b1", "b4", "zeta", "weight_decay"),
    )
    kind = _made._class_of(row)
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = kind([p], 1e-2, zeta=3.0)
    optimizer._algorithm = lambda group: row
    for _ in range(2):
        p.grad = torch.ones(3)
        optimizer.step()
    entry, group = optimizer.state[p], optimizer.param_groups[0]
    assert (group["betas"], group["zeta"]) == ((0.5, 0.25), 3.0)
    assert float(entry["seen"]) == 2
    # m: 1 / 2, then 1 / 4 + (1 + 3) / 2.
    torch.testing.assert_close(p.detach(), torch.full((3,), -1e-2 * (0.5 + 2.25)))
    assert SimpleNamespace(**group).maximize is False


@every
def test_no_step_passes_its_limit(row):
    """Gradients that grow, shrink, stay and turn, at the oracle's own numbers; some come near."""
    own = {**row.defaults, "weight_decay": 0.0}
    truth = reference.Hyperparameters(lr=1.0, **own)
    h = SimpleNamespace(learning_rate=1.0, **own)
    factors = np.array([0.5, 0.9, 1.0, 1.01, 1.5, 10.0, 1e4])
    factors = np.concatenate([factors, -factors])
    state = [np.zeros_like(factors) for _ in row.rule.moments]
    for t in range(1, 31):
        step, *state = getattr(reference, row.name)(0.0, factors**t, *state, t, truth)
        most = on_host(row.rule.limit, row.rule.coefficients(float(t), h, {}), float(t))
        assert np.abs(step).max() <= most
    assert np.abs(step).max() > 0.8 * most


@every
def test_the_tuner_knows_it(row):
    """Its defaults, ranges for what only it has, code; lanes of torch modules follow the paper."""
    own = [n for n in row.defaults if n not in ("b1", "b2", "eps", "weight_decay")]
    space = adamw_space(*own, algorithm=row.name)
    config = space.default()
    edges = [space.from_unit(np.full(len(space), u))[0] for u in (0.0, 1.0)]
    assert all(edges[0][n] < row.defaults[n] < edges[1][n] for n in own)
    full = _hyper.filled(config, 10)
    assert all(full[n] == x for n, x in row.defaults.items() if n != "weight_decay")
    namespace = {}
    exec(write_ours(settings(config, 10)), namespace)
    assert namespace["tx"].init(jnp.ones(2)).count == 0
    if row.optax is None:
        with pytest.raises(ValueError, match=rf"^optax has no {row.name} .*; as_code"):
            write_optax(settings(config, 10))
    else:
        exec(write_optax(settings(config, 10)), namespace)
        assert jax.tree.leaves(namespace["tx"].init(jnp.ones(2)))
    exec(write_torch(settings(config, 10)), namespace)
    optimizer, _ = namespace["make_optimizer"](torch.nn.Linear(1, 1))
    assert type(optimizer) is getattr(ft, row.torch_class)
    with pytest.raises(ValueError, match=rf"^{row.name} has no dialects"):
        _hyper.check({**config, "dialect": "KERAS"}, ())
    with pytest.raises(ValueError, match=rf"^{row.name} has no dialects"):
        fa.explain("torch", "optax", algorithm=row.name)


@every
def test_lanes_of_modules_follow_the_paper(row):
    stepper, begin = _lanes.Stepper(row.name, False), torch.ones(2, 5, dtype=torch.float64)
    rows = _lanes.Rows(begin, stepper.start(begin)[0], {}, {}, torch.zeros(2, dtype=torch.int64))
    lanes = [{**row.defaults, "weight_decay": 0.1, "b1": b1} for b1 in (0.9, 0.5)]
    rates, cpu = [np.full(9, 1e-2)] * 2, torch.device("cpu")
    h = _lanes.hyper(lanes, rates, list(row.defaults), [], cpu, [0, 0])
    drawn = [gradient(t, (2, 5)) for t in range(6)]
    for g in drawn:
        rows = stepper(rows, torch.tensor(g), h)
    for lane, values in enumerate(lanes):
        x, state = np.ones(5), [np.zeros(5) for _ in row.rule.moments]
        numbers = reference.Hyperparameters(lr=1e-2, **values)
        for t, g in enumerate(drawn, 1):
            x, *state = getattr(reference, row.name)(x, g[lane], *state, t, numbers)
        np.testing.assert_allclose(rows.params[lane], x, **EXACT)
