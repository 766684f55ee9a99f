"""Every knob against its formula in float64, presets against the frameworks, and refusals."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimi
import pytest
import torch
from functional_adam_torch import _foreach, _single

import functional_adam as fa
from functional_adam.dialects import KNOBS
from functional_adam.rules import adam, adamax, amsgrad, nadam, radam

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
