"""Every knob against its formula in float64, presets against the frameworks, and refusals."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import os
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimi
import pytest
import torch
from typer.testing import CliRunner

import functional_adam as fa
from functional_adam._knobs import WORDS
from functional_adam.cli.app import app
from functional_adam.dialects import KNOBS
from functional_adam_torch.primitives import _foreach, _single

change = dataclasses.replace

# Tolerances, in one place; they hold for all elements.
FORMULA = 1e-12  # of the distance travelled, float64, after STEPS
STEPS = 200
ONE_STEP = 4  # ulp of max|p|, float32

RATE, DECAY, ROOT = 1e-2, 0.1, 1e-3
SIZE = 64


@functools.cache
def problem():
    """Start and gradients: element sizes over seven decades, exact zeros, a whole step of zeros."""
    rng = np.random.default_rng(0)
    p = rng.standard_normal(SIZE)
    g = rng.standard_normal((STEPS, SIZE)) * 10.0 ** rng.uniform(-6, 1, SIZE)
    g *= rng.random(g.shape) > 0.1
    g[5] = 0
    return p, g


def path(tx, p, gs):
    """Parameters after all gradients, in the precision of p."""

    def body(carry, g):
        p, state = carry
        updates, state = tx.update(g, state, p)
        return (optax.apply_updates(p, updates), state), None

    run = jax.jit(lambda p, gs: jax.lax.scan(body, (p, tx.init(p)), gs)[0][0])
    return np.asarray(run(jnp.asarray(p), jnp.asarray(gs)))


def assert_same_path(got, want, start):
    moved = np.abs(want - start).max()
    assert moved > 0.1 * RATE
    np.testing.assert_allclose(got, want, rtol=0, atol=FORMULA * moved)


# The formulas, each as its source writes it. `s` keeps what is named; `t` counts from 1.


class Kept(dict):
    """Zero until it is set."""

    def __missing__(self, key):
        return 0.0


def moments(s, g, b1=0.9, b2=0.999):
    s["m"] = b1 * s["m"] + (1 - b1) * g
    s["v"] = b2 * s["v"] + (1 - b2) * g * g
    return s["m"], s["v"]


def keras_adam(p, g, s, t, eps=1e-7):
    m, v = moments(s, g)
    alpha = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return p - m * alpha / (np.sqrt(v) + eps)


def keras_adamw(p, g, s, t):
    return keras_adam(p - p * 4e-3 * RATE, g, s, t)


def keras_amsgrad(p, g, s, t):
    m, v = moments(s, g)
    s["V"] = np.maximum(s["V"], v)
    alpha = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return p - m * alpha / (np.sqrt(s["V"]) + 1e-7)


def keras_adamax(p, g, s, t):
    p = p - p * DECAY * RATE
    m, _ = moments(s, g)
    s["u"] = np.maximum(0.999 * s["u"], np.abs(g))
    return p - RATE * m / ((1 - 0.9**t) * (s["u"] + 1e-7))


def keras_nadam(p, g, s, t, psi=1.0):
    m, v = moments(s, g)
    now, ahead = (0.9 * (1 - 0.5 * 0.96 ** (i * psi)) for i in (t, t + 1))
    s["product"] = now * (s["product"] or 1.0)
    m_hat = ahead * m / (1 - s["product"] * ahead) + (1 - now) * g / (1 - s["product"])
    return p - m_hat * RATE / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)


def hf_adamw(p, g, s, t, correct=True, decay=DECAY):
    m, v = moments(s, g)
    size = RATE * (np.sqrt(1 - 0.999**t) / (1 - 0.9**t) if correct else 1.0)
    p = p - size * m / (np.sqrt(v) + 1e-6)
    return p - RATE * decay * p


def bert_adam(p, g, s, t):
    m, v = moments(s, g)
    return p - RATE * (m / (np.sqrt(v) + 1e-6) + 0.01 * p)


def apex_adamw(p, g, s, t):
    m, v = moments(s, g)
    update = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p - RATE * (update + DECAY * p)


def bitsandbytes_adam(p, g, s, t):
    m, v = moments(s, g)
    root = np.sqrt(1 - 0.999**t)
    p = p * (1 - RATE * DECAY)
    return p - RATE * root / (1 - 0.9**t) * (m / (np.sqrt(v) + 1e-8 * root))


def timm_nadamw(p, g, s, t):
    p = p * (1 - RATE * 1e-2)
    m, v = moments(s, g)
    ahead = 0.9 * m + 0.1 * g
    return p - RATE / (1 - 0.9**t) * ahead / (np.sqrt(v) / np.sqrt(1 - 0.999**t) + 1e-8)


def timm_radam(p, g, s, t):
    m, v = moments(s, g)
    p = p - DECAY * RATE * p
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    if length < 5:
        return p - RATE / (1 - 0.9**t) * m
    r = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
    return p - RATE * np.sqrt((1 - 0.999**t) * r) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)


def heavyball_adamw(p, g, s, t):
    for name, value, b in (("m", g, 0.9), ("v", g * g, 0.99)):
        b_t = 1 - (1 - b) / (1 - b**t)
        s[name] = b_t * s[name] + (1 - b_t) * value
    return p * (1 - DECAY * RATE) - RATE * s["m"] / np.maximum(np.sqrt(s["v"]), 1e-3)


def paper_adamw(p, g, s, t, multiplier=0.5):
    m, v = moments(s, g)
    update = 2 * RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p - multiplier * (update + 1e-3 * p)


def paper_amsgrad(p, g, s, t):
    m, v = moments(s, g)
    s["V"] = np.maximum(s["V"], v)
    return p - RATE * m / (np.sqrt(s["V"]) + 1e-8)


def paper_nadam(p, g, s, t):
    now, ahead = (0.9 * (1 - 0.5 * 0.96 ** (i * 4e-3)) for i in (t, t + 1))
    m, v = moments(s, g, b1=now)
    s["product"] = now * (s["product"] or 1.0)
    m_hat = ahead * m / (1 - s["product"] * ahead) + (1 - now) * g / (1 - s["product"])
    return p - RATE * m_hat / (np.sqrt(0.999 * v / (1 - 0.999**t)) + 1e-8)


def paper_radam(p, g, s, t):
    m, v = moments(s, g)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    m_hat = m / (1 - 0.9**t)
    if length <= 4:
        return p - RATE * m_hat
    top = (length - 4) * (length - 2) * longest
    r = np.sqrt(top / ((longest - 4) * (longest - 2) * length))
    return p - RATE * r * m_hat / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def paper_adamax(p, g, s, t):
    m, _ = moments(s, g)
    s["u"] = np.maximum(0.999 * s["u"], np.abs(g))
    return p - RATE / (1 - 0.9**t) * m / (s["u"] + 1e-8)


def eps_hat_and_root(p, g, s, t):
    m, v = moments(s, g)
    alpha = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return p - alpha * m / (np.sqrt(v + ROOT) + 1e-8)


def eps_hat_looking_ahead(p, g, s, t):
    m, v = moments(s, g)
    ahead = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
    return p - RATE * np.sqrt(1 - 0.999**t) * ahead / (np.sqrt(v) + 1e-3)


FORMULAS = {
    "Keras Adam": (keras_adam, lambda: fa.adam(RATE, dialect=fa.KERAS)),
    "Keras AdamW": (keras_adamw, lambda: fa.adamw(RATE, dialect=fa.KERAS)),
    "Keras amsgrad": (keras_amsgrad, lambda: fa.amsgrad(RATE, dialect=fa.KERAS)),
    "Keras Adamax": (
        keras_adamax,
        lambda: fa.adamax(RATE, weight_decay=DECAY, dialect=fa.KERAS),
    ),
    "Keras Nadam": (keras_nadam, lambda: fa.nadam(RATE, dialect=fa.KERAS)),
    "HF AdamW": (hf_adamw, lambda: fa.adamw(RATE, weight_decay=DECAY, dialect=fa.HF)),
    "HF correct_bias=False": (
        functools.partial(hf_adamw, correct=False, decay=0.0),
        lambda: fa.adamw(RATE, dialect=change(fa.HF, bias_correction="none")),
    ),
    "BertAdam": (bert_adam, lambda: fa.adamw(RATE, dialect=fa.BERT)),
    "apex mode 1": (apex_adamw, lambda: fa.adamw(RATE, weight_decay=DECAY, dialect=fa.APEX)),
    "bitsandbytes Adam": (
        bitsandbytes_adam,
        lambda: fa.adam(RATE, weight_decay=DECAY, dialect=fa.BITSANDBYTES),
    ),
    "timm NAdamW": (timm_nadamw, lambda: fa.nadamw(RATE, dialect=fa.TIMM)),
    "timm NAdamW, as nesterov": (
        timm_nadamw,
        lambda: fa.adamw(RATE, nesterov=True, dialect=fa.TIMM),
    ),
    "timm RAdamLegacy": (
        timm_radam,
        lambda: fa.radamw(RATE, weight_decay=DECAY, dialect=fa.TIMM),
    ),
    "HeavyBall AdamW": (
        heavyball_adamw,
        lambda: fa.adamw(RATE, weight_decay=DECAY, eps=1e-3, dialect=fa.HEAVYBALL),
    ),
    "paper AdamW": (
        paper_adamw,
        lambda: fa.adamw(RATE, weight_decay=1e-3, base_learning_rate=2 * RATE, dialect=fa.PAPER),
    ),
    "paper AMSGrad": (paper_amsgrad, lambda: fa.amsgrad(RATE, dialect=fa.PAPER)),
    "paper NAdam": (paper_nadam, lambda: fa.nadam(RATE, dialect=fa.PAPER)),
    "paper RAdam": (paper_radam, lambda: fa.radam(RATE, dialect=fa.PAPER)),
    "paper Adamax": (paper_adamax, lambda: fa.adamax(RATE, dialect=fa.PAPER)),
    "eps-hat with eps_root": (
        eps_hat_and_root,
        lambda: fa.adam(
            RATE, eps_root=ROOT, dialect=change(fa.OPTAX, eps_place="before_correction")
        ),
    ),
    "eps-hat looking ahead": (
        eps_hat_looking_ahead,
        lambda: fa.adam(
            RATE, eps=1e-3, nesterov=True, dialect=change(fa.TORCH, eps_place="before_correction")
        ),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_knob_is_its_formula(name):
    formula, make = FORMULAS[name]
    start, gs = problem()
    p, s = start, Kept()
    for t, g in enumerate(gs, 1):
        p = formula(p, g, s, t)
    with jax.enable_x64(True):
        assert_same_path(path(make(), start, gs), p, start)


# The frameworks themselves.

OPTAX = {
    "adam": (lambda: fa.adam(RATE, dialect=fa.OPTAX), lambda: optax.adam(RATE)),
    "adam(eps_root)": (
        lambda: fa.adam(RATE, eps=1e-3, eps_root=ROOT, dialect=fa.OPTAX),
        lambda: optax.adam(RATE, eps=1e-3, eps_root=ROOT),
    ),
    "adam(nesterov)": (
        lambda: fa.adam(RATE, nesterov=True, dialect=fa.OPTAX),
        lambda: optax.adam(RATE, nesterov=True),
    ),
    "adamw": (lambda: fa.adamw(RATE, dialect=fa.OPTAX), lambda: optax.adamw(RATE)),
    "amsgrad": (
        lambda: fa.amsgrad(RATE, eps_root=ROOT, dialect=fa.OPTAX),
        lambda: optax.amsgrad(RATE, eps_root=ROOT),
    ),
    "amsgrad(mu)": (
        lambda: fa.amsgrad(RATE, dialect=change(fa.OPTAX, bias_correction="first")),
        lambda: optax.amsgrad(RATE, bias_correction_nu=False),
    ),
    "amsgrad(nu)": (
        lambda: fa.amsgrad(RATE, dialect=change(fa.OPTAX, bias_correction="second")),
        lambda: optax.amsgrad(RATE, bias_correction_mu=False),
    ),
    "amsgrad()": (
        lambda: fa.amsgrad(RATE, dialect=change(fa.OPTAX, bias_correction="none")),
        lambda: optax.amsgrad(RATE, bias_correction_mu=False, bias_correction_nu=False),
    ),
    "nadam": (
        lambda: fa.nadam(RATE, eps_root=ROOT, dialect=fa.OPTAX),
        lambda: optax.nadam(RATE, eps_root=ROOT),
    ),
    "nadamw": (
        lambda: fa.nadamw(RATE, weight_decay=DECAY, dialect=fa.OPTAX),
        lambda: optax.nadamw(RATE, weight_decay=DECAY),
    ),
    "radam": (
        lambda: fa.radam(RATE, eps=1e-2, eps_root=ROOT, dialect=fa.OPTAX),
        lambda: optax.radam(RATE, eps=1e-2, eps_root=ROOT),
    ),
    "radam(threshold, nesterov)": (
        lambda: fa.radam(RATE, nesterov=True, dialect=change(fa.OPTAX, radam_threshold=4.0)),
        lambda: optax.radam(RATE, nesterov=True, threshold=4.0),
    ),
    "adamax": (
        lambda: fa.adamax(RATE, eps=1e-2, dialect=fa.OPTAX),
        lambda: optax.adamax(RATE, eps=1e-2),
    ),
    "adamaxw": (
        lambda: fa.adamax(RATE, weight_decay=DECAY, dialect=change(fa.OPTAX, decay="decoupled")),
        lambda: optax.adamaxw(RATE, weight_decay=DECAY),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax_is_optax(name):
    ours, theirs = OPTAX[name]
    start, gs = problem()
    with jax.enable_x64(True):
        assert_same_path(path(ours(), start, gs), path(theirs(), start, gs), start)


@pytest.mark.parametrize("name", ["adam", "amsgrad"])
def test_a_complex_number_is_its_modulus_in_optax(name):
    ours, theirs = OPTAX[name]
    start, gs = (x + 1j * x[..., ::-1] for x in problem())
    with jax.enable_x64(True):
        got, want = (path(make(), start, gs) for make in (ours, theirs))
        assert_same_path(got, want, start)
        turned = path(ours(), 1j * start, 1j * gs)
        assert_same_path(turned, 1j * want, 1j * start)


def keras_path(name, options, start, gs):
    """Variables of a live Keras optimizer after all gradients, in the precision of `start`."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx(str(start.dtype))
    try:
        variable = keras.Variable(start)
        optimizer = getattr(keras.optimizers, name)(learning_rate=RATE, **options)
        optimizer.build([variable])
    finally:
        keras.config.set_floatx(before)

    def body(carry, g):
        trained, kept = carry
        return optimizer.stateless_apply(kept, [g], trained), None

    carry = ([jnp.asarray(start)], [x.value for x in optimizer.variables])
    return np.asarray(jax.jit(lambda c, gs: jax.lax.scan(body, c, gs)[0][0][0])(carry, gs))


