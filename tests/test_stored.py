"""Moments and weights in few bits in torch: the core's bits, kept through checkpoints."""

from __future__ import annotations

import copy
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import functional_adam as fa
import functional_adam_torch as ft
from functional_adam import _halves, _int8
from functional_adam._bits import hashed, leaf_id, random_bits
from functional_adam._codecs import as_bfloat16, codecs
from functional_adam.cli._parity import forgetting
from functional_adam_torch.few_bits import _storage, _stored
from functional_adam_torch.primitives import _words

SHAPES = ((32, 256), (7,), (8192,))
HALVES = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}
# Weights against JAX's after eight steps, in steps of the learning rate: torch's root is not
# correctly rounded, and RAdam's factors are gathered otherwise. Moments have the same bits.
WEIGHT_OFF = 1e-4
ULP = 2.0**-23


def _numpy(t):
    t = t.detach()
    return t.view(torch.int16).numpy() if t.dtype == torch.bfloat16 else t.numpy()


def _bits_of(x):
    x = np.asarray(x)
    return x.view({1: np.uint8, 2: np.int16, 4: np.int32}[x.itemsize])


def _words_of(bits):
    return torch.from_numpy(np.array(bits).view(np.int32))


def _start(dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for s in SHAPES], getattr(torch, dtype)


def _params(dtype="float32"):
    arrays, kind = _start(dtype)
    return [torch.from_numpy(x).to(kind).requires_grad_() for x in arrays]


def _gradients(step):
    rng = np.random.default_rng((1, step))
    return [
        (rng.standard_normal(s) * 10.0 ** rng.uniform(-4, 2)).astype(np.float32) for s in SHAPES
    ]


def _train(optimizer, params, steps):
    for t in steps:
        for p, g in zip(params, _gradients(t), strict=True):
            p.grad = torch.from_numpy(g).to(p.dtype)
        optimizer.step()


def _assert_same(a, b):
    (left, one), (right, other) = a, b
    for p, q in zip(left, right, strict=True):
        assert torch.equal(p, q)
        assert list(one.state[p]) == list(other.state[q])
        for key, x in one.state[p].items():
            assert x.dtype == other.state[q][key].dtype
            assert torch.equal(x, other.state[q][key]), key


def _hostile(rng):
    x = 10 ** rng.normal(0, 8, (512, 128)) * rng.choice([-1, 1, 0], (512, 128), p=[0.45, 0.45, 0.1])
    x[1, :4] = [np.inf, 1, -np.inf, 3.4e38]
    x[2, :4] = [np.nan, 1, 0.0, -0.0]
    x[4, :2] = np.array([0x7FFF_FFFF, 0xFFFF_FFFF], np.uint32).view(np.float32)  # NaN of a GPU
    x[3] = 1e-39
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def test_the_random_bits_are_the_core_s():
    seed, step, shape = 2**32 - 1, 5, (33, 57)
    want = np.asarray(random_bits(np.uint32(seed), step, np.uint32(0xDEADBEEF), shape))
    (key,) = _stored.random_keys(seed, [step], [0xDEADBEEF])
    index = _stored.indices(0, want.size, torch.device("cpu"))
    assert (hashed(index, *key, ops=_words).numpy() == want.ravel().view(np.int32)).all()
    far = _stored.indices(2**31 - 2, 2**31 + 2, torch.device("cpu"))
    assert far.numpy().view(np.uint32).tolist() == [2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1]
    paths = [p for p, _ in jax.tree_util.tree_leaves_with_path({"a": {"0": 0}, "b": [0, 0]})]
    assert _storage.number("a.0", "") == leaf_id(paths[0])
    listed = [p for p, _ in jax.tree_util.tree_leaves_with_path([0, 0])]
    assert _storage.number(1, "weight") == leaf_id(listed[1], "weight")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("extra", [16, 8, 0])
