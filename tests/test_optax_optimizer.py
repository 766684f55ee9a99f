"""OptaxOptimizer: JAX's own numbers, torch's contract where it is kept, and no recompilation."""

from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from cases import OTHER_PROGRAM
from torch.optim import lr_scheduler

import functional_adam as fa
from functional_adam_torch import OptaxOptimizer

SHAPES = ((4, 6), (5,), ())


def start(dtype=torch.float32, seed=0, shapes=SHAPES):
    rng = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=rng).to(dtype)) for s in shapes]


def draw(step, params, scale=1.0):
    """Gradients that change, over four decades, a tenth of them exactly zero."""
    rng = torch.Generator().manual_seed(1000 + step)
    size = [10 ** (4 * torch.rand(p.shape, generator=rng) - 3) for p in params]
    sign = [torch.rand(p.shape, generator=rng) for p in params]
    return [
        (scale * s * torch.where(r > 0.1, torch.sign(r - 0.5), torch.zeros(()))).to(p.dtype)
        for s, r, p in zip(size, sign, params, strict=True)
    ]


def give(params, gradients):
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else g.clone()


def jx(tensor):
    if tensor.dtype == torch.bfloat16:
        return jnp.asarray(tensor.detach().float().numpy()).astype(jnp.bfloat16)
    return jnp.array(tensor.detach().numpy(), copy=True)


def run_torch(optimizer, params, steps, first=0, **extra):
    for t in range(first, first + steps):
        give(params, draw(t, params))
        optimizer.step(**extra)


def run_jax(tx, params, steps, first=0, state=None, **extra):
    """The oracle: update and apply_updates in one jitted function, all in JAX."""
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def step(p, g, state, extra):
        updates, state = tx.update(g, state, p, **extra)
        return optax.apply_updates(p, updates), state

    p = [jx(x) for x in params]
    state = tx.init(p) if state is None else state
    for t in range(first, first + steps):
        p, state = step(p, [jx(g) for g in draw(t, params)], state, extra)
    return p, state


def same(params, arrays, rtol=0.0, atol=0.0):
    for p, a in zip(params, arrays, strict=True):
        mine, theirs = p.detach().double().numpy(), np.asarray(a, np.float64)
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


class Counted:
    """A factory whose transformations count how often their update is traced."""

    def __init__(self, factory):
        self.factory, self.traces = factory, 0
        self.__signature__ = inspect.signature(factory)

    def __call__(self, **hyperparameters):
        tx = optax.with_extra_args_support(self.factory(**hyperparameters))

        def update(*args, **extra):
            self.traces += 1
            return tx.update(*args, **extra)

        return optax.GradientTransformationExtraArgs(tx.init, update)


def clipped(learning_rate):
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(optax.add_decayed_weights(0.1), lambda p: jax.tree.map(jnp.ndim, p) and [
            x.ndim > 1 for x in p]),
        optax.adam(learning_rate),
    )  # fmt: skip


def schedule_free(learning_rate):
    return optax.contrib.schedule_free(optax.sgd(learning_rate), learning_rate, b1=0.9)


def master(learning_rate):
    return fa.with_master(fa.adamw(learning_rate))


ALIASES = sorted(
    name
    for name, function in vars(optax._src.alias).items()
    if inspect.isfunction(function) and getattr(optax, name, None) is function
)
# What an alias needs besides lr; the value that reaches `update`.
OPTIONS = {
    "lbfgs": {"linesearch": None},
    "noisy_sgd": {"key": jax.random.key(3)},
    "polyak_sgd": {"max_learning_rate": 0.5},
}
FACTORIES = {
    **{name: getattr(optax, name) for name in ALIASES},
    **{f"fa.{name}": row.make for name, row in fa.ALGORITHMS.items()},
    "muon": optax.contrib.muon,
    "prodigy": optax.contrib.prodigy,
    "schedule_free": schedule_free,
    "schedule_free_adamw": optax.contrib.schedule_free_adamw,
    "adopt": optax.contrib.adopt,
    "momo": optax.contrib.momo,
    "clipped": clipped,
    "fa.with_master": master,
}


IN_PAIRS = ("fa.with_master",)


def test_every_alias_is_here():
    assert len(ALIASES) >= 25
    assert {"adamw", "lamb", "lion", "adafactor", "sm3", "lbfgs"} <= set(ALIASES)


