"""Engines: the same rule and state wherever the arithmetic happens, and nothing lost on the way."""

from __future__ import annotations

import copy
import pickle
import warnings
import weakref

import pytest
import torch
from torch._dynamo.utils import counters
from torch_cases import (
    COMPILED,
    DEVICE,
    ENGINES,
    FUSED,
    SHAPES,
    assert_near,
    give,
    pair,
    start,
    train,
)

import functional_adam_torch as ft
from functional_adam_torch.engines import _compile

KINDS = [
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {}),
    ("NAdam", {"weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
]
kinds = pytest.mark.parametrize(
    ("name", "options"), KINDS, ids=["adam", "amsgrad", "adamw", "nadam", "radam", "adamax"]
)


@pytest.mark.parametrize("engine", COMPILED)
@kinds
def test_as_near_to_torch_as_its_fused_kernel(name, options, engine):
    reference = {"fused": True} if name in FUSED else {}
    left, right = pair(name, engine, torch_options=reference, **options)
    # JAX compiles each shape by itself.
    steps = range(50)
    train(steps, left, right)
    assert_near(left, right)
    assert (right[0][0] - start()[0]).abs().max() > 0.01


@pytest.mark.parametrize("engine", COMPILED)
def test_half_precision_in_float32_inside(engine):
    """eps = 1e-8 is zero in float16, and torch's loop divides by it."""
    for dtype in (torch.bfloat16, torch.float16):
        left, right = pair("AdamW", engine, dtype, ((9, 5), (33,)), {"fused": True})
        train(range(20), left, right)
        assert_near(left, right, bound=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
@kinds
def test_the_default_is_torch_s_bit_for_bit(name, options, dtype):
    shapes = (*((n,) for n in range(1, 40)), *SHAPES, (3, 4), (2, 4))
    left, right = pair(name, "auto", dtype, shapes, **options)
    train(range(12), left, right)
    _assert_equal(left, right)


def _assert_equal(left, right):
    for x, y in zip(left[0], right[0], strict=True):
        assert torch.equal(x, y)
        for key, value in left[1].state[x].items():
            assert torch.equal(value, right[1].state[y][key])


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_torch_s_fused_kernel(name, amsgrad):
    left, right = pair(name, "auto", amsgrad=amsgrad, fused=True, maximize=True)
    train(range(10), left, right)
    assert_near(left, right, bound=0)


@pytest.mark.parametrize("engine", ["compile", "flat"])
def test_one_graph_serves_all_values(engine):
    p = start()
    optimizer = ft.AdamW(p, lr=1e-2, engine=engine)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    give(0, p)
    optimizer.step()
    before = counters["stats"]["unique_graphs"]
    for step in range(1, 50):
        give(step, p)
        group = optimizer.param_groups[0]
        group["betas"] = (0.9 - 0.001 * step, 0.99 + 1e-5 * step)
        group["weight_decay"] = group["eps"] = 1e-3 / step
        optimizer.step()
        scheduler.step()
    assert counters["stats"]["unique_graphs"] == before


@pytest.mark.parametrize("engine", ["compile", "flat"])
def test_a_failing_compiler_is_reported_once(engine, monkeypatch):
    def fails(*args, **options):
        raise RuntimeError("no compiler: g++\nmore")

    monkeypatch.setattr(torch, "compile", fails)
    reference = {"foreach": engine == "compile"}
    left, right = pair("Adam", engine, torch_options=reference, maximize=True, eps=1e-7)
    with pytest.warns(RuntimeWarning, match=r"not be compiled.*RuntimeError: no compiler: g\+\+$"):
        train(range(1), left, right)
    train(range(1, 5), left, right)
    # On a GPU torch's lists of tensors are rounded otherwise than tensors by themselves.
    assert_near(left, right, bound=0 if DEVICE.type == "cpu" else 1)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax"])
def test_without_a_compiler_a_tensor_is_a_learning_rate_too(name, monkeypatch):
    """torch's lists of tensors take none."""

    def fails(*args, **options):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(_compile, "kernel", fails)
    left, right = pair(name, "compile", lr=torch.tensor(0.01))
    with pytest.warns(RuntimeWarning, match="not be compiled"):
        train(range(1), left, right)
    train(range(1, 5), left, right)
    assert_near(left, right, bound=0)


def test_complex_parameters_are_compiled_as_pairs_of_reals():
    """Of the maximum that Adamax takes there is none of complex numbers."""
    left, right = pair("Adamax", "compile", torch.complex64)
    train(range(5), left, right)
    assert_near(left, right)


@pytest.mark.parametrize("engine", ENGINES)
def test_state_moves_between_engines_and_torch(engine):
    """Checkpoints go both ways; copies, pickles and other engines go on from the same state."""
    left, right = pair("AdamW", engine)
    train(range(6), left, right)
    assert [list(g) for g in right[1].param_groups] == [list(g) for g in left[1].param_groups]
    saved = right[1].state_dict()
    for state in saved["state"].values():
        for t in state.values():
            assert t.untyped_storage().nbytes() == t.nbytes
    clones = copy.deepcopy(right), pickle.loads(pickle.dumps(right))
    assert all(optimizer.engine == engine for _, optimizer in clones)
    b = [p.detach().clone().requires_grad_() for p in right[0]]
    reference = torch.optim.AdamW(b, lr=1e-2)
    reference.load_state_dict(saved)
    reference.param_groups[0]["foreach"] = False
    right[1].load_state_dict(copy.deepcopy(left[1].state_dict()))
    right[1].load_state_dict(copy.deepcopy(saved))
    for run in (right, *clones):
        run[1].engine = "single"
    train(range(6, 9), (b, reference), right, *clones)
    for run in (right, *clones):
        assert_near((b, reference), run, bound=0)
    for other in ENGINES:
        right[1].engine = other
        train(range(9, 12), (b, reference), right)
        assert_near((b, reference), right)


@pytest.mark.parametrize("engine", ["auto", "flat", "compile"])
def test_what_the_user_does_is_not_lost(engine):
    """Data, gradients and state replaced or edited, also by tensors of the same shapes."""
    left, right = pair("AdamW", engine, shapes=((4, 6), (33,), (7,), (12,)))

    def disturb(step, params, optimizer):
        with torch.no_grad():
            if step == 3:
                params[0].data = params[0].detach() * 2
            if step == 4:
                params[1].mul_(0.5)
            if step == 5:
                optimizer.state[params[2]]["exp_avg"] = optimizer.state[params[2]]["exp_avg"] * 3
                optimizer.state[params[1]]["exp_avg_sq"].mul_(2)
            if step == 6:
                optimizer.state[params[3]]["step"] = torch.tensor(40.0)
                optimizer.state[params[0]]["step"] += 5
            if step == 7:
                params[0].data = params[0].detach().t().contiguous().t()
            if step == 8:
                params[3].data = params[3].detach()[:5].clone()
                for key in ("exp_avg", "exp_avg_sq"):
                    state = optimizer.state[params[3]]
                    state[key] = state[key][:5].clone()
            if step == 9:
                optimizer.state.pop(params[2])
            if step == 10:
                optimizer.add_param_group(
                    {"params": [torch.ones(6, device=DEVICE).requires_grad_()], "lr": 0.1}
                )
                params += optimizer.param_groups[1]["params"]

    for step in range(14):
        for run in (left, right):
            disturb(step, *run)
        train(range(step, step + 1), left, right)
    for (x, state), (y, other) in zip(left[1].state.items(), right[1].state.items(), strict=True):
        torch.testing.assert_close(x, y, rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(state, other, rtol=2e-5, atol=1e-6)


def test_flat_takes_gradients_that_stay():
    p = start(shapes=((3, 5), (64,)))
    optimizer = ft.Adam(p, engine="flat")
    kept = []
    for step in range(4):
        give(step, p, missing=False)
        kept.append([x.grad for x in p])
        copies = [x.grad.clone() for x in p]
        optimizer.step()
        # A gradient made anew in every step stays the user's own.
        assert all(
            x.grad is g and torch.equal(x.grad, c)
            for x, g, c in zip(p, kept[-1], copies, strict=True)
        )
    first = kept[0][0].clone()
    for _ in range(2):
        optimizer.step()
    storages = {x.grad.untyped_storage().data_ptr() for x in p}
    assert len(storages) == len({x.untyped_storage().data_ptr() for x in p}) == 1
    assert torch.equal(kept[0][0], first)
    optimizer.zero_grad()
    assert all(x.grad is None for x in p)


def test_memory_is_not_kept_for_gradients():
    p = start(shapes=((3, 5), (64,)))
    optimizer = ft.Adam(p, engine="flat")
    give(0, p)
    gone = weakref.ref(p[0].grad)
    optimizer.step()
    optimizer.zero_grad()
    assert gone() is None


@pytest.mark.parametrize("engine", ["auto", "compile", "flat"])
def test_layouts(engine):
    """Dense in another order, with gaps, of a subclass, complex, mixed dtypes; gradients too."""

    class Other(torch.Tensor):
        pass

    def start():
        generator = torch.Generator().manual_seed(0)

        def draw(*shape, dtype=torch.float32):
            return torch.randn(shape, generator=generator, dtype=dtype).to(DEVICE)

        return [
            draw(130, 140).t().requires_grad_(),
            draw(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_(),
            draw(10, 20)[:, ::2].requires_grad_(),
            draw(5, 5).as_subclass(Other).requires_grad_(),
            draw(30, dtype=torch.complex64).requires_grad_(),
            draw(30, dtype=torch.float64).requires_grad_(),
            draw(200, 90).requires_grad_(),
        ]

    a, b = start(), start()
    runs = (a, torch.optim.AdamW(a)), (b, ft.AdamW(b, engine=engine))
    for step in range(6):
        give(step, a, b)
        for params, _ in runs:
            params[-1].grad = params[-1].grad.t().contiguous().t()
        versions = [p._version for p in b]
        for _, optimizer in runs:
            optimizer.step()
        # Autograd sees that a parameter it saved has changed.
        assert all(
            p._version > before for p, before in zip(b, versions, strict=True) if p.grad is not None
        )
    for x, y in zip(a, b, strict=True):
        assert x.stride() == y.stride()
        torch.testing.assert_close(x, y, rtol=2e-6, atol=1e-6)
        torch.testing.assert_close(runs[0][1].state[x], runs[1][1].state[y], rtol=2e-6, atol=1e-6)
    if engine == "auto":
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("name", "options"),
    [("AdamW", {"fused": True}), ("AdamW", {"engine": "flat"}), ("NAdam", {"fused": True})],
)
def test_grad_scaler(name, options):
    """Scaled losses, and steps left out where a gradient is infinite, inside the fused path too."""
    a, b = start(), start()
    fused = name in FUSED or (name == "AdamW" and "fused" in options)
    theirs = {"fused": True} if fused else {}
    decay = {"weight_decay": 0.1}
    runs = [
        (a, getattr(torch.optim, name)(a, lr=1e-2, **decay, **theirs)),
        (b, getattr(ft, name)(b, lr=1e-2, **decay, **options)),
    ]
    scalers = [
        torch.amp.GradScaler(DEVICE.type, init_scale=1024.0, growth_interval=3) for _ in runs
    ]
    for step in range(12):
        give(step, a, b)
        for (params, optimizer), scaler in zip(runs, scalers, strict=True):
            scaler.scale(torch.ones((), device=DEVICE))
            for p in params:
                if p.grad is not None:
                    p.grad.mul_(scaler.get_scale())
            if step in (2, 7):
                params[0].grad[0, 0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
    assert scalers[0].state_dict() == scalers[1].state_dict()
    assert_near(*runs)
    assert int(runs[1][1].state[b[0]]["step"]) == 10


DIFFERENTIABLE = [
    *(("Adam", o) for o in ({}, {"amsgrad": True}, {"maximize": True, "weight_decay": 0.1})),
    *((name, {"weight_decay": 0.1}) for name in ("AdamW", "NAdam", "RAdam", "Adamax")),
]


@pytest.mark.parametrize(("name", "options"), DIFFERENTIABLE)
def test_gradients_through_the_step(name, options):
    """torch's numbers, and its derivatives by parameter, gradient, rate and betas."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        results = [_differentiate(getattr(m, name), options) for m in (torch.optim, ft)]
    finally:
        torch.set_default_dtype(default)
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-15)
    assert any(x.abs().max() > 0 for x in results[0][1:])


def _differentiate(cls, options):
    leaves = [torch.tensor(x, requires_grad=True) for x in ([1.0, -2.0, 0.5], [0.3, -0.1, 2.0])]
    rate = 0.05
    if cls.__name__ != "Adamax":
        rate = torch.tensor(rate, requires_grad=True)
        leaves.append(rate)
    if cls.__name__ in FUSED and "amsgrad" not in options:
        betas = tuple(torch.tensor(b, requires_grad=True) for b in (0.8, 0.95))
        leaves += betas
        options = {**options, "betas": betas}
    p, g = leaves[0].clone(), leaves[1]
    p.grad = g * 1.0
    optimizer = cls([p], lr=rate, differentiable=True, **options)
    optimizer.step()
    moments = [v for k, v in optimizer.state[p].items() if k.startswith("exp")]
    total = (p**2).sum() + sum((m * torch.arange(1.0, 4.0)).sum() for m in moments)
    return [p.detach(), *torch.autograd.grad(total, leaves)]


CONTRADICTIONS = [
    (dict(engine="turbo"), r"engine must be one of auto, .*got 'turbo'"),
    (dict(engine="flat", foreach=True), r"foreach=True contradicts engine='flat'"),
    (dict(engine="foreach", foreach=False), r"foreach=False contradicts engine='foreach'"),
    (dict(engine="compile", differentiable=True), r"differentiable=True contradicts"),
    (dict(engine="jax", capturable=True), r"capturable=True contradicts engine='jax'"),
    (dict(engine="single", fused=True), r"fused=True contradicts engine='single'"),
]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax"])
def test_contradictions(name):
    p = [torch.ones(3, requires_grad=True)]
    for options, message in CONTRADICTIONS:
        with pytest.raises(ValueError, match=message):
            getattr(ft, name)(p, **options)
    optimizer = getattr(ft, name)(p)
    with pytest.raises(ValueError, match="engine must be one of"):
        optimizer.engine = "fast"
    assert optimizer.engine == "auto"
    for extra in ({"differentiable": True}, {"foreach": True}):
        with pytest.raises(RuntimeError, match="fused"):
            getattr(ft, name)(p, fused=True, **extra)


def test_jax_says_what_it_cannot_step():
    p = torch.ones(3, device="meta", requires_grad=True)
    p.grad = torch.ones(3, device="meta")
    with pytest.raises(
        RuntimeError, match="engine='jax' steps tensors on the CPU, got one on meta"
    ):
        ft.Adam([p], engine="jax").step()


def test_the_whole_step_compiled():
    """torch.compile of `step`: one program, the numbers of the loop within contraction."""
    left, right = pair("NAdam", "auto", shapes=((5, 7), (33,)), weight_decay=0.1)
    compiled = torch.compile(right[1].step)
    for step in range(4):
        give(step, left[0], right[0], missing=False)
        left[1].step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own making
            compiled()
    assert_near(left, right, bound=64)


@pytest.mark.parametrize("late", [False, True])
def test_parameters_that_share_memory_are_stepped_in_turn(late):
    def trained(cls):
        whole = torch.arange(12.0)
        params = [torch.nn.Parameter(x) for x in (whole[:8], torch.ones(8), torch.zeros(3))]
        shared = whole[4:]  # partly the first
        if not late:
            params[1].data = shared
        optimizer = cls(params, lr=0.1)
        for i in range(4):
            if i == 2 and late:
                params[1].data = shared
            for p in params:
                p.grad = torch.ones_like(p) * (i - 1.5)
            optimizer.step()
        return whole, params

    (a, left), (b, right) = trained(torch.optim.Adam), trained(ft.Adam)
    assert torch.equal(a, b)
    assert all(torch.equal(x, y) for x, y in zip(left, right, strict=True))


@pytest.mark.skipif(DEVICE.type != "cpu", reason="shared memory is a host's")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("engine", ["auto", "compile", "flat"])
def test_what_other_processes_share_stays_where_it_is(engine, late):
    """The SharedAdam of asynchronous training: state is put into shared memory, then processes."""
    left, right = pair("Adam", engine=engine)
    seen = []
    for step in range(4):
        if step == 2 * late:
            for params, optimizer in (left, right):
                for p in params:
                    p.data = p.data.clone().share_memory_()
                    kept = optimizer.state[p]
                    empty = {"step": torch.zeros(()), "exp_avg": p * 0, "exp_avg_sq": p * 0}
                    for name, x in (kept or empty).items():
                        kept[name] = x.detach().clone().share_memory_()
                    if optimizer is right[1]:
                        seen += [(t, t.detach().view(-1)) for t in (p, *kept.values())]
        give(step, left[0], right[0], missing=False)
        left[1].step()
        right[1].step()
    assert_near(left, right, bound=64 if engine != "auto" else 0)
    for t, memory in seen:
        assert t.is_shared()
        assert t.data_ptr() == memory.data_ptr()
        assert torch.equal(t.detach().view(-1), memory)


@pytest.mark.parametrize("engine", ["auto", "compile", "flat"])
def test_parameters_that_have_left_are_let_go(engine):
    optimizer = ft.Adam([torch.nn.Parameter(torch.ones(4)) for _ in range(3)], engine=engine)
    gone = []
    for _ in range(4):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        optimizer.step()
        for j in range(2):
            old = optimizer.param_groups[0]["params"][j]
            new = torch.nn.Parameter(old.detach().clone())
            optimizer.state[new] = optimizer.state.pop(old)
            optimizer.param_groups[0]["params"][j] = new
            gone.append(weakref.ref(old))
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.ones_like(p)
    optimizer.step()
    del old, p
    assert [r for r in gone if r() is not None] == []
    assert all(s["step"] == 5 for s in optimizer.state.values())


@pytest.mark.parametrize("engine", ["auto", "flat"])
def test_counts_of_any_shape_and_dtype(engine):
    """A count beyond 2**24 stands still in float32; torch takes one of shape (1,)."""
    for count in (torch.tensor([3.0]), torch.tensor(2.0**24 + 3, dtype=torch.float64)):
        runs = []
        for cls, options in ((torch.optim.Adam, {}), (ft.Adam, {"engine": engine})):
            params = [torch.nn.Parameter(torch.ones(4)) for _ in range(3)]
            optimizer = cls(params, **options)
            for i in range(4):
                for p in params:
                    p.grad = torch.ones_like(p)
                    if i == 1:
                        optimizer.state[p]["step"] = count.clone()
                optimizer.step()
            runs.append([optimizer.state[p]["step"] for p in params])
        for a, b in zip(*runs, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
            assert a == count + 3


def test_an_engine_that_is_refused_is_not_taken():
    p = torch.nn.Parameter(torch.ones(4))
    optimizer = ft.Adam([p], moments="int8")
    with pytest.raises(ValueError, match="flat"):
        optimizer.engine = "flat"
    assert optimizer.engine == "auto"
    p.grad = torch.ones(4)
    optimizer.step()


@pytest.mark.parametrize("engine", ["auto", "flat"])
@pytest.mark.parametrize("missing", [False, True])
def test_state_that_changed_places(engine, missing):
    """Entries, moments, memory, between parameters, keys and groups."""

    def disturb(step, params, optimizer):
        p, q, r = params[0], params[1], params[3]
        state = optimizer.state
        if step == 2:
            state[p], state[q] = state[q], state[p]
        if step == 3:
            state[q]["exp_avg"], state[q]["exp_avg_sq"] = (
                state[q]["exp_avg_sq"].abs(),
                state[q]["exp_avg"].abs(),
            )
            state[p]["exp_avg"], state[p]["max"] = state[p]["exp_avg_sq"], state[p]["exp_avg"]
            state[p]["exp_avg_sq"] = state[p].pop("max").abs()
        if step == 4:
            state[p], state[r] = state[r], state[p]
        if step == 5:
            a, b = state[p]["exp_avg"], state[q]["exp_avg"]
            a.data, b.data = b.data, a.data
        if missing and step in (2, 4):
            q.grad = None

    def made(cls, **options):
        params = start(shapes=((7,),) * 5)
        groups = [{"params": params[:3]}, {"params": params[3:]}]
        return params, cls(groups, lr=1e-2, **options)

    left, right = made(torch.optim.Adam), made(ft.Adam, engine=engine)
    for step in range(8):
        give(step, left[0], right[0], missing=False)
        for run in (left, right):
            disturb(step, *run)
            run[1].step()
    assert_near(left, right, bound=0 if engine == "auto" else 16)


def test_flat_parameters_and_gradients_that_changed_places():
    def disturb(step, params):
        p, q, r = params
        if step == 2:
            p.data, q.data = q.data, p.data
        if step == 3:
            p.grad, q.grad = q.grad, p.grad
        if step == 4:
            p.grad, q.grad, r.grad = q.grad, r.grad, p.grad

    left, right = pair("Adam", "flat", shapes=((7,),) * 3)
    give(0, left[0], right[0], missing=False)
    for step in range(7):
        for run in (left, right):
            disturb(step, run[0])
            run[1].step()
        for x, y in zip(left[0], right[0], strict=True):
            assert torch.equal(x.grad, y.grad)
    assert_near(left, right)


def test_flat_leaves_what_was_swapped_for_parameters_alone():
    """An average that changes places with the weights, for a while, is not stepped."""

    def trained(cls, **options):
        params = start(shapes=((7,), (3, 2), (5,)))
        optimizer = cls(params, lr=1e-2, **options)
        means = [p.detach().clone() for p in params]
        seen = []
        for step in range(9):
            give(step, params, missing=False)
            if step in (3, 5, 6):
                for p, mean in zip(params[: step - 2], means, strict=False):
                    p.data, mean.data = mean.data, p.data
            optimizer.step()
            for p, mean in zip(params, means, strict=True):
                mean.lerp_(p.detach(), 0.5)
            seen += [x.detach().clone() for x in (*params, *means)]
        return seen

    a, b = trained(torch.optim.Adam), trained(ft.Adam, engine="flat")
    torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("other", ["group", "frozen", "same"])
def test_flat_keeps_what_is_tied(late, other):
    def trained(cls, **options):
        params = start(shapes=((7,), (7,), (5,), (5,)))
        groups = [params] if other != "group" else [params[:1], params[1:]]
        optimizer = cls([{"params": g} for g in groups], lr=1e-2, **options)
        for step in range(5):
            if step == 2 * late:
                params[1].data = params[0].data
            give(step, params, missing=False)
            if other == "frozen":
                params[1].grad = None
            optimizer.step()
            assert torch.equal(params[0], params[1]) or step < 2 * late
        return params, optimizer

    left, right = trained(torch.optim.Adam), trained(ft.Adam, engine="flat")
    torch.testing.assert_close(left[0], right[0], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["auto", "compile", "flat", "jax"])
def test_moments_of_another_shape_are_refused(engine):
    for shape, count in (((1,), 2), ((3, 4), 2), ((1,), 0)):
        params = [torch.nn.Parameter(torch.ones(4)) for _ in range(3)]
        optimizer = ft.Adam(params, engine=engine)
        for i in range(count + 1):
            for p in params:
                p.grad = torch.ones_like(p)
            if i < count:
                optimizer.step()
        entry = {"step": torch.tensor(2.0), "exp_avg_sq": torch.ones(4)}
        optimizer.state[params[1]] = entry | {"exp_avg": torch.zeros(shape)}
        before = [p.detach().clone() for p in params]
        with pytest.raises(ValueError, match=r"'exp_avg' .* shape, \(4,\), got \(\d"):
            optimizer.step()
        if engine != "jax":
            assert all(torch.equal(x, y) for x, y in zip(params, before, strict=True))


@pytest.mark.parametrize("engine", ["auto", "flat"])
def test_moments_of_another_dtype_are_torch_s_affair(engine):
    left, right = pair("Adam", engine, shapes=((7,),) * 3)
    train(range(2), left, right, missing=False)
    for params, optimizer in (left, right):
        entry = optimizer.state[params[1]]
        entry["exp_avg_sq"] = entry["exp_avg_sq"].double()
    train(range(2, 4), left, right, missing=False)
    assert right[1].state[right[0][1]]["exp_avg_sq"].dtype == torch.float64
    assert_near(left, right)
    for params, optimizer in (left, right):
        optimizer.state[params[1]]["exp_avg"] = torch.zeros(7, dtype=torch.float16)
        with pytest.raises(RuntimeError, match="dtype"):
            optimizer.step()


@pytest.mark.parametrize("engine", ["auto", "flat"])
def test_a_step_in_inference_mode(engine):
    left, right = pair("Adam", "single", shapes=((7,),) * 3)
    train(range(1), left, right, missing=False)
    right[1].engine = engine
    with torch.inference_mode():
        for _, optimizer in (left, right):
            optimizer.step()
        right[1].state_dict()
    train(range(1, 4), left, right, missing=False)
    assert_near(left, right, bound=0 if engine == "auto" else 16)