def test_weights_split_and_join_to_the_core_s_bits(half, extra):
    x = _hostile(np.random.default_rng(0))
    bits = random_bits(1, 2, 3, x.shape)
    t, words = torch.from_numpy(x), _words_of(bits)
    leaf, low = _halves.split(t, getattr(torch, half), extra, words, _words)
    want, rest = jax.jit(lambda x: _halves.split(x, HALVES[half], extra, bits))(x)
    nan = np.isnan(x)
    assert (leaf.view(torch.int16).numpy() == _bits_of(want))[~nan].all()
    if extra:
        assert low.dtype == {16: torch.int16, 8: torch.int8}[extra]
        assert (low.numpy() == np.asarray(rest)).all()
    joined = _halves.join(leaf, low, _words).numpy()
    assert (_bits_of(joined) == _bits_of(jax.jit(_halves.join)(want, rest)))[~nan].all()
    assert np.isnan(joined[nan]).all()


def test_moments_have_the_core_s_codes():
    """Infinities and NaN among them; subnormal numbers, which XLA takes for zero, are not."""
    x = _hostile(np.random.default_rng(1))
    x[np.abs(x) < 1.2e-38] = 0
    for i in (0, 1):
        signed, y = i == 0, x if i == 0 else np.abs(x)
        codec, bits = codecs("int8")[i], random_bits(0, 4, 9, y.shape)
        t, words = torch.from_numpy(y), _words_of(bits)
        magnitudes, exponent = _int8.encoded(t, words, signed, _words)
        code = _int8.completed(magnitudes, t, signed, _words)
        want = jax.jit(lambda y, c=codec, b=bits: c.encode(y, c.init(y), b))(y)
        finite = np.isfinite(y).all(1)
        assert (code.numpy() == np.asarray(want.code))[finite].all()
        assert (exponent.numpy() == np.asarray(want.exponent)[:, 0]).all()
        back = _int8.decoded(code, exponent, signed, _words).numpy()
        again = np.asarray(codec.decode(want, y.shape))
        assert (_bits_of(back) == _bits_of(again))[finite].all()
        assert (np.isfinite(back) == np.isfinite(again)).all()
        rounded = as_bfloat16(t, words, _words)
        want = jax.jit(lambda y, b=bits: as_bfloat16(y, b))(y)
        assert (_numpy(rounded) == _bits_of(want))[~np.isnan(y)].all()
        assert torch.isnan(rounded)[np.isnan(y)].all()


CASES = [
    ("AdamW", "adamw", {}, "int8", 24, "bfloat16"),
    ("Adam", "amsgrad", {"amsgrad": True, "weight_decay": 0.1}, "int8", None, "float32"),
    ("NAdam", "nadam", {"weight_decay": 0.1}, "bfloat16", 32, "bfloat16"),
    ("RAdam", "radam", {"maximize": True}, "bfloat16", 16, "float16"),
    ("Adamax", "adamax", {}, "int8", 32, "float16"),
    # Two moments that have a sign.
    ("AdEMAMix", "ademamix", {}, "int8", 24, "bfloat16"),
]


@pytest.mark.parametrize(("name", "algorithm", "options", "moments", "bits", "dtype"), CASES)
def test_steps_are_the_core_s(name, algorithm, options, moments, bits, dtype):
    """The codes of all moments bit for bit, the weights within the rounding of torch's root."""
    params = _params(dtype)
    optimizer = getattr(ft, name)(
        params, lr=1e-2, moments=moments, master_bits=bits, seed=0, **options
    )
    shared = {k: v for k, v in options.items() if k != "amsgrad"}
    shared = {"weight_decay": optimizer.defaults["weight_decay"]} | shared
    tx = fa.ALGORITHMS[algorithm].make(1e-2, moments=moments, **shared)
    tx = fa.with_master(tx, bits=bits) if bits else tx
    p = [jnp.asarray(x, HALVES.get(dtype, jnp.float32)) for x in _start()[0]]
    state = tx.init(p)

    @jax.jit
    def step(p, state, g):
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    for t in range(8):
        _train(optimizer, params, [t])
        p, state = step(
            p, state, [jnp.asarray(g, q.dtype) for g, q in zip(_gradients(t), p, strict=True)]
        )
    inner = state.inner if bits else state
    fields = {f: k for f, k in fa.ALGORITHMS[algorithm].torch_state.items() if f != "mu_product"}
    for i, q in enumerate(params):
        entry = optimizer.state[q]
        for field, key in fields.items():
            want = getattr(inner, field)[i]
            if hasattr(want, "code"):
                assert (entry[f"{key}_code"].numpy() == np.asarray(want.code)).all(), key
                assert (entry[f"{key}_exponent"].numpy() == np.asarray(want.exponent)).all()
            elif want.dtype == jnp.bfloat16:
                assert (_numpy(entry[key]) == _bits_of(want)).all(), key
            else:
                np.testing.assert_allclose(entry[key], want, rtol=4 * ULP)
    masters = fa.master_params(p, state) if bits else p
    # Weights of fewer than 32 bits are rounded at random, to digits that many more than a half's.
    unit = float(torch.finfo(params[0].dtype).eps) * {16: 1, 24: 2**-8}.get(bits, 0)
    for ours, theirs in zip(optimizer.master_params(), masters, strict=True):
        theirs = np.asarray(theirs)
        off = np.abs(ours.numpy() - theirs)
        # One that was rounded the other way was so when it was larger, by eight steps at most.
        largest = np.abs(theirs) + 8e-2
        assert (off <= 1e-2 * WEIGHT_OFF + 8 * ULP * np.abs(theirs) + unit * largest).all()
        assert (off > 0).mean() < 0.1