@pytest.mark.filterwarnings("ignore:`optimistic_adam` is deprecated")
@pytest.mark.parametrize("name", FACTORIES)
def test_same_numbers_as_jax(name):
    factory, options = FACTORIES[name], OPTIONS.get(name, {})
    rate = {} if name == "polyak_sgd" else {"learning_rate": 1e-2}
    dtype = torch.bfloat16 if name == "fa.with_master" else torch.float32
    # optax's sm3 cannot take a scalar.
    params = start(dtype, shapes=SHAPES[:2])
    before = [p.detach().clone() for p in params]
    optimizer = OptaxOptimizer(params, factory, **rate, **options)
    value = torch.tensor(2.5)
    # Step scalars in float64 compile faster than pairs of float32: one is tested in pairs.
    with jax.enable_x64(name.startswith("fa.") and name not in IN_PAIRS):
        expected, _ = run_jax(factory(**rate, **options), params, 4, value=value.numpy())
        run_torch(optimizer, params, 4, value=value)
    # lr is data here and a constant there: XLA may contract other products and sums.
    same(params, expected, **OTHER_PROGRAM)
    assert all((p.detach() != old).any() for p, old in zip(params, before, strict=True))


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_the_same_program_gives_the_same_bits(name):
    """With lr as a constant the compiled step is that of JAX."""
    params = start()
    optimizer = OptaxOptimizer(params, FACTORIES[name], lr=1e-2, traced=())
    expected, state = run_jax(FACTORIES[name](learning_rate=1e-2), params, 6)
    run_torch(optimizer, params, 6)
    same(params, expected)
    for mine, theirs in zip(
        jax.tree.leaves(optimizer.to_jax()[1]), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_a_rate_keeps_the_digits_of_a_double():
    """Of functional_adam's own: as data it is a pair of float32, and no step is rounded twice."""
    # 0.3 is nearly half a unit off in float32; from zero, nothing is lost in the sum.
    params = [torch.nn.Parameter(torch.zeros(50))]
    optimizer = OptaxOptimizer(params, fa.adam, lr=0.3)
    expected, _ = run_jax(fa.adam(1.0), params, 8, learning_rate=fa.two_float(0.3))
    run_torch(optimizer, params, 8)
    same(params, expected)


@pytest.mark.parametrize("rate", [1e-2, torch.tensor(1e-2)], ids=["float", "tensor"])
def test_fifty_steps_of_a_scheduler_are_one_trace(rate):
    params, factory = start(), Counted(optax.adam)
    optimizer = OptaxOptimizer(params, factory, lr=rate)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    rates = []
    for t in range(50):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        run_torch(optimizer, params, 1, first=t)
        scheduler.step()
    assert factory.traces == 1
    assert len(set(rates)) == 50
    table = jnp.asarray(rates)
    expected, _ = run_jax(optax.adam(lambda count: table[count]), start(), 50)
    same(params, expected, rtol=2e-6, atol=2.5e-6)


@pytest.mark.parametrize("factory", [optax.adamw, fa.adamw], ids=["optax", "fa"])
def test_a_number_that_changes_becomes_data(factory):
    with jax.enable_x64(factory is fa.adamw):
        _change_a_number(factory)


def _change_a_number(factory):
    params, counted = start(), Counted(factory)
    optimizer = OptaxOptimizer(params, counted, lr=1e-2, weight_decay=0.1)
    (group,) = optimizer.param_groups

    @jax.jit
    def step(p, g, state, weight_decay):
        updates, state = factory(1e-2, weight_decay=weight_decay).update(g, state, p)
        return optax.apply_updates(p, updates), state

    p = [jx(x) for x in params]
    state = factory(1e-2).init(p)
    for t in range(20):
        group["weight_decay"] = 0.1 + 0.01 * (t // 4)
        p, state = step(p, [jx(g) for g in draw(t, params)], state, group["weight_decay"])
        run_torch(optimizer, params, 1, t)
    assert counted.traces == 2
    assert group["traced"] == ["lr", "weight_decay"]
    same(params, p, **OTHER_PROGRAM)


def test_momentum_of_a_scheduler():
    params, factory = start(), Counted(optax.sgd)
    optimizer = OptaxOptimizer(params, factory, lr=1e-2, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=12)
    seen = set()
    for t in range(12):
        seen.add(optimizer.param_groups[0]["momentum"])
        run_torch(optimizer, params, 1, t)
        scheduler.step() if t < 11 else None
    assert len(seen) > 8
    assert factory.traces <= 2


def test_an_option_that_changes_is_compiled_in():
    params, factory = start(), Counted(optax.adam)
    optimizer = OptaxOptimizer(params, factory, lr=1e-2)
    expected, state = run_jax(optax.adam(1e-2), params, 2)
    expected, _ = run_jax(
        optax.adam(1e-2, nesterov=True), [torch.tensor(np.array(x)) for x in expected], 2, 2, state
    )
    run_torch(optimizer, params, 2)
    optimizer.param_groups[0]["nesterov"] = True
    run_torch(optimizer, params, 2, first=2)
    same(params, expected, **OTHER_PROGRAM)
    assert factory.traces == 2


def test_a_schedule_counts_steps():
    params = start()
    schedule = optax.linear_schedule(0.1, 0.0, 5)
    optimizer = OptaxOptimizer(params, optax.sgd, learning_rate=schedule)
    expected, _ = run_jax(optax.sgd(schedule), params, 7)
    run_torch(optimizer, params, 7)
    same(params, expected, **OTHER_PROGRAM)


READY = "ready transformation has no lr.*Give the factory"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((optax.adam(1e-3),), READY),
        ((functools.partial(optax.sgd, learning_rate=optax.constant_schedule(0.1)),), "a schedule"),
        ((optax.polyak_sgd,), "no argument learning_rate"),
    ],
    ids=["ready", "schedule", "no-rate"],
)
def test_a_rate_that_nothing_reads_is_an_error(arguments, reason):
    params = start()
    optimizer = OptaxOptimizer(params, *arguments)
    with pytest.raises(KeyError, match=reason):
        lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(KeyError, match=reason):
        optimizer.param_groups[0]["lr"] = 0.1
    optimizer.param_groups[0].update(lr=0.1)
    give(params, draw(0, params))
    with pytest.raises(KeyError, match=reason):
        optimizer.step()
    group = {"params": start(seed=1), "lr": 0.1}
    if reason == "a schedule":
        optimizer.add_param_group(group)
    else:
        with pytest.raises(KeyError, match=reason):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1 + (reason == "a schedule")