KERAS = {
    "Adam": ("adam", {}),
    "Adam(weight_decay)": ("adam", {"weight_decay": DECAY}),
    "AdamW": ("adamw", {}),
    "Adam(amsgrad)": ("amsgrad", {}),
    "Nadam": ("nadam", {}),
    "Adamax": ("adamax", {}),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_is_keras(name):
    algorithm, options = KERAS[name]
    twin = fa.ALGORITHMS[algorithm].keras
    start, gs = problem()
    with jax.enable_x64(True):
        ours = fa.ALGORITHMS[algorithm].make(RATE, **options, dialect=fa.KERAS)
        got, want = path(ours, start, gs), keras_path(twin.name, twin.options | options, start, gs)
        assert_same_path(got, want, start)


OPTIMI = {
    "Adam": (fa.adam, optimi.Adam, {"weight_decay": DECAY}, fa.OPTIMI),
    "AdamW": (fa.adamw, optimi.AdamW, {}, fa.OPTIMI),
    "RAdam": (fa.radam, optimi.RAdam, {}, fa.OPTIMI),
    "AdamW(decouple_lr)": (
        fa.adamw,
        functools.partial(optimi.AdamW, decouple_lr=True),
        {"weight_decay": 9e-4},
        change(fa.OPTIMI, decay_rate="schedule"),
    ),
}


@pytest.mark.parametrize("name", OPTIMI)
def test_optimi_is_optimi(name):
    ours, theirs, options, dialect = OPTIMI[name]
    start, gs = problem()
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = theirs([parameter], lr=RATE, **options)
    for g in gs:
        parameter.grad = torch.tensor(g)
        optimizer.step()
    with jax.enable_x64(True):
        got = path(ours(RATE, **options, dialect=dialect), start, gs)
    assert_same_path(got, parameter.detach().numpy(), start)


PEERS = {
    "adamw": (lambda: fa.adamw(RATE, dialect=fa.OPTAX), lambda: optax.adamw(RATE)),
    "amsgrad": OPTAX["amsgrad"],
    "radam": OPTAX["radam"],
    "Keras Adam": (lambda: fa.adam(RATE, dialect=fa.KERAS), ("Adam", {})),
    "Keras Nadam": (lambda: fa.nadam(RATE, dialect=fa.KERAS), ("Nadam", {})),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_step_in_float32_is_the_frameworks(name):
    ours, theirs = PEERS[name]
    start, gs = (x.astype(np.float32) for x in problem())
    got = path(ours(), start, gs[:1])
    in_keras = isinstance(theirs, tuple)
    want = keras_path(*theirs, start, gs[:1]) if in_keras else path(theirs(), start, gs[:1])
    assert np.abs(got - want).max() <= ONE_STEP * np.spacing(np.abs(want).max())


def test_defaults_are_the_frameworks_own():
    """The numbers in the presets are those of the signatures that users call."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    def defaults(function, *names):
        found = inspect.signature(function).parameters
        return tuple(found[name].default for name in names)

    own = {d: (d.b2, d.eps, d.weight_decay) for d in (fa.TORCH, fa.OPTAX, fa.KERAS, fa.OPTIMI)}
    betas, *others = defaults(torch.optim.AdamW, "betas", "eps", "weight_decay")
    assert own[fa.TORCH] == (betas[1], *others)
    assert own[fa.OPTAX] == defaults(optax.adamw, "b2", "eps", "weight_decay")
    names = ("beta_2", "epsilon", "weight_decay")
    assert own[fa.KERAS] == defaults(keras.optimizers.AdamW, *names)
    betas, *others = defaults(optimi.AdamW, "betas", "eps", "weight_decay")
    assert own[fa.OPTIMI] == (betas[1], *others)
    (psi,) = defaults(torch.optim.NAdam, "momentum_decay")
    assert fa.TORCH.momentum_decay == psi


# One rule: the same text on torch tensors, with scalars from the host.

BUILDERS = {
    name: importlib.import_module(f"functional_adam.rules.{name}").rule
    for name in ("adam", "amsgrad", "nadam", "radam", "adamax")
}


@pytest.mark.parametrize("dialect", fa.DIALECTS.values(), ids=str)
def test_a_dialect_steps_tensors(dialect):
    values = dict(learning_rate=RATE, b1=0.9, b2=0.999, eps=1e-3, momentum_decay=0.5, eps_root=ROOT)
    start, gs = problem()
    stepped = 0
    for name, build in BUILDERS.items():
        try:
            rule = build(dialect)
        except ValueError:
            continue
        stepped += 1
        names = {"learning_rate", "b1", "b2", "eps"}
        names |= {"momentum_decay"} if name == "nadam" and dialect.schedules_nadam else set()
        names |= {"eps_root"} if dialect.eps_root and name != "adamax" else set()
        with jax.enable_x64(True):
            tx = fa.ALGORITHMS[name].make(dialect=dialect, **{n: values[n] for n in names})
            want = path(tx, start, gs[:9])
        h = SimpleNamespace(**values)
        for ops in (_single, _foreach):
            arrays = [torch.tensor(start), *(torch.zeros(SIZE).double() for _ in rule.moments)]
            if ops is _foreach:
                arrays = [[x] for x in arrays]
            scalars = {key: np.float64(value) for key, value in rule.scalars}
            for t, g in enumerate(gs[:9], 1):
                k = rule.coefficients(float(t), h, scalars)
                scalars = {key: getattr(k, key) for key in scalars}
                g = torch.tensor(g)
                rule.step(ops, arrays[0], [g] if ops is _foreach else g, *arrays[1:], k)
            p = arrays[0][0] if ops is _foreach else arrays[0]
            assert_same_path(p.numpy(), want, start)
    assert stepped >= 1


# What cannot be.

REFUSED = {
    "no RAdam": (
        lambda: fa.radam(1e-3, dialect=fa.KERAS),
        r"^KERAS has no radam: radam_threshold is None\. Choose it with dataclasses\.replace",
    ),
    "no NAdam": (lambda: fa.nadamw(1e-3, dialect=fa.HF), "^HF has no nadam: nadam is None"),
    "no AMSGrad": (lambda: fa.amsgradw(1e-3, dialect=fa.APEX), "^APEX has no amsgrad: "),
    "no Adamax": (lambda: fa.scale_by_adamax(dialect=fa.BERT), "^BERT has no adamax: "),
    "no look-ahead": (
        lambda: fa.adam(1e-3, nesterov=True, dialect=fa.KERAS),
        r"^KERAS has no adam\(nesterov=True\): nesterov is None",
    ),
    "no look-ahead in RAdam": (
        lambda: fa.radamw(1e-3, nesterov=True, dialect=fa.OPTIMI),
        r"^OPTIMI has no radam\(nesterov=True\): nesterov is None",
    ),
    "a schedule that is not there": (
        lambda: fa.nadam(1e-3, momentum_decay=0.1, dialect=fa.OPTAX),
        "^OPTAX keeps NAdam's momentum constant: momentum_decay has no meaning",
    ),
    "no place in the root": (
        lambda: fa.adam(1e-3, eps_root=1e-8),
        "^TORCH has no eps_root, got 1e-08: use dialect=OPTAX, or ",
    ),
    "a schedule in no place": (
        lambda: fa.adam(1e-3, eps_root=lambda count: 0.0, dialect=fa.KERAS),
        "^KERAS has no eps_root, got <function",
    ),
    "no uncorrected root": (
        lambda: fa.amsgrad(1e-3, dialect=change(fa.OPTAX, eps_place="before_correction")),
        "^OPTAX: amsgrad='correct_then_maximum' keeps no uncorrected root",
    ),
    "NAdam uncorrected": (
        lambda: fa.nadam(1e-3, dialect=change(fa.TORCH, bias_correction="none")),
        "^nadam is made of bias corrections: bias_correction must be 'both', got 'none' in TORCH",
    ),
    "RAdam uncorrected": (
        lambda: fa.radam(1e-3, dialect=change(fa.TORCH, bias_correction="first")),
        "^radam is made of bias corrections: .* got 'first' in TORCH",
    ),
    "the papers name no decay": (
        lambda: fa.adamw(1e-3, dialect=fa.PAPER),
        r"^PAPER has no default weight_decay: give weight_decay=\.\.\.$",
    ),
    "what a schedule multiplies": (
        lambda: fa.adamw(lambda count: 1e-3, weight_decay=1e-5, dialect=fa.PAPER),
        "^PAPER multiplies weight_decay by learning_rate / base_learning_rate: give base_",
    ),
    "a base for nothing": (
        lambda: fa.adamw(1e-3, base_learning_rate=1e-3),
        "^TORCH multiplies weight_decay by the learning rate: base_learning_rate has no meaning",
    ),
    "a base of zero": (
        lambda: fa.adamw(1e-3, weight_decay=1e-5, base_learning_rate=0.0, dialect=fa.PAPER),
        r"^base_learning_rate must be a finite number > 0, got 0\.0$",
    ),
    "another word": (
        lambda: change(fa.TORCH, eps_place="outside"),
        "^eps_place of a Dialect must be one of 'after_correction', .*; got 'outside'$",
    ),
    "a number out of range": (
        lambda: change(fa.TORCH, b2=1.0),
        r"^b2 must be in \[0, 1\), got 1\.0$",
    ),
    "a threshold below the rectifier": (
        lambda: change(fa.TORCH, radam_threshold=3.0),
        r"^radam_threshold must be at least 4, .*; got 3\.0$",
    ),
    "an unknown dialect": (lambda: fa.explain("torch", "chainer"), "^unknown dialect 'chainer'; "),
    "an unknown algorithm": (
        lambda: fa.explain("torch", "keras", algorithm="sgd"),
        "^algorithm must be one of adam, .*; got 'sgd'$",
    ),
    "gradients of nothing": (
        lambda: fa.explain("torch", "keras", gradients=[jnp.ones(3)]),
        "^give both params and gradients, or neither$",
    ),
    "no gradients": (
        lambda: fa.explain("torch", "keras", params=jnp.ones(3), gradients=[]),
        "^there must be at least one step",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name):
    call, said = REFUSED[name]
    with pytest.raises(ValueError, match=said):
        call()


def test_a_coupled_decay_has_no_default_in_any_dialect():
    with pytest.raises(TypeError, match=r"^weight_decay must be a number"):
        fa.adamax(1e-3, weight_decay=None, dialect=fa.KERAS)  # type: ignore[arg-type]


def test_a_dialect_that_differs_in_name_only_is_the_same():
    mine = change(fa.KERAS, name="MINE")
    assert mine == fa.KERAS
    assert str(mine) == "MINE"
    assert BUILDERS["adam"](mine) is BUILDERS["adam"](fa.KERAS)
    assert BUILDERS["adam"](mine) is not BUILDERS["adam"](fa.TORCH)


def test_a_multiplier_may_be_traced_and_given_per_call():
    """Of the paper's decay: the peak is data, and half the rate is half the decay."""
    p = jnp.ones(3)

    @jax.jit
    def decayed(base, rate):
        tx = fa.adamw(
            lambda count: 1e-2, weight_decay=0.1, base_learning_rate=base, dialect=fa.PAPER
        )
        updates, _ = tx.update(jnp.zeros(3), tx.init(p), p, learning_rate=rate)
        return updates

    np.testing.assert_allclose(decayed(2e-2, 2e-2), -0.1 * np.ones(3), rtol=1e-6)
    np.testing.assert_allclose(decayed(2e-2, 1e-2), -0.05 * np.ones(3), rtol=1e-6)


# explain.


def test_every_knob_has_words():
    assert {*WORDS} == {*KNOBS}
    for knob, choices in KNOBS.items():
        words = WORDS[knob]
        assert {*words.algorithms} & {*fa.ALGORITHMS, "adam(nesterov=True)"}
        for choice in choices:
            if not {">", ">="} & {choice}:
                assert choice is None or words.value(choice) != choice, (knob, choice)


def test_an_effect_is_a_difference_over_a_distance():
    """Two steps of eps-hat by hand: alone, and with Keras's eps."""
    start, gs = problem()
    start, gs = start.astype(np.float32), gs[:2].astype(np.float32) * 1e-5
    found = fa.explain(
        *(fa.TORCH, fa.KERAS),
        algorithm="adam",
        params={"w": jnp.asarray(start)},
        gradients=({"w": jnp.asarray(g)} for g in gs),
        learning_rate=RATE,
    )

    def at(eps, hat):
        p, s, seen = start.astype(np.float64), Kept(), []
        for t, g in enumerate(gs.astype(np.float64), 1):
            m, v = moments(s, g)
            c1, c2 = 1 - 0.9**t, 1 - 0.999**t
            divisor = (np.sqrt(v) + eps) / np.sqrt(c2) if hat else np.sqrt(v / c2) + eps
            p = p - RATE * m / c1 / divisor
            seen.append(p)
        return seen

    def effect(other):
        pairs = zip(at(1e-8, hat=False), other, strict=True)
        return [np.linalg.norm(y - x) / np.linalg.norm(x - start) for x, y in pairs]

    assert found.steps == (1, 2)
    effects = {difference.knob: difference.effect for difference in found.differences}
    assert effects["eps_place"] == pytest.approx(effect(at(1e-8, hat=True)), rel=1e-4)
    assert effects["eps"] == pytest.approx(effect(at(1e-7, hat=False)), rel=1e-4)
    assert found.together == pytest.approx(effect(at(1e-7, hat=True)), rel=1e-4)
    assert effects["decay"] == (0.0, 0.0)
    assert effects["adamax_eps"] is None
    assert min(effects["eps_place"]) > 0.1


def test_the_text_names_both_values_and_what_they_do():
    other = change(fa.OPTAX, decay_form="factor", complex_mode="parts")
    found = fa.explain("torch", other, algorithm="amsgrad", steps=3)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "TORCH: V = max(V, v), then sqrt(V / c2)" in text
    assert "OPTAX: V = max(V, v / c2), then sqrt(V)" in text
    assert "another algorithm, not another rounding" in text
    assert "Effect: none here" in text  # eps_root is not given
    assert re.search(r"All together: \S+ at step 1, [\d.]+% at step 3 of the distance", text)
    table = found._repr_markdown_().splitlines()
    assert table[0] == "| amsgrad | TORCH | OPTAX | does | when | step 1 | step 3 |"
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert bars == {8}
    assert len(table) == 3 + len(found.differences)


def test_what_is_absent_is_said_and_not_measured():
    found = fa.explain("torch", "keras", algorithm="radam", steps=1)
    assert found.together is None
    assert "All together: not measured: KERAS has no radam" in str(found)
    other = {"eps_place": "before_correction", "amsgrad": "maximum_then_correct"}
    alone = fa.explain(fa.OPTAX, change(fa.OPTAX, **other), algorithm="amsgrad", steps=1)
    whys = {difference.knob: difference.why for difference in alone.differences}
    assert whys["eps_place"].startswith("impossible alone: OPTAX: amsgrad=")
    assert alone.together is not None
    assert str(fa.explain("hf", "hf")) == "HF and HF differ in nothing."


def command(*arguments):
    return CliRunner().invoke(app, ["explain", *arguments])


def test_the_command_lists_explains_and_refuses():
    listed = command()
    assert listed.exit_code == 0
    assert [line.split()[0].upper() for line in listed.stdout.splitlines()] == list(fa.DIALECTS)
    found = command("Torch", "apex", "--steps", "1", "--json", "-")
    assert found.exit_code == 0
    content = json.loads(found.stdout)
    assert (content["a"], content["b"], content["steps"]) == ("TORCH", "APEX", [1])
    knobs = {each["knob"]: each for each in content["differences"]}
    assert (knobs["weight_decay"]["a"], knobs["weight_decay"]["b"]) == (1e-2, 0.0)
    assert knobs["weight_decay"]["effect"][0] > 1e-3
    for arguments, said in (
        (["torch", "chainer"], "there are TORCH, OPTAX, KERAS"),
        (["torch", "keras", "--algorithm", "sgd"], "algorithm must be one of"),
        (["hf", "hf", "--json", "no/such/folder/x"], "cannot write no/such/folder/x"),
    ):
        refused = command(*arguments)
        assert refused.exit_code == 2, arguments
        assert said in refused.stderr


def test_what_is_no_dialect_says_so():
    for row in fa.ALGORITHMS.values():
        if row.has_dialects:
            for given in ("KERAS", None):
                with pytest.raises(TypeError, match="dialect must be a Dialect such as"):
                    row.make(1e-3, dialect=given)


def test_numbers_of_numpy_are_numbers():
    for number in (np.float32(0.5), np.float64(0.5), np.array(0.5)):
        p = jnp.ones(2)
        own = change(fa.TORCH, decay_rate="schedule")
        tx = fa.adamw(number, weight_decay=0.1, eps_root=0 * number, dialect=own)
        want = fa.adamw(0.5, weight_decay=0.1, base_learning_rate=0.5, dialect=own)
        assert (tx.update(p, tx.init(p), p)[0] == want.update(p, want.init(p), p)[0]).all()
    with pytest.raises(ValueError, match=r"b1 must be in \[0, 1\), got 2.0"):
        fa.update_bound(np.float32(2), 0.9, 1)


def test_the_list_is_json_too(tmp_path):
    listed = command().stdout
    found = json.loads(command("--json", "-").stdout)
    assert list(found) == [name.lower() for name in fa.DIALECTS]
    assert found["keras"] == fa.KERAS.source
    assert command("--json", str(tmp_path / "a.json")).stdout == listed
    assert json.loads((tmp_path / "a.json").read_text()) == found