MASTERS = [
    ("AdamW", {}, "bfloat16"),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}, "bfloat16"),
    ("NAdam", {"weight_decay": 0.1}, "bfloat16"),
    ("RAdam", {"weight_decay": 0.1}, "bfloat16"),
    ("Adamax", {"weight_decay": 0.1}, "bfloat16"),
    ("AdamW", {}, "float16"),
]


@pytest.mark.parametrize(("name", "options", "dtype"), MASTERS)
def test_32_bits_are_what_torch_computes_in_float32(name, options, dtype):
    params = _params(dtype)
    optimizer = getattr(ft, name)(params, lr=1e-3, master_bits=32, **options)
    wide = [p.detach().float().requires_grad_() for p in params]
    theirs = getattr(torch.optim, name)(wide, lr=1e-3, foreach=False, **options)
    for t in range(20):
        _train(optimizer, params, [t])
        for w, p in zip(wide, params, strict=True):
            w.grad = p.grad.float()
        theirs.step()
    for p, w, master in zip(params, wide, optimizer.master_params(), strict=True):
        if dtype == "bfloat16":
            assert torch.equal(master, w)
        else:  # in steps of 2**-40 below 2**-17
            np.testing.assert_allclose(master, w.detach(), rtol=2 * ULP, atol=20 * 2.0**-40)
        assert torch.equal(p, master.to(p.dtype)) or dtype == "float16"
        for key, x in theirs.state[w].items():
            assert torch.equal(x, optimizer.state[p][key]) or dtype == "float16"


def test_float32_moments_of_float32_parameters_are_torch_s():
    ours, theirs = _params(), _params()
    one, other = ft.AdamW(ours, moments="float32"), torch.optim.AdamW(theirs, foreach=False)
    for optimizer, params in ((one, ours), (other, theirs)):
        _train(optimizer, params, range(5))
    _assert_same((ours, one), (theirs, other))