def test_groups_have_their_own_hyperparameters_and_norms():
    params, late = start(), start(seed=5)
    factory = Counted(
        lambda learning_rate, limit=1.0: optax.chain(
            optax.clip_by_global_norm(limit), optax.adam(learning_rate)
        )
    )
    optimizer = OptaxOptimizer(
        [{"params": params[:1], "lr": 1e-2}, {"params": params[1:], "limit": 0.5}],
        factory, learning_rate=3e-3,
    )  # fmt: skip
    both = start()
    run_torch(optimizer, params, 2)
    optimizer.add_param_group({"params": late, "lr": 0.1})
    for t in (2, 3):
        give(late, draw(t, late))
        run_torch(optimizer, params, 1, first=t)
    gradients = [draw(t, both) for t in range(4)]
    for part, rate, limit in ((slice(0, 1), 1e-2, 1.0), (slice(1, 3), 3e-3, 0.5)):
        tx = factory.factory(rate, limit)
        p = [jx(x) for x in both[part]]
        state, update = tx.init(p), jax.jit(tx.update)
        for g in gradients:
            updates, state = update([jx(x) for x in g[part]], state, p)
            p = optax.apply_updates(p, updates)
        same(params[part], p, **OTHER_PROGRAM)
    counts = [int(optimizer.to_jax(i)[1][1][0].count) for i in range(3)]
    assert counts == [4, 4, 2]


def test_names_make_a_dict():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    labels = {"0.weight": "w", "1.weight": "w", "0.bias": "b", "1.bias": "b"}
    tx = optax.partition({"w": optax.sgd(0.5), "b": optax.set_to_zero()}, labels)
    optimizer = OptaxOptimizer(model.named_parameters(), tx)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    give(model.parameters(), draw(0, list(model.parameters())))
    optimizer.step()
    for name, p in model.named_parameters():
        step = 0.5 * p.grad if "weight" in name else 0 * p.grad
        torch.testing.assert_close(p.detach(), before[name] - step)
    assert set(optimizer.to_jax()[0]) == set(labels)


@pytest.mark.parametrize("named", [False, True])
def test_a_parameter_without_gradient_stands_still(named):
    """Seven patterns, one trace; each parameter goes its own way, but for the common count."""
    params = start()
    factory = Counted(lambda learning_rate: optax.chain(
        optax.masked(optax.trace(0.9), lambda p: jax.tree.map(lambda x: x.ndim > 0, p)),
        optax.adam(learning_rate)))  # fmt: skip
    given = list(zip(("zeta", "alpha", "mid"), params, strict=True)) if named else params
    optimizer = OptaxOptimizer(given, factory, lr=1e-2)
    tx = factory.factory(1e-2)
    p = [jx(x) for x in params]
    states = [tx.init([x]) for x in p]
    update = jax.jit(tx.update)
    for t in range(14):
        missing = {i for i in range(3) if (t % 7 + 1) >> i & 1 == 0}
        gradients = draw(t, params)
        give(params, [None if i in missing else g for i, g in enumerate(gradients)])
        optimizer.step()
        for i in range(3):
            count = states[i][1][0]._replace(count=jnp.asarray(t, jnp.int32))
            adam = (count, *states[i][1][1:])
            if i not in missing:
                u, states[i] = update([jx(gradients[i])], (states[i][0], adam), [p[i]])
                (p[i],) = optax.apply_updates([p[i]], u)
    same(params, p, **OTHER_PROGRAM)
    assert factory.traces == 2  # with all gradients, and with any pattern of them
    give(params, [None] * 3)
    optimizer.step()
    assert int(optimizer.to_jax()[1][1][0].count) == 14


def test_an_absent_gradient_counts_as_zero():
    params = start()
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
    gradient = torch.full((4, 6), 2.0)
    give(params, [gradient, None, None])
    OptaxOptimizer(params, tx).step()
    torch.testing.assert_close(params[0].detach(), start()[0] - gradient / gradient.norm())
    same(params[1:], [jx(p) for p in start()[1:]])