def test_the_compiled_step():
    """Codes bit for bit those of torch's own operations, blocks and odd lengths, one program."""
    runs = []
    for engine in ("single", "compile"):
        params = _params("bfloat16")
        optimizer = ft.AdamW(params, lr=1e-2, moments="int8", master_bits=24, engine=engine)
        _train(optimizer, params, range(3))
        runs.append((params, optimizer))
    (left, one), (right, other) = runs
    for p, q in zip(left, right, strict=True):
        for key, x in one.state[p].items():
            y = other.state[q][key]
            if x.dtype in (torch.uint8, torch.int16):
                assert torch.equal(x, y), key
    for a, b in zip(one.master_params(), other.master_params(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2.0**-15, atol=1e-6)


def test_large_tensors_are_stepped_in_chunks(monkeypatch):
    def run():
        params = _params("bfloat16")
        optimizer = ft.Adam(params, moments="int8", master_bits=24)
        _train(optimizer, params, range(2))
        return params, optimizer

    want = run()
    monkeypatch.setattr(_stored, "CHUNK", 1000)
    _assert_same(run(), want)


@pytest.mark.parametrize("moments", ["float32", "bfloat16", "int8"])
def test_checkpoints_copies_and_pickles(moments):
    """In the stored form, with `weights_only`, into an optimizer that was made without options."""
    params = _params("bfloat16")
    optimizer = ft.AdamW(params, moments=moments, master_bits=24, seed=3)
    _train(optimizer, params, range(2))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = [p.detach().clone().requires_grad_() for p in params]
    restored = ft.AdamW(other, lr=1.0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    runs = [
        (params, optimizer),
        (other, restored),
        copy.deepcopy((params, optimizer)),
        pickle.loads(pickle.dumps((params, optimizer))),
    ]
    for p, own in runs:
        _train(own, p, [7])
    for run in runs[1:]:
        _assert_same(run, runs[0])
    before = restored.state[other[0]]["master_low"].clone()
    copied = ft.AdamW(_params("bfloat16"))
    copied.load_state_dict(restored.state_dict())
    _train(copied, copied.param_groups[0]["params"], [8])
    assert torch.equal(restored.state[other[0]]["master_low"], before)


def test_hooks_see_what_is_loaded():
    params = _params("bfloat16")
    optimizer = ft.AdamW(params, moments="int8")
    _train(optimizer, params, [0])
    other, seen = ft.AdamW(_params("bfloat16")), []
    first = other.param_groups[0]["params"][0]
    other.register_load_state_dict_post_hook(
        lambda o: seen.append(o.state[first]["exp_avg_code"].dtype)
    )
    other.load_state_dict(optimizer.state_dict())
    assert seen == [torch.uint8]
    assert len(other._optimizer_load_state_dict_post_hooks) == 1


def test_decoded_for_torch_and_back():
    """torch.optim goes on from it in float32, and what it saves is stored in few bits again."""
    params = _params("bfloat16")
    options = dict(moments="int8", master_bits=32)
    optimizer = ft.AdamW(params, lr=1e-2, **options)
    _train(optimizer, params, range(3))
    wide = [w.requires_grad_() for w in optimizer.master_params()]
    theirs = torch.optim.AdamW(wide)
    theirs.load_state_dict(optimizer.decoded_state_dict())
    assert theirs.param_groups[0].keys() == torch.optim.AdamW(wide).param_groups[0].keys()
    for i, (p, w) in enumerate(zip(params, wide, strict=True)):
        for key in ("exp_avg", "exp_avg_sq"):
            if f"{key}_code" in optimizer.state[p]:
                parts = [optimizer.state[p][f"{key}_{x}"].numpy() for x in ("code", "exponent")]
                codec = codecs("int8")[key == "exp_avg_sq"]
                want = codec.decode(_int8.Int8(*map(jnp.asarray, parts)), SHAPES[i])
                np.testing.assert_array_equal(theirs.state[w][key], want)
    _train(theirs, wide, [3])
    back = [p.detach().clone().requires_grad_() for p in params]
    again = ft.AdamW(back, **options)
    again.load_state_dict(theirs.state_dict())
    again.load_master_params(wide)
    assert again.param_groups[0]["lr"] == 1e-2
    for w, p, master in zip(wide, back, again.master_params(), strict=True):
        assert torch.equal(master, w)
        assert int(again.state[p]["step"]) == 4
    decoded = again.decoded_state_dict()["state"]
    for key, sign in (("exp_avg", True), ("exp_avg_sq", False)):
        x, y = theirs.state[wide[0]][key], decoded[0][key]
        assert again.state[back[0]][f"{key}_code"].dtype == torch.uint8
        scale = x.abs().amax(1, keepdim=True)
        assert ((y - x).abs() <= x.abs() / 4 + scale * 2.0**-14).all()
        assert not torch.equal(x, y)
        assert abs(float((y - x).mean() / x.abs().mean())) < 0.01, sign
    _train(again, back, [4])
    plain = torch.optim.AdamW(_params("bfloat16"))
    plain.load_state_dict(optimizer.state_dict())
    with pytest.raises(KeyError, match="exp_avg"):  # never silently wrong numbers
        _train(plain, plain.param_groups[0]["params"], [5])


def _tree(model, layout=None):
    tree = {}
    for name, p in model.named_parameters():
        g = jnp.asarray(p.grad.float().numpy(), jnp.bfloat16)
        node = tree
        *parents, last = name.split(".")
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = g if layout is None or name not in layout else g.transpose(layout[name])
    return tree


def _model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Linear(128, 10)).bfloat16()


def _give(model, step):
    generator = torch.Generator().manual_seed(step)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def test_to_jax_and_back_without_decoding():
    """Codes and remainders go over as they are, and a step there has the bits of one here."""
    options = dict(lr=1e-2, moments="int8", master_bits=24, seed=3)
    model, other = _model(), _model()
    optimizer = ft.AdamW(model.named_parameters(), **options)
    for t in range(2):
        _give(model, t)
        optimizer.step()
    run = ft.to_jax(optimizer)
    assert isinstance(run.state, fa.MasterState)
    entry = optimizer.state[model[0].weight]
    kept = run.state.inner.nu["0"]["weight"]
    np.testing.assert_array_equal(kept.code, entry["exp_avg_sq_code"])
    np.testing.assert_array_equal(kept.exponent, entry["exp_avg_sq_exponent"])
    np.testing.assert_array_equal(run.state.low["0"]["weight"], entry["master_low"])
    assert int(run.state.seed) == int(run.state.inner.seed) == 3
    fresh = ft.AdamW(other.named_parameters(), **options)
    ft.to_torch(run.params, run.state, fresh)
    _assert_same((list(other.parameters()), fresh), (list(model.parameters()), optimizer))
    _give(model, 2)
    updates, state = jax.jit(run.transformation.update)(_tree(model), run.state, run.params)
    ft.to_torch(optax.apply_updates(run.params, updates), state, fresh)
    optimizer.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert (p == q).float().mean() > 0.995
        for key, x in optimizer.state[p].items():
            if x.dtype in (torch.uint8,) or key.endswith("_exponent"):
                assert torch.equal(x, fresh.state[q][key]), key
    with pytest.raises(ValueError, match=r"0\.weight has 8 more bits.*needs master_bits=24"):
        ft.to_torch(run.params, run.state, torch.optim.AdamW(_model().named_parameters()))
    with pytest.raises(ValueError, match="with_master keeps the float32 weights"):
        fa.to_optax(run.state, optax.adamw(1e-2).init(run.params))


def test_a_layout_that_moves_the_blocks_encodes_anew():
    """Unbiased; and a last axis that gets or loses blocks changes how a leaf is stored."""
    model = _model()
    wide = torch.nn.Linear(512, 10).bfloat16()  # [10, 512] here, [512, 10] in JAX: no blocks
    optimizer = ft.NAdam(
        [*model.named_parameters(), ("wide", wide.weight)], moments="int8", lr=1e-2
    )
    for t in range(2):
        _give(model, t)
        generator = torch.Generator().manual_seed(t)
        wide.weight.grad = torch.randn(10, 512, generator=generator).bfloat16()
        optimizer.step()
    layout = {"0.weight": (1, 0), "wide": (1, 0)}
    run = ft.to_jax(optimizer, layout=layout)
    nu = run.state.nu
    assert nu["0"]["weight"].code.shape == (64, 128)
    assert nu["wide"].dtype == jnp.float32
    decoded = optimizer.decoded_state_dict()["state"]
    exact = decoded[0]["exp_avg_sq"].numpy().T
    moved = np.asarray(codecs("int8")[1].decode(nu["0"]["weight"], (64, 128)))
    assert abs((moved - exact).mean() / exact.mean()) < 5e-3
    np.testing.assert_array_equal(nu["wide"], decoded[4]["exp_avg_sq"].numpy().T)
    again = ft.NAdam([*_model().named_parameters(), ("wide", torch.zeros(10, 512).bfloat16())])
    ft.to_torch(run.params, run.state, again, layout=layout)
    own = again.param_groups[0]["params"]
    np.testing.assert_array_equal(again.state[own[4]]["exp_avg_sq"], decoded[4]["exp_avg_sq"])
    np.testing.assert_array_equal(again.state[own[0]]["exp_avg_sq"], moved.T)


def test_groups_names_and_missing_gradients():
    """Each group has its own storage; a parameter without a gradient stands still."""
    params = _params("bfloat16")
    rest = torch.ones(3, dtype=torch.complex64, requires_grad=True)
    optimizer = ft.AdamW(
        [
            {"params": params[:2], "moments": "bfloat16", "seed": 1},
            {"params": params[2:]},
            {"params": [rest], "moments": None, "master_bits": None},
        ],
        moments="int8",
        master_bits=16,
    )
    params[0].grad, params[2].grad = torch.ones(SHAPES[0]).bfloat16(), None
    rest.grad = torch.ones_like(rest)
    params[1].grad = torch.ones(7).bfloat16()
    optimizer.step()
    assert optimizer.state[params[0]]["exp_avg"].dtype == torch.bfloat16
    assert optimizer.state[rest]["exp_avg"].dtype == torch.complex64
    assert params[2] not in optimizer.state
    params[2].grad = torch.ones(8192).bfloat16()
    optimizer.step()
    assert optimizer.state[params[2]]["exp_avg_code"].shape == (8192,)
    assert "master_low" not in optimizer.state[params[2]]
    plain = ft.AdamW(_params())
    assert list(plain.param_groups[0]) == list(torch.optim.AdamW(_params()).param_groups[0])


def test_layouts_of_memory_do_not_matter():
    """Bits belong to the row-major index: a channels_last tensor rounds as a contiguous one."""
    x = torch.randn(8, 16, 4, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = []
    for p in (x.clone(), x.clone(memory_format=torch.channels_last)):
        p.requires_grad_()
        optimizer = ft.Adam([p], moments="int8", master_bits=24)
        for _ in range(2):
            p.grad = (p.detach() * 3).clone()
            optimizer.step()
        found.append((p.detach().contiguous(), *optimizer.state[p].values()))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_it_forgets(monkeypatch):
    """The public tool reads stored moments; a shorter run, whose exact answer is known."""
    before, after = 1000, 1000
    monkeypatch.setattr(forgetting, "BEFORE", before)
    monkeypatch.setattr(forgetting, "AFTER", after)
    found = forgetting.forgetting_torch(
        lambda params: ft.Adam(params, lr=forgetting.RATE, moments="int8")
    )
    b2, small = forgetting.B2, forgetting.SMALL
    exact = (1 - b2**before) * b2**after / small**2 + 1 - b2**after
    assert found.v_true == pytest.approx(exact, rel=0.1)
    step = forgetting.MEAN / (1 + forgetting.MEAN**2) ** 0.5 / exact**0.5
    assert found.update == pytest.approx(step, rel=0.25)  # while v still falls


def test_a_scaler_that_finds_infinities_leaves_all_alone():
    params = _params("float16")
    optimizer = ft.NAdam(params, moments="int8", master_bits=24, engine="auto")
    _train(optimizer, params, [0])
    before = copy.deepcopy((params, optimizer))
    optimizer.found_inf = torch.ones(())
    _train(optimizer, params, [1])
    _assert_same((params, optimizer), before)


def test_errors_say_what_is_wrong():
    p = lambda *s, dtype=torch.float32: [torch.zeros(*s, dtype=dtype, requires_grad=True)]  # noqa: E731

    def sparse():
        weight = torch.zeros(64, 64, requires_grad=True)
        weight.grad = torch.eye(64).to_sparse()
        ft.Adam([weight], moments="int8").step()

    def changed():
        params = _params()
        optimizer = ft.Adam(params, moments="int8")
        _train(optimizer, params, [0])
        optimizer.param_groups[0]["moments"] = "bfloat16"
        _train(optimizer, params, [1])

    def engine():
        ft.Adam(p(3), moments="int8").engine = "flat"

    def codes_without_options():
        params = _params()
        optimizer = ft.Adam(params, moments="int8")
        _train(optimizer, params, [0])
        saved = optimizer.state_dict()
        saved["param_groups"] = ft.Adam(_params()).state_dict()["param_groups"]
        ft.Adam(_params()).load_state_dict(saved)

    cases = [
        (lambda: ft.Adam(p(3), moments="int4"), ValueError,
         "moments must be None, 'float32', 'bfloat16' or 'int8', got 'int4'"),
        (lambda: ft.Adam(p(3), moments=("int8", "int8")), ValueError, "moments must be None"),
        (lambda: ft.NAdam(p(3), master_bits=8), ValueError,
         "master_bits must be None, 32, 24 or 16, got 8"),
        (lambda: ft.RAdam(p(3), moments="int8", seed=-1), ValueError,
         r"seed must be an integer in \[0, 2\*\*32\), got -1"),
        (lambda: ft.Adam(p(3), moments="int8", foreach=True), ValueError,
         "foreach=True does not go together with moments='int8': leave one of them out"),
        (lambda: ft.Adam(p(3), master_bits=32, fused=True), ValueError, "fused=True does not go"),
        (lambda: ft.NAdam(p(3), master_bits=32, fused=True), ValueError, "fused=True does not go"),
        (lambda: ft.AdamW(p(3), moments="int8", differentiable=True), ValueError,
         "differentiable=True does not go together"),
        (lambda: ft.Adamax(p(3), moments="int8", capturable=True), ValueError,
         "capturable=True does not go together"),
        (lambda: ft.AdamW(p(3), moments="int8", engine="jax"), ValueError,
         "engine='jax' does not go together with moments='int8': engine must be 'auto', 'single'"),
        (engine, ValueError, "engine='flat' does not go together"),
        (lambda: ft.Adam(p(3, dtype=torch.complex64), moments="int8"), TypeError,
         r"parameter 0 of shape \(3,\) is torch.complex64, which moments='int8' cannot store"),
        (sparse, RuntimeError, "Adam does not support sparse gradients"),
        (changed, ValueError, "holds .*exp_avg_code.*asks for exp_avg, exp_avg_sq in bfloat16"),
        (codes_without_options, ValueError, "state_dict holds exp_avg_code, exp_avg_sq_code, but"),
        (lambda: ft.Adam(p(3), moments="int8").load_master_params([]), ValueError,
         "values must be 1 tensors, one a parameter, got 0"),
        (lambda: ft.Adam(p(3), moments="int8").load_master_params(p(4)), ValueError,
         r"values\[0\] must have shape \(3,\), got \(4,\)"),
    ]  # fmt: skip
    for make, error, match in cases:
        with pytest.raises(error, match=match):
            make()
    optimizer = ft.Adam(p(3), moments="int8")
    with pytest.raises(TypeError, match="complex64"):
        optimizer.add_param_group({"params": p(3, dtype=torch.complex64)})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("engine", ["auto", "compile"])
@pytest.mark.parametrize("moments", ["float32", "int8"])
def test_state_that_is_not_contiguous_is_updated(moments, engine):
    """As of channels_last weights; of small tensors 8-bit moments are float32."""

    def steps(optimizer, p, n):
        for i in range(n):
            p.grad = torch.arange(1.0, 17.0).reshape(p.shape) * (i + 1)
            optimizer.step()

    start = torch.ones(2, 2, 2, 2).to(memory_format=torch.channels_last)
    p, q = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    theirs = torch.optim.Adam([p], lr=0.1)
    steps(theirs, p, 1)
    q.data.copy_(p.data)
    ours = ft.Adam([q], lr=0.1, moments=moments, engine=engine)
    ours.load_state_dict(theirs.state_dict())
    assert not ours.state[q]["exp_avg"].is_contiguous()
    steps(theirs, p, 5)
    steps(ours, q, 5)
    torch.testing.assert_close(q, p, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.state[q]["exp_avg"], theirs.state[p]["exp_avg"])


@pytest.mark.parametrize("engine", ["flat", "foreach"])
def test_a_checkpoint_that_is_refused_changes_nothing(engine):
    def stepped(**options):
        params = _params()
        optimizer = ft.Adam(params, **options)
        _train(optimizer, params, range(2))
        return params, optimizer

    _, other = stepped(moments="int8", lr=0.5)
    saved = other.state_dict()
    bare = copy.deepcopy(saved)
    for group in bare["param_groups"]:
        for option in _storage.OPTIONS:
            del group[option]
    params, optimizer = stepped(engine=engine)
    before = copy.deepcopy(optimizer.state_dict())
    for given, message in ((saved, "engine="), (bare, "they belong together")):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(given)
        assert str(optimizer.state_dict()) == str(before)
    _train(optimizer, params, range(2, 4))
    reference = stepped(engine=engine)
    _train(reference[1], reference[0], range(2, 4))
    _assert_same((params, optimizer), reference)


def test_a_lazy_module_is_stored_when_it_has_a_shape():
    """torch's optimizers take its parameters before they have one."""
    module = torch.nn.LazyLinear(32)
    optimizer = ft.AdamW(module.parameters(), lr=0.1, moments="int8")
    module(torch.ones(2, 256)).square().mean().backward()
    optimizer.step()
    assert optimizer.state[module.weight]["exp_avg_code"].shape == (32, 256)