def test_the_loss_reaches_the_transformation():
    seen = []

    def factory(learning_rate):
        def update(updates, state, params=None, *, value, scale=1.0, form=None, **extra):
            seen.append(form)
            return jax.tree.map(
                lambda g: -learning_rate * g * value * scale, updates
            ), state + value

        return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)

    p = torch.nn.Parameter(torch.ones(3))
    optimizer = OptaxOptimizer([p], factory, lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    torch.testing.assert_close(p.detach(), torch.full((3,), 1 - 0.5 * 2 * 3.0))
    assert float(optimizer.to_jax()[1]) == 3.0
    for scale in (1.0, 2.0, 3.0):
        optimizer.step(value=torch.tensor(0.1), scale=scale)
    assert len(seen) == 2
    optimizer.step(value=0.1, scale=torch.tensor(1.0), form="text")
    assert seen[2:] == ["text"]
    with pytest.raises(TypeError, match="the argument value is float64"):
        optimizer.step(value=torch.tensor(0.1, dtype=torch.float64))


def _through_disk(state_dict):
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _adamw(params, **options):
    return OptaxOptimizer(params, optax.adamw, **{"lr": 1e-2, **options})


@pytest.mark.parametrize(
    ("way", "dtype"),
    [
        ("state_dict", torch.float32),
        ("state_dict", torch.bfloat16),
        ("deepcopy", torch.float32),
        ("pickle", torch.bfloat16),
    ],
)
def test_a_run_goes_on_where_it_was(way, dtype):
    params = start(dtype)
    options = {"mu_dtype": jnp.float32, "b2": 0.95}
    optimizer = _adamw(params, **options)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    optimizer.param_groups[0]["b1"] = 0.8
    run_torch(optimizer, params, 1)
    optimizer.param_groups[0]["b1"] = 0.7
    scheduler.step()
    run_torch(optimizer, params, 2, first=1)
    optimizer.param_groups[0]["eps"] = 1e-7
    if way == "state_dict":
        others = [torch.nn.Parameter(p.detach().clone()) for p in params]
        saved = _through_disk(optimizer.state_dict())
        other = _adamw(others, mu_dtype=jnp.float32)
        other.load_state_dict(saved)
        for tensor in saved["state"]["group 0"].values():
            tensor.zero_()
    else:
        other = (copy.deepcopy if way == "deepcopy" else lambda x: pickle.loads(pickle.dumps(x)))(
            optimizer
        )
        others = other.param_groups[0]["params"]
    assert others[0] is not params[0]
    assert other.param_groups[0]["traced"] == ["lr", "b1", "eps"]
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    run_torch(optimizer, params, 3, first=3)
    run_torch(other, others, 3, first=3)
    same(params, [jx(p) for p in others])
    assert other.to_jax()[1][0].mu[0].dtype == jnp.float32
    for a, b in zip(*(jax.tree.leaves(x.to_jax()) for x in (optimizer, other)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_saved_state_is_a_copy():
    params = start()
    optimizer = _adamw(params)
    run_torch(optimizer, params, 2)
    saved = optimizer.state_dict()
    frozen = copy.deepcopy(saved)
    assert list(saved["state"]) == ["group 0"]
    assert len(optimizer.state) == 0
    run_torch(optimizer, params, 2, first=2)
    for name, tensor in saved["state"]["group 0"].items():
        assert torch.equal(tensor, frozen["state"]["group 0"][name]), name


def test_states_that_do_not_fit_are_refused_by_name():
    params = start()
    optimizer = _adamw(params)
    run_torch(optimizer, params, 1)
    good = optimizer.state_dict()

    def broken(change):
        bad = copy.deepcopy(good)
        change(bad)
        return bad

    def state(bad):
        return bad["state"]["group 0"]

    cases = {
        r"mu\[1\] is missing": lambda b: state(b).pop("[0].mu[1]"),
        r"nu\[0\] is float32\[3\], here it is float32\[4, 6\]": lambda b: state(b).update(
            {"[0].nu[0]": torch.ones(3)}
        ),
        r"mu\[1\] is bfloat16\[5\], here it is float32\[5\]": lambda b: state(b).update(
            {"[0].mu[1]": torch.ones(5, dtype=torch.bfloat16)}
        ),
        r"extra\[7\] is not part": lambda b: state(b).update({"extra[7]": torch.ones(3)}),
        r"lacks \['b1'\]": lambda b: b["param_groups"][0].pop("b1"),
        r"with 1 groups.*group 1": lambda b: b["state"].update({"group 1": {}}),
    }
    for reason, change in cases.items():
        with pytest.raises(ValueError, match=reason):
            optimizer.load_state_dict(broken(change))
    theirs = torch.optim.AdamW(params)
    give(params, draw(0, params))
    theirs.step()
    with pytest.raises(ValueError, match="lacks"):
        optimizer.load_state_dict(theirs.state_dict())
    before = optimizer.state_dict()
    optimizer.load_state_dict(good)
    run_torch(optimizer, params, 1, first=1)
    assert list(before["state"]["group 0"]) == list(good["state"]["group 0"])


def test_what_cannot_be_pickled_says_so():
    for optimizer, reason in (
        (OptaxOptimizer(start(), optax.adam(1e-3)), "ready transformation.*Give the factory"),
        (OptaxOptimizer(start(), lambda learning_rate: optax.sgd(learning_rate), lr=1.0), "lambda"),
        (_adamw(start(), mask=lambda p: p), "hyperparameter mask"),
    ):
        with pytest.raises(pickle.PicklingError, match=reason):
            pickle.dumps(optimizer)
        params = copy.deepcopy(optimizer).param_groups[0]["params"]
        same(params, [jx(p) for p in start()])


def test_hooks_zero_grad_and_version_counters():
    params = start(shapes=((3,), (200, 200)))
    optimizer, calls = _adamw(params), []
    optimizer.register_step_pre_hook(lambda o, a, k: calls.append("pre"))
    optimizer.register_step_post_hook(lambda o, a, k: calls.append("post"))
    optimizer.register_state_dict_post_hook(lambda o, s: s.update(note=1))
    optimizer.register_load_state_dict_pre_hook(lambda o, s: calls.append("load"))
    give(params, draw(0, params))
    saved = [(p * p).sum() for p in params]
    versions = [p._version for p in params]
    pointers = [p.data_ptr() for p in params]
    optimizer.step()
    assert all(p._version > v for p, v in zip(params, versions, strict=True))
    assert [p.data_ptr() for p in params] == pointers
    for loss in saved:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    assert optimizer.state_dict()["note"] == 1
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["pre", "post", "load"]
    optimizer.zero_grad()
    assert all(p.grad is None and p.requires_grad for p in params)


def test_a_grad_scaler_skips_infinities():
    params = start()
    optimizer = OptaxOptimizer(params, optax.sgd, lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = [p.detach().clone() for p in params]
    scaler.scale(sum((p**2).sum() / 2 for p in params)).backward()
    scaler.step(optimizer)
    scaler.update()
    for p, old in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), torch.zeros_like(old))
    params[0].grad.fill_(float("inf"))
    scaler.scale(params[1].sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0
    assert (params[0] == 0).all()


def test_the_memory_of_large_results_is_used_again():
    params = [torch.nn.Parameter(torch.ones(600, 500))]
    optimizer = _adamw(params)
    run_torch(optimizer, params, 2)

    def pointers():
        (group,) = optimizer.param_groups
        arrays = [*group._spare, *jax.tree.leaves(group.state)]
        return [x.unsafe_buffer_pointer() for x in arrays if x.size > 1]

    before = pointers()
    run_torch(optimizer, params, 1, first=2)
    assert pointers() == before
    assert len(before) == 3


def unlabelled(learning_rate, /):
    return optax.sgd(learning_rate)


def looks(learning_rate):
    return optax.sgd(learning_rate if learning_rate > 0 else 0.1)


def wrong(learning_rate):
    return learning_rate


ERRORS = [
    (lambda p: OptaxOptimizer(p, 3), TypeError, "must be an optax.GradientTransformation.*got 3"),
    (lambda p: OptaxOptimizer(p, optax.adam(1e-3), b1=0.9), TypeError, r"takes no.*\['b1'\]"),
    (lambda p: _adamw(p, betas=(0.9, 0.99)), TypeError, r"adamw does not take \['betas'\].*'b1'"),
    (lambda p: _adamw(p, fused=True), TypeError, r"does not take \['fused'\]"),
    (lambda p: _adamw(p, learning_rate=0.1), TypeError, "lr and learning_rate are the same"),
    (lambda p: _adamw([{"params": p, "lr": 1, "learning_rate": 1}]), TypeError, "has both lr and"),
    (lambda p: _adamw(p, traced=("b9",)), ValueError, r"traced names \['b9'\]"),
    (lambda p: OptaxOptimizer(p, optax.adam), ValueError, "required optimization parameter lr"),
    (lambda p: OptaxOptimizer(p, unlabelled, lr=1), TypeError, "must take its hyperparameters by"),
    (lambda p: _adamw([("a", p[0]), ("a", p[1])]), ValueError, "'a' stands for two parameters"),
    (lambda p: _adamw([torch.zeros(1).expand(3)]), ValueError, "group 0 is expanded"),
    (lambda p: _adamw([torch.zeros(6).unfold(0, 3, 1)]), ValueError, "its elements share memory"),
    (lambda p: _step(_late(p), p), ValueError, r"params\[1\] of group 0 is expanded"),
    (lambda p: _adamw([torch.zeros(3, device="meta")]), TypeError, "is on the meta device"),
    (lambda p: _step(OptaxOptimizer(p, looks, lr=1.0), p), TypeError, "looks at the value"),
    (lambda p: _step(OptaxOptimizer(p, wrong, lr=1.0), p), TypeError, "wrong must return an optax"),
]  # fmt: skip


def _late(params):
    optimizer = _adamw(params)
    params[1].data = torch.zeros((1,) * params[1].ndim).expand(params[1].shape)
    return optimizer


def _step(optimizer, params):
    give(params, draw(0, params))
    optimizer.step()


@pytest.mark.parametrize(("call", "error", "reason"), ERRORS, ids=[e[2] for e in ERRORS])
def test_errors_say_what_is_wrong(call, error, reason):
    with pytest.raises(error, match=reason):
        call(start())


def test_parameters_that_share_memory_are_not_stepped_together():
    """Torch steps them in turn; one step of all would be from the same old values."""
    w = torch.zeros(4, 2)
    whole, some, rows = (torch.nn.Parameter(x) for x in (w, w.t()[:, 1:3], w[3]))
    for pair in ([whole, some], [some, whole], [rows, whole]):
        with pytest.raises(ValueError, match=r"params\[0\] .* and params\[1\] .*share memory"):
            _step(OptaxOptimizer(pair, optax.sgd, lr=1.0), pair)
    late = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimizer = OptaxOptimizer([("a", late[0]), ("b", late[1])], optax.sgd, lr=1.0)
    _step(optimizer, late)
    late[1].data = late[0].data
    with pytest.raises(ValueError, match="a and b share memory"):
        _step(optimizer, late)


@pytest.mark.parametrize("apart", [False, True])
def test_parameters_that_lie_between_each_other_or_in_groups_are(apart):
    found = []
    for make in (lambda p: OptaxOptimizer(p, optax.sgd, lr=1.0), lambda p: torch.optim.SGD(p, 1.0)):
        w = torch.zeros(6)
        views = (w[:4], w[2:]) if apart else (w[::2], w[1::2])
        params = [torch.nn.Parameter(x) for x in views]
        optimizer = make([{"params": [p]} for p in params] if apart else params)
        for _ in range(2):
            _step(optimizer, params)
        found.append(w.clone())
    assert found[0].abs().sum() > 0
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_an_option_that_shapes_the_state_cannot_change():
    params = start()
    optimizer = OptaxOptimizer(params, optax.sgd, lr=1.0)
    _step(optimizer, params)
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"of group 0 is not one of sgd.*make a new optimizer"):
        _step(optimizer, params)


def test_a_factory_may_look_at_constants():
    params = start()
    optimizer = OptaxOptimizer(params, looks, lr=1.0, traced=())
    _step(optimizer, params)
    same(params, [jx(p - g) for p, g in zip(start(), draw(0, params), strict=True)])


def test_a_state_with_a_key_is_saved_and_loaded():
    def run(interrupted):
        p = torch.nn.Parameter(torch.ones(3))
        make = lambda: OptaxOptimizer([p], optax.noisy_sgd, lr=0.1, key=jax.random.key(3))  # noqa: E731
        optimizer = make()
        for i in range(4):
            if interrupted and i == 2:
                saved = optimizer.state_dict()
                optimizer = make()
                optimizer.load_state_dict(saved)
            p.grad = torch.ones(3)
            optimizer.step()
        return p

    assert torch.equal(run(True), run(False))


def test_a_state_of_parameters_in_another_order_is_refused():
    """A mask by names would act on others."""

    def make(names):
        params = [(name, torch.nn.Parameter(torch.ones(2))) for name in names]
        mask = lambda tree: {name: name == "w" for name in tree}  # noqa: E731
        return OptaxOptimizer(params, optax.adamw, lr=0.1, weight_decay=1.0, mask=mask)

    saved = make("wb").state_dict()
    make("wb").load_state_dict(saved)
    with pytest.raises(ValueError, match="holds w, b in this order, the optimizer b, w"):
        make("bw").load_state_dict(saved)


def test_a_loss_of_one_element_is_a_scalar():
    p = torch.nn.Parameter(torch.ones(3))
    make = lambda lr: optax.chain(optax.sgd(lr), optax.contrib.reduce_on_plateau(patience=1))  # noqa: E731
    optimizer = OptaxOptimizer([p], make, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum().reshape(1)
        loss.backward()
        return loss

    assert optimizer.step(closure).shape == (1,)
    assert p[0] < 1


def test_a_loss_that_jax_would_narrow_is_named():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = OptaxOptimizer([p], optax.sgd, lr=0.1)
    with pytest.raises(TypeError, match=r"the closure's loss, the argument value, is float64"):
        optimizer.step(lambda: torch.ones(1, dtype=torch.float64))
    assert optimizer.step(lambda: torch.ones(1, dtype=torch.bfloat16)) == 1
    # A value that is given goes before.
    loss = optimizer.step(lambda: torch.ones((), dtype=torch.float64), value=1.0)
    assert loss.dtype == torch.float64
    assert p[0].item() == pytest.approx(0.8)


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_given_twice_is_refused():
    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    with pytest.raises(ValueError, match=r"params\[2\] of group 0 is params\[0\] of group 0"):
        OptaxOptimizer([p, q, p], optax.sgd, lr=0.1)
    with pytest.raises(ValueError, match="b is a: give each parameter once"):
        OptaxOptimizer([("a", p), ("b", p)], optax.sgd, lr=0.1)
