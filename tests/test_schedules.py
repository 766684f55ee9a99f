"""Schedules against torch, against their formulas in 80 digits, and as pure functions."""

from __future__ import annotations

import copy
import functools
import itertools
import subprocess
import sys
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torch_schedulers

import functional_adam
from functional_adam import schedules as s
from functional_adam.cli._schedules import plateau
from functional_adam.cli._schedules.cases import CASES, OWN_RANGE, Case
from functional_adam.cli._schedules.exact import PI, cos
from functional_adam.cli._schedules.in_torch import make_torch, optimizer
from functional_adam.cli._schedules.settings import STEPS
from functional_adam_torch.schedulers._schedules import from_torch, momentum_from_torch

# Every tolerance of this file. Measured: 6e-16 (2e-14 for products of Python functions) and 7 ulp.
EXACT_64 = 1e-13  # float64 against the formula, relative
TORCH_64 = 1e-12  # float64 against torch, relative
COSINE_DRIFT = 2e-11  # what torch's recursion for the cosine strays from its formula, of the peak
ULP_32 = 8  # float32 against the formula and against torch, units in the last place
SAME_64 = 1e-14  # float64, two ways to compute one thing, relative to the peak
SAME_32 = 8 * 2.0**-23  # float32, the same

SMALLEST_32 = 2.0**-125  # below, XLA flushes to zero
COUNTS = jnp.arange(STEPS)
# torch computes these by a difference or a recursion that loses digits where they come near zero,
# so that only their distance in units of the peak is comparable.
CANCELS = ("Polynomial", "Cosine", "OneCycle", "Sequential")


def batch(schedule, counts=COUNTS):
    return np.asarray(jax.jit(jax.vmap(schedule))(counts))


@functools.cache
def torch_values(index):
    return np.array(CASES[index].run_torch(STEPS))


@functools.cache
def our_values(index, x64):
    """float64 without a compiler, which is faster here; float32 in one jit(vmap)."""
    with jax.enable_x64(x64):
        schedule = CASES[index].ours()
        return np.asarray(schedule(COUNTS)) if x64 else batch(schedule)


def ulp_32(value, exact):
    """Distance in units in the last place of the exact value; 0 where float32 is denormal."""
    exact = float(exact)
    if abs(exact) < SMALLEST_32:
        return 0.0 if abs(value) <= SMALLEST_32 else np.inf
    return abs(float(value) - exact) / float(np.spacing(np.float32(abs(exact))))


def relative_64(value, exact):
    """Relative distance from a Decimal; 0 where both are zero or denormal."""
    if abs(exact) < Decimal("1e-290"):
        return 0.0 if abs(value) < 1e-290 else np.inf
    return float(abs(Decimal(float(value)) - exact) / abs(exact))


def sampled_counts(seed):
    drawn = np.random.default_rng(seed).integers(0, STEPS, 40).tolist()
    return sorted({0, 1, 2, 3, 5, 20, 500, 9000, 9998, 9999, *drawn})


by_case = pytest.mark.parametrize(
    "index",
    range(len(CASES)),
    ids=[f"{i}-{case.name.replace(' ', '-')}" for i, case in enumerate(CASES)],
)

# --- the numbers --------------------------------------------------------------------------------


def test_every_scheduler_of_torch_has_five_cases():
    stateful = {"ReduceLROnPlateau", "LRScheduler"}
    for name in set(torch_schedulers.__all__) - stateful:
        assert len([case for case in CASES if case.name == name]) >= 5, name


@by_case
def test_float64_equals_torch(index):
    ours, theirs = our_values(index, True), torch_values(index)
    assert ours.dtype == np.float64
    name, peak = CASES[index].name, np.abs(theirs).max()
    drift = COSINE_DRIFT if name == "CosineAnnealingLR" else TORCH_64
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=drift * peak)
    if not name.startswith(CANCELS):
        np.testing.assert_allclose(ours, theirs, rtol=TORCH_64, atol=1e-290)


@by_case
def test_float64_equals_the_formula(index):
    ours, case = our_values(index, True), CASES[index]
    for count in sampled_counts(index):
        assert relative_64(ours[count], case.exact(count)) <= EXACT_64, count


@by_case
def test_float32_equals_torch(index):
    ours, theirs = our_values(index, False), torch_values(index)
    assert ours.dtype == np.float32
    ulp = np.spacing(np.maximum(np.abs(theirs), SMALLEST_32).astype(np.float32))
    bound = ULP_32 * ulp.astype(float) + COSINE_DRIFT * np.abs(theirs).max()
    assert np.all(np.abs(ours - theirs) <= bound)


@by_case
def test_float32_equals_the_formula(index):
    ours, case = our_values(index, False), CASES[index]
    for count in sampled_counts(index):
        assert ulp_32(ours[count], case.exact(count)) <= ULP_32, count


def test_torch_cosine_recursion_strays_from_its_own_closed_form():
    (case,) = [case for case in CASES if case.settings == {"T_max": 3000, "eta_min": 1e-5}]
    index = CASES.index(case)
    scheduler = case.theirs(optimizer(case.lr))
    closed = []
    for scheduler.last_epoch in range(STEPS):
        closed += scheduler._get_closed_form_lr()
    np.testing.assert_allclose(our_values(index, True), closed, rtol=0, atol=1e-15 * case.lr)
    assert np.abs(torch_values(index) - closed).max() > TORCH_64 * case.lr


LONG = [
    ("StepLR", 1e-3, {"step_size": 30_000, "gamma": 0.9}),
    ("StepLR", 1e-3, {"step_size": 3, "gamma": 0.99999}),
    ("MultiStepLR", 1e-3, {"milestones": [10**5, 10**6, 10**6], "gamma": 0.7}),
    ("ConstantLR", 1e-3, {"factor": 0.3, "total_iters": 10**6}),
    ("LinearLR", 1e-3, {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 10**6 + 7}),
    ("ExponentialLR", 1e-3, {"gamma": 0.99999}),
    ("ExponentialLR", 1e-3, {"gamma": 1.0000001}),
    ("PolynomialLR", 1e-3, {"total_iters": 10**6 + 7, "power": 0.9}),
    ("PolynomialLR", 1e-3, {"total_iters": 10**6 + 7, "power": 3.0}),
    ("CosineAnnealingLR", 1e-3, {"T_max": 10**6 + 7}),
    ("CosineAnnealingLR", 1e-3, {"T_max": 997, "eta_min": 1e-6}),
    ("CosineAnnealingLR", 1e-3, {"T_max": 2**31 - 1}),
    ("CosineAnnealingWarmRestarts", 1e-3, {"T_0": 997}),
    ("CosineAnnealingWarmRestarts", 1e-3, {"T_0": 1, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", 1e-3, {"T_0": 10, "T_mult": 7, "eta_min": 1e-6}),
    ("CosineAnnealingWarmRestarts", 1e-3, {"T_0": 1, "T_mult": 10}),
    ("CyclicLR", None, {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 997}),
    (
        "CyclicLR",
        None,
        {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 99_991, "mode": "triangular2"},
    ),
    (
        "CyclicLR",
        None,
        {"base_lr": 0.0, "max_lr": 0.1, "step_size_up": 99, "mode": "exp_range", "gamma": 0.99999},
    ),
    ("OneCycleLR", None, {"max_lr": 1e-2, "total_steps": 10**6 + 7}),
    ("OneCycleLR", None, {"max_lr": 1e-2, "total_steps": 2 * 10**6 + 1, "three_phase": True}),
    ("OneCycleLR momentum", None, {"total_steps": 10**6 + 7, "anneal_strategy": "linear"}),
]


@pytest.mark.parametrize("row", LONG, ids=lambda row: f"{row[0]}-{row[2]}"[:60].replace(" ", "-"))
def test_after_a_million_steps(row):
    case = Case(*row)
    counts = [999_983, 999_999, 10**6, 10**6 + 6, 10**6 + 7, 2 * 10**6, 2**24 + 1, 2**31 - 1]
    if "gamma" in case.settings and case.name != "MultiStepLR":
        counts = counts[:6]  # the exact power takes its time
    exact = [case.exact(count) for count in counts]
    narrow = batch(case.ours(), jnp.asarray(counts))
    with jax.enable_x64(True):
        wide = batch(case.ours(), jnp.asarray(counts))
    for i, count in enumerate(counts):
        assert ulp_32(narrow[i], exact[i]) <= ULP_32, count
        assert relative_64(wide[i], exact[i]) <= EXACT_64, count


SOME = 300
rates = st.floats(1e-6, 10.0)
parts = st.floats(0.0, 1.0, allow_subnormal=False)
lengths = st.integers(1, 400)
DRAWN = {
    "StepLR": {"step_size": st.integers(1, 60), "gamma": st.floats(0.5, 1.05)},
    "MultiStepLR": {
        "milestones": st.lists(st.integers(0, 350), max_size=9),
        "gamma": st.floats(0.1, 1.5),
    },
    "ConstantLR": {"factor": st.floats(0.01, 1.0), "total_iters": lengths},
    "LinearLR": {"start_factor": st.floats(0.01, 1.0), "end_factor": parts, "total_iters": lengths},
    "ExponentialLR": {"gamma": st.floats(0.5, 1.05)},
    "PolynomialLR": {"total_iters": lengths, "power": st.floats(0.0, 5.0)},
    "CosineAnnealingLR": {"T_max": lengths, "eta_min": parts},
    "CosineAnnealingWarmRestarts": {
        "T_0": st.integers(1, 60),
        "T_mult": st.integers(1, 4),
        "eta_min": parts,
    },
    "CyclicLR": {
        "base_lr": parts,
        "max_lr": rates,
        "step_size_up": st.integers(1, 80),
        "step_size_down": st.none() | st.integers(1, 80),
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": st.floats(0.9, 1.01),
    },
    "CyclicLR momentum": {
        "base_momentum": parts,
        "max_momentum": parts,
        "step_size_up": st.integers(1, 80),
        "step_size_down": st.none() | st.integers(1, 80),
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": st.floats(0.9, 1.0),
    },
    "OneCycleLR": {
        "max_lr": rates,
        "total_steps": st.integers(2, 400),
        "pct_start": st.floats(0.05, 0.5) | parts,
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(0.5, 100.0),
        "final_div_factor": st.floats(0.5, 1e6),
        "three_phase": st.booleans(),
    },
    "OneCycleLR momentum": {
        "base_momentum": parts,
        "max_momentum": parts,
        "total_steps": st.integers(2, 400),
        "pct_start": st.floats(0.05, 0.5) | parts,
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "three_phase": st.booleans(),
    },
}


@pytest.mark.parametrize("name", DRAWN)
@hypothesis_settings(max_examples=40)
@given(data=st.data())
def test_drawn_settings_equal_torch(name, data):
    options = {key: data.draw(strategy, label=key) for key, strategy in DRAWN[name].items()}
    assume(options.get("pct_start", 0.5) * options.get("total_steps", 0) != 1)
    case = Case(name, None if name.startswith(OWN_RANGE) else data.draw(rates), options)
    theirs = np.array(case.run_torch(min(SOME, options.get("total_steps", SOME))))
    with jax.enable_x64(True):
        # Not compiled, so that the constants of one example cost nothing in the next.
        ours = np.asarray(case.ours()(jnp.arange(SOME)))[: len(theirs)]
    peak = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TORCH_64 * peak)
    for count in (0, 1, len(theirs) // 3, len(theirs) - 1):
        floor = Decimal("1e-14") * Decimal(peak)  # 1 - pct * n near a milestone is not exact
        exact = case.exact(count)
        assert abs(Decimal(float(ours[count])) - exact) <= Decimal(EXACT_64) * abs(exact) + floor


def test_one_cycle_holds_its_end_where_torch_goes_below_zero():
    case = Case(
        "OneCycleLR", None, {"max_lr": 1.0, "total_steps": 100, "anneal_strategy": "linear"}
    )
    theirs = case.run_torch(101)
    assert theirs[100] < 0 < theirs[99]
    np.testing.assert_allclose(case.ours()(jnp.array([99, 100, 10**6])), theirs[99], rtol=1e-6)


# --- warm-ups -----------------------------------------------------------------------------------


def warmup_exact(kind, t, peak, w, n=None, d=None, start=0.0, end=0.0):
    peak, start, end = Decimal(peak), Decimal(start), Decimal(end)
    if t < w:
        return peak * (start + (1 - start) * t / w)
    if kind == "inverse_sqrt":
        return peak * (Decimal(w) / t).sqrt()
    first = n - d if kind == "stable_decay" else w
    done = Decimal(min(max(t - first, 0), n - first)) / (n - first)
    left = (1 + cos(PI * done)) / 2 if kind == "cosine" else 1 - done
    return peak * (end + (1 - end) * left)


WARMUPS = [
    ("cosine", {"warmup_steps": 100, "total_steps": 5000}),
    ("cosine", {"warmup_steps": 0, "total_steps": 9999, "end_factor": 0.1}),
    ("cosine", {"warmup_steps": 1, "total_steps": 2, "start_factor": 0.5, "end_factor": 1.0}),
    ("cosine", {"warmup_steps": 9998, "total_steps": 9999, "start_factor": 1e-3}),
    ("cosine", {"warmup_steps": 2000, "total_steps": 1_000_000, "end_factor": 0.1}),
    ("linear", {"warmup_steps": 100, "total_steps": 5000}),
    ("linear", {"warmup_steps": 0, "total_steps": 9999, "end_factor": 0.1}),
    ("linear", {"warmup_steps": 3, "total_steps": 9000, "start_factor": 1.0}),
    ("inverse_sqrt", {"warmup_steps": 1}),
    ("inverse_sqrt", {"warmup_steps": 4000}),
    ("inverse_sqrt", {"warmup_steps": 100, "start_factor": 0.01}),
    ("stable_decay", {"warmup_steps": 100, "decay_steps": 2000, "total_steps": 9000}),
    ("stable_decay", {"warmup_steps": 0, "decay_steps": 1, "total_steps": 1}),
    (
        "stable_decay",
        {"warmup_steps": 500, "decay_steps": 500, "total_steps": 1000, "end_factor": 0.01},
    ),
]


@pytest.mark.parametrize("row", WARMUPS, ids=lambda row: f"{row[0]}-{row[1]}"[:70])
def test_warmups_equal_their_formulas(row):
    kind, options = row
    short = {
        "warmup_steps": "w",
        "total_steps": "n",
        "decay_steps": "d",
        "start_factor": "start",
        "end_factor": "end",
    }
    schedule = getattr(s, f"warmup_{kind}")(3e-4, **options)
    edges = {options[key] + i for key in options if "steps" in key for i in (-1, 0, 1)}
    counts = sorted({0, 1, 7, 999, 10**6, *edges, *range(0, STEPS, 501)} - {-1})
    narrow = batch(schedule, jnp.asarray(counts))
    with jax.enable_x64(True):
        wide = batch(schedule, jnp.asarray(counts))
    for i, count in enumerate(counts):
        with localcontext(prec=80):
            exact = warmup_exact(kind, count, 3e-4, **{short[k]: v for k, v in options.items()})
        assert relative_64(wide[i], exact) <= EXACT_64, count
        assert ulp_32(narrow[i], exact) <= ULP_32, count


def test_warmup_cosine_and_cosine_decay_equal_optax():
    with jax.enable_x64(True):
        counts = jnp.arange(STEPS)  # int64: given int32, optax computes in float32
        schedule = s.warmup_cosine(0.3, warmup_steps=50, total_steps=800, end_factor=0.1)
        ours = batch(schedule, counts)
        theirs = batch(optax.warmup_cosine_decay_schedule(0.0, 0.3, 50, 800, 0.03), counts)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME_64)
        ours = batch(s.cosine_decay(0.3, T_max=700, eta_min=0.03), counts)
        theirs = batch(optax.cosine_decay_schedule(0.3, 700, alpha=0.1), counts)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME_64)
        rises = batch(s.cosine_annealing_lr(0.3, T_max=700, eta_min=0.03))
        assert np.all(ours[700:] == 0.03)
        assert rises[1400] == 0.3


# --- pure functions -----------------------------------------------------------------------------

# Everything that takes parameters that may be traced: (function of them, three values of each).
TRACED = {
    "constant": (s.constant, [(0.1, 0.5, 2.0)]),
    "tabulated": (
        lambda a, b: s.tabulated(jnp.stack([a, b, a * b])),
        [(0.1, 0.5, 2.0), (1.0, 0.25, 3.0)],
    ),
    "lambda_lr": (
        lambda lr, rate: s.lambda_lr(lr, lr_lambda=lambda t: 1 / (1 + rate * t)),
        [(0.1, 0.5, 2.0), (1.0, 0.25, 3.0)],
    ),
    "multiplicative_lr": (
        lambda lr: s.multiplicative_lr(lr, lr_lambda=lambda t: 1 - 0.5 / t, total_steps=50),
        [(0.1, 0.5, 2.0)],
    ),
    "step_lr": (
        lambda lr, n, gamma: s.step_lr(lr, step_size=n, gamma=gamma),
        [(0.1, 0.5, 2.0), (1, 7, 400), (0.5, 0.9375, 1.0625)],
    ),
    "multi_step_lr": (
        lambda lr, m, n, gamma: s.multi_step_lr(lr, milestones=[m, n], gamma=gamma),
        [(0.1, 0.5, 2.0), (1, 70, 400), (90, 7, 30), (0.5, 0.9375, 1.0625)],
    ),
    "constant_lr": (
        lambda lr, factor, n: s.constant_lr(lr, factor=factor, total_iters=n),
        [(0.1, 0.5, 2.0), (0.5, 0.0, 1.0), (1, 7, 400)],
    ),
    "linear_lr": (
        lambda lr, a, b, n: s.linear_lr(lr, start_factor=a, end_factor=b, total_iters=n),
        [(0.1, 0.5, 2.0), (0.5, 0.0, 1.0), (0.25, 1.0, 0.0), (1, 70, 400)],
    ),
    "exponential_lr": (
        lambda lr, gamma: s.exponential_lr(lr, gamma=gamma),
        [(0.1, 0.5, 2.0), (0.5, 0.9375, 1.0078125)],
    ),
    "polynomial_lr": (
        lambda lr, n, power: s.polynomial_lr(lr, total_iters=n, power=power),
        [(0.1, 0.5, 2.0), (1, 70, 400), (0.5, 1.0, 2.5)],
    ),
    "cosine_annealing_lr": (
        lambda lr, n, low: s.cosine_annealing_lr(lr, T_max=n, eta_min=low),
        [(0.1, 0.5, 2.0), (1, 70, 400), (0.0, 0.01, 0.5)],
    ),
    "cosine_decay": (
        lambda lr, n, low: s.cosine_decay(lr, T_max=n, eta_min=low),
        [(0.1, 0.5, 2.0), (1, 70, 400), (0.0, 0.01, 0.5)],
    ),
    "cosine_annealing_warm_restarts": (
        lambda lr, n, low: s.cosine_annealing_warm_restarts(lr, T_0=n, T_mult=3, eta_min=low),
        [(0.1, 0.5, 2.0), (1, 7, 400), (0.0, 0.01, 0.5)],
    ),
    "cyclic_lr": (
        lambda lr, peak, up, down, gamma: s.cyclic_lr(
            lr, peak, step_size_up=up, step_size_down=down, mode="exp_range", gamma=gamma
        ),
        [(0.1, 0.0, 0.5), (1.0, 2.0, 3.0), (1, 30, 4), (5, 50, 1), (1.0, 0.96875, 0.984375)],
    ),
    "cyclic_momentum": (
        lambda low, high, up: s.cyclic_momentum(low, high, step_size_up=up, mode="triangular2"),
        [(0.5, 0.8, 0.0), (0.9, 0.95, 0.5), (1, 30, 4)],
    ),
    "one_cycle_lr": (
        lambda peak, n, pct, div: s.one_cycle_lr(
            peak, total_steps=n, pct_start=pct, div_factor=div, three_phase=True
        ),
        [(0.1, 0.5, 2.0), (90, 128, 400), (0.25, 0.5, 0.0), (2.0, 16.0, 25.0)],
    ),
    "one_cycle_momentum": (
        lambda low, high, n: s.one_cycle_momentum(low, high, total_steps=n),
        [(0.5, 0.8, 0.0), (0.9, 0.95, 0.5), (90, 128, 400)],
    ),
    "sequential_lr": (
        lambda lr, a, b: s.sequential_lr(
            [s.constant(lr), s.exponential_lr(lr, gamma=0.5), s.linear_lr(lr)], milestones=[a, b]
        ),
        [(0.1, 0.5, 2.0), (0, 3, 50), (5, 3, 60)],
    ),
    "chained_lr": (
        lambda lr, n: s.chained_lr(lr, factors=[s.linear_lr(1.0, total_iters=n), s.constant(0.5)]),
        [(0.1, 0.5, 2.0), (1, 70, 400)],
    ),
    "warmup_cosine": (
        lambda lr, w, n, a, b: s.warmup_cosine(
            lr, warmup_steps=w, total_steps=n, start_factor=a, end_factor=b
        ),
        [(0.1, 0.5, 2.0), (0, 9, 99), (50, 70, 100), (0.0, 0.5, 1.0), (0.0, 0.1, 1.0)],
    ),
    "warmup_linear": (
        lambda lr, w, n: s.warmup_linear(lr, warmup_steps=w, total_steps=n),
        [(0.1, 0.5, 2.0), (0, 9, 99), (50, 70, 100)],
    ),
    "warmup_inverse_sqrt": (
        lambda lr, w: s.warmup_inverse_sqrt(lr, warmup_steps=w),
        [(0.1, 0.5, 2.0), (1, 9, 99)],
    ),
    "warmup_stable_decay": (
        lambda lr, w, d, n: s.warmup_stable_decay(lr, warmup_steps=w, decay_steps=d, total_steps=n),
        [(0.1, 0.5, 2.0), (0, 9, 50), (1, 9, 50), (50, 70, 100)],
    ),
}
NOT_SCHEDULES = {"Scalar", "Schedule", "ReduceLROnPlateauState", "reduce_lr_on_plateau", "plot"}
FEW = jnp.arange(120)
by_function = pytest.mark.parametrize("name", TRACED)


def set_apart(exception):
    return [name for name in TRACED if name != exception]


def sample(name):
    make, values = TRACED[name]
    return make(
        *(jnp.asarray(column[1]) if name == "tabulated" else column[1] for column in values)
    )


def test_every_public_schedule_is_in_the_table():
    public = {name for name in vars(s) if not name.startswith("_")}
    assert public - NOT_SCHEDULES == set(TRACED)


@by_function
def test_vmap_over_parameters_equals_a_loop(name):
    make, columns = TRACED[name]

    def run(*parameters):
        return jax.vmap(make(*parameters))(FEW)

    together, single = jax.jit(jax.vmap(run))(*map(jnp.asarray, columns)), jax.jit(run)
    apart = [single(*map(jnp.asarray, row)) for row in zip(*columns, strict=True)]
    np.testing.assert_allclose(together, apart, rtol=0, atol=SAME_32 * np.abs(apart).max())


@pytest.mark.parametrize("name", set_apart("tabulated"))  # it has no Python numbers here
def test_traced_parameters_equal_python_numbers(name):
    make, columns = TRACED[name]
    rows = list(zip(*columns, strict=True))
    with jax.enable_x64(True):
        run = jax.jit(lambda *parameters: jax.vmap(make(*parameters))(FEW))
        for row in rows:
            np.testing.assert_allclose(run(*row), make(*row)(FEW), rtol=EXACT_64, atol=SAME_64)
        assert run._cache_size() == 1


@by_function
def test_jit_and_batch_equal_eager(name):
    schedule = sample(name)
    counts = [0, 1, 7, 70, 119]
    eager = [schedule(count) for count in counts]
    np.testing.assert_allclose(batch(schedule, jnp.asarray(counts)), eager, rtol=SAME_32, atol=1e-8)
    np.testing.assert_allclose(schedule(jnp.asarray(counts)), eager, rtol=SAME_32, atol=1e-8)


@by_function
@pytest.mark.parametrize("x64", [False, True])
def test_result_is_a_strong_scalar_of_the_default_float(name, x64):
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("standard"):
        schedule = sample(name)
        dtype = jnp.float64 if x64 else jnp.float32
        kinds = [3, np.int64(3), jnp.int32(3), jnp.uint32(3), jnp.int8(3), jnp.asarray(3)]
        for count in kinds:
            for value in (schedule(count), jax.eval_shape(schedule, count)):
                assert (value.dtype, value.shape, value.weak_type) == (dtype, (), False)
        counts = jnp.arange(5, dtype=jnp.int32)
        batched = jax.eval_shape(schedule, counts)
        assert (batched.dtype, batched.shape, batched.weak_type) == (dtype, (5,), False)


@pytest.mark.parametrize("name", set_apart("lambda_lr"))  # whose function promotes, by itself
def test_strict_promotion_and_negative_counts(name):
    with jax.numpy_dtype_promotion("strict"):
        schedule = sample(name)
        assert schedule(jnp.int32(-5)) == schedule(jnp.int32(0)) == schedule(-(2**31))


@by_function
def test_gradients_are_finite(name):
    make, columns = TRACED[name]
    reals = [i for i, column in enumerate(columns) if isinstance(column[0], float)]

    def total(*parameters):
        return jnp.sum(make(*parameters)(FEW))

    gradient = jax.jit(jax.grad(total, argnums=tuple(reals)))
    for row in zip(*columns, strict=True):
        assert np.all(np.isfinite(gradient(*map(jnp.asarray, row))))


def test_a_warm_up_length_may_be_searched_as_a_float():
    def loss(w):
        return jnp.sum(s.warmup_cosine(1.0, warmup_steps=w, total_steps=100)(FEW))

    w = jnp.array([1.0, 10.5, 50.0])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))(w)
    np.testing.assert_allclose(values[0], loss(1), rtol=1e-6)
    assert np.all(np.isfinite(gradients))
    assert np.all(np.diff(values) != 0)


def test_corners_that_a_sweep_may_reach_are_finite():
    """Python numbers are refused there, see ERRORS; traced ones cannot be."""

    def long_warmup(w):
        return s.warmup_linear(1.0, warmup_steps=w, total_steps=10, end_factor=0.5)(jnp.arange(15))

    def rise_of_no_length(n):
        return s.one_cycle_lr(1.0, total_steps=n, pct_start=0.25, div_factor=2.0)(jnp.arange(4))

    warmed = jax.jit(jax.vmap(long_warmup))(jnp.array([10, 12]))
    np.testing.assert_allclose(warmed[0], [*np.arange(10) / 10, 1, 0.5, 0.5, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(warmed[1], [*np.arange(12) / 12, 1, 0.5, 0.5], rtol=1e-6)
    cycled = jax.jit(rise_of_no_length)(4)
    assert cycled[0] == 1
    assert np.all(np.diff(cycled) < 0)
    gradient = jax.grad(lambda n: jnp.sum(rise_of_no_length(n)))(4.0)
    assert np.isfinite(gradient)


def test_composes_with_optax():
    first, second = s.linear_lr(0.1, total_iters=7), s.cosine_annealing_lr(0.1, T_max=20)
    joined = optax.join_schedules([first, second], [7])
    ours = s.sequential_lr([first, second], milestones=[7])
    np.testing.assert_allclose(batch(joined, FEW), batch(ours, FEW), rtol=SAME_32, atol=1e-9)
    assert joined(3) == first(3)

    tx = optax.scale_by_learning_rate(joined)

    def step(state, _):
        updates, state = tx.update({"w": jnp.ones(2)}, state)
        return state, updates["w"][0]

    _, updates = jax.lax.scan(step, tx.init({"w": jnp.ones(2)}), length=40)
    np.testing.assert_allclose(updates, -batch(joined, FEW)[:40], rtol=SAME_32, atol=1e-9)


def test_drives_any_hyperparameter():
    cycle = {"total_steps": 30, "pct_start": 0.4}
    rate, momentum = s.one_cycle_lr(0.1, **cycle), s.one_cycle_momentum(**cycle)
    tx = optax.inject_hyperparams(optax.adam)(learning_rate=rate, b1=momentum)
    opt = optimizer(1.0)
    scheduler = torch_schedulers.OneCycleLR(opt, 0.1, **cycle)
    opt.step()
    params = jnp.ones(3)
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(30):
        _, state = update(params, state)
        now = opt.param_groups[0]
        np.testing.assert_allclose(state.hyperparams["learning_rate"], now["lr"], rtol=1e-6)
        np.testing.assert_allclose(state.hyperparams["b1"], now["betas"][0], rtol=1e-6)
        scheduler.step()
    assert update._cache_size() == 1


def test_trains_adam_as_torch_one_cycle_does():
    cycle = {"total_steps": 40, "pct_start": 0.4}
    start, curvature = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.1, 20.0])
    p, c = torch.tensor(start, requires_grad=True), torch.tensor(curvature)
    opt = torch.optim.Adam([p])
    scheduler = torch_schedulers.OneCycleLR(opt, 0.1, **cycle)
    with jax.enable_x64(True):
        rate, momentum = s.one_cycle_lr(0.1, **cycle), s.one_cycle_momentum(**cycle)
        tx = functional_adam.adam(rate, b1=momentum)
        q = jnp.asarray(start)
        state, step = tx.init(q), jax.jit(tx.update)
        for _ in range(40):
            opt.zero_grad()
            torch.sum(c * p**2).backward()
            opt.step()
            scheduler.step()
            updates, state = step(2 * curvature * q, state, q)
            q = optax.apply_updates(q, updates)
        np.testing.assert_allclose(q, p.detach().numpy(), rtol=1e-10)


# --- reduce on plateau --------------------------------------------------------------------------


@pytest.mark.parametrize("x64", [True, False])
def test_plateau_equals_torch(x64):
    reductions = 0
    for seed, options in enumerate(plateau.SETTINGS):
        losses = plateau.losses(seed)
        theirs, scheduler = plateau.in_torch(losses, 0.1, options)
        with jax.enable_x64(x64):
            ours, state = plateau.ours(losses, 0.1, options)
        np.testing.assert_allclose(ours, theirs, rtol=TORCH_64 if x64 else 1e-4, err_msg=options)
        assert state.num_bad_epochs == scheduler.num_bad_epochs
        assert state.cooldown_counter == scheduler.cooldown_counter
        np.testing.assert_array_equal(state.best, scheduler.best)
        reductions += len(np.unique(theirs)) - 1
    assert reductions > 20


@hypothesis_settings(max_examples=20)
@given(
    losses=st.lists(
        st.floats(width=32) | st.sampled_from([0.0, 1.0, 1.5]), min_size=25, max_size=25
    ),
    options=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["min", "max"]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "threshold": st.sampled_from([0.0, 1e-4, 0.5]),
            "patience": st.integers(0, 3),
            "cooldown": st.integers(0, 3),
            "factor": st.sampled_from([0.1, 0.5]),
        }
    ),
)
def test_plateau_equals_torch_on_drawn_losses(losses, options):
    theirs, scheduler = plateau.in_torch(losses, 0.1, options)
    with jax.enable_x64(True):
        ours, state = plateau.ours(losses, 0.1, options)
    np.testing.assert_allclose(ours, theirs, rtol=TORCH_64)
    assert state.num_bad_epochs == scheduler.num_bad_epochs
    np.testing.assert_array_equal(state.best, scheduler.best)


def test_plateau_trains_as_torch_does():
    options = {"patience": 3, "factor": 0.5, "cooldown": 2}
    start, curvature = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.1, 2.0])
    p, c = torch.tensor(start, requires_grad=True), torch.tensor(curvature)
    opt = torch.optim.SGD([p], lr=1.1)  # too much for the last one
    scheduler = torch_schedulers.ReduceLROnPlateau(opt, **options)
    with jax.enable_x64(True):
        tx = optax.chain(optax.sgd(1.1), s.reduce_lr_on_plateau(1.1, **options))
        q = jnp.asarray(start)
        state, step = tx.init(q), jax.jit(tx.update)
        for _ in range(60):
            loss = torch.sum(c * p**2) / 2
            opt.zero_grad()
            loss.backward()
            opt.step()
            scheduler.step(loss.item())
            value, grad = jax.value_and_grad(lambda q: jnp.sum(curvature * q**2) / 2)(q)
            updates, state = step(grad, state, q, value=value, some_other_argument=1)
            q = optax.apply_updates(q, updates)
        np.testing.assert_allclose(q, p.detach().numpy(), rtol=1e-10)
    assert scheduler.get_last_lr() == [0.55]


@pytest.mark.parametrize("x64", [True, False])
def test_plateau_state_and_updates_keep_their_dtypes(x64):
    with jax.enable_x64(x64):
        tx = s.reduce_lr_on_plateau(1e-3, patience=0)
        state = tx.init(None)
        updates = {"half": jnp.ones(2, jnp.bfloat16), "single": jnp.ones(2, jnp.float32)}
        for value in (1, 2.0, jnp.bfloat16(3), np.float64(4)):
            new_updates, new = jax.jit(tx.update)(updates, state, value=value)
            old = jax.tree.leaves((updates, state))
            for a, b in zip(old, jax.tree.leaves((new_updates, new)), strict=True):
                assert (a.dtype, a.shape, b.weak_type) == (b.dtype, b.shape, False)
            state = new
        np.testing.assert_allclose(state.learning_rate, 1e-6, rtol=1e-5)


def test_plateau_may_be_judged_by_epoch_and_vmapped():
    def last_rate(factor, patience):
        tx = s.reduce_lr_on_plateau(1.0, factor=factor, patience=patience)
        state = tx.init(None)
        for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
            _, state = tx.update({}, state, value=loss)
        return state.learning_rate

    rates = jax.jit(jax.vmap(last_rate))(jnp.array([0.5, 0.25, 0.1]), jnp.array([0, 1, 9]))
    np.testing.assert_allclose(rates, [0.125, 0.25, 1.0])


# --- live schedulers of torch -------------------------------------------------------------------

AHEAD = 60
CLOSED = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [0, 4, 4, 20, 51], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 13}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 0}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 14}),
    ("LinearLR", {"start_factor": 0.1, "total_iters": 0}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("PolynomialLR", {"total_iters": 50, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("CosineAnnealingLR", {"T_max": 200, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 3, "eta_min": 0.01}),
    ("CyclicLR", {"step_size_up": 7, "step_size_down": 3}),
    ("CyclicLR", {"step_size_up": 5, "mode": "triangular2"}),
    ("CyclicLR", {"step_size_up": 5, "mode": "exp_range", "gamma": 0.97}),
    ("OneCycleLR", {"total_steps": 120}),
    ("OneCycleLR", {"total_steps": 120, "anneal_strategy": "linear", "three_phase": True}),
    (
        "SequentialLR",
        {
            "parts": [
                ("LinearLR", {"start_factor": 0.1, "total_iters": 5}),
                ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.001}),
                ("ConstantLR", {"factor": 0.5, "total_iters": 9}),
                ("MultiStepLR", {"milestones": [0, 8], "gamma": 0.5}),
            ],
            "milestones": [5, 30, 42],
        },
    ),
    (
        "SequentialLR",
        {
            "parts": [
                ("LinearLR", {"total_iters": 10}),
                ("OneCycleLR", {"total_steps": 110}),
                ("CosineAnnealingWarmRestarts", {"T_0": 3}),
            ],
            "milestones": [4, 55],
        },
    ),
    (
        "SequentialLR",
        {
            "parts": [
                (
                    "SequentialLR",
                    {
                        "parts": [
                            ("ExponentialLR", {"gamma": 0.9}),
                            ("PolynomialLR", {"total_iters": 9}),
                        ],
                        "milestones": [7],
                    },
                ),
                ("StepLR", {"step_size": 4}),
            ],
            "milestones": [13],
        },
    ),
    (
        "SequentialLR",
        {
            "parts": [
                (
                    "ChainedScheduler",
                    {"parts": [("ExponentialLR", {"gamma": 0.9}), ("LinearLR", {})]},
                ),
                ("ExponentialLR", {"gamma": 0.8}),
            ],
            "milestones": [13],
        },
    ),
    (
        "ChainedScheduler",
        {
            "parts": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 20}),
                ("ExponentialLR", {"gamma": 0.9}),
                ("MultiStepLR", {"milestones": [3, 40]}),
                ("ChainedScheduler", {"parts": [("StepLR", {"step_size": 9}), ("LinearLR", {})]}),
                ("PolynomialLR", {"total_iters": 55}),
            ]
        },
    ),
    ("ChainedScheduler", {"parts": [("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01})]}),
]
TABULATED = [
    ("LambdaLR", {"lr_lambda": lambda t: 0.9**t if t < 30 else 0.01}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.9 if t % 3 else 1.05}),
    ("CyclicLR", {"step_size_up": 5, "scale_fn": lambda cycle: 1 / cycle}),
    ("CyclicLR", {"step_size_up": 2.5}),
    ("OneCycleLR", {"total_steps": 120, "final_div_factor": float("inf")}),
    (
        "SequentialLR",
        {
            "parts": [
                ("ExponentialLR", {"gamma": 0.9}),
                ("MultiplicativeLR", {"lr_lambda": lambda t: 0.8}),
            ],
            "milestones": [13],
        },
    ),
    (
        "ChainedScheduler",
        {"parts": [("LinearLR", {"total_iters": 9}), ("CosineAnnealingLR", {"T_max": 13})]},
    ),
    (
        "ChainedScheduler",
        {
            "parts": [
                ("ExponentialLR", {"gamma": 0.9}),
                ("LambdaLR", {"lr_lambda": lambda t: 1 / (t + 1)}),
            ]
        },
    ),
]
LIVE = CLOSED + TABULATED


def live(row, steps, rates=(0.05, 0.2)):
    name, options = LIVE[row]
    opt = optimizer(*rates)
    scheduler = make_torch(opt, name, options)
    for _ in range(steps):
        scheduler.step()
    return opt, scheduler


def rate(group):
    return group["lr"]


def go_on(opt, scheduler, read=rate):
    """Read every group now and after each of the next steps: an array (groups, 1 + AHEAD)."""
    values = [[read(group) for group in opt.param_groups]]
    for _ in range(AHEAD):
        scheduler.step()
        values.append([read(group) for group in opt.param_groups])
    return np.array(values).T


def check_live(opt, scheduler, convert=from_torch, read=rate, **table):
    before = copy.deepcopy(scheduler.state_dict())
    counts, groups = jnp.arange(AHEAD + 1), range(len(opt.param_groups))
    with jax.enable_x64(True):
        ours = [convert(scheduler, group=group, **table)(counts) for group in groups]
    assert str(scheduler.state_dict()) == str(before)
    theirs = go_on(opt, scheduler, read)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TORCH_64 * theirs.max())


def table_for(row):
    return {} if row < len(CLOSED) else {"total_steps": AHEAD}


by_row = pytest.mark.parametrize(
    "row", range(len(LIVE)), ids=[f"{i}-{row[0]}" for i, row in enumerate(LIVE)]
)


@by_row
def test_live_scheduler_goes_on(row):
    for steps in (0, 1, 4, 13, 14, 26, 55):
        check_live(*live(row, steps), **table_for(row))


@by_row
def test_live_scheduler_goes_on_from_a_learning_rate_set_by_hand(row):
    for steps in (3, 13, 15):
        opt, scheduler = live(row, steps)
        for group in opt.param_groups:
            group["lr"] = 0.037
        check_live(opt, scheduler, **table_for(row))


def test_live_scheduler_with_tensors_and_one_group():
    p = torch.zeros(1, requires_grad=True)
    opt = torch.optim.AdamW([p], lr=torch.tensor(0.5, dtype=torch.float64))
    scheduler = torch_schedulers.ExponentialLR(opt, gamma=0.5)
    opt.step()
    scheduler.step()
    schedule = from_torch(scheduler)
    opt.param_groups[0]["lr"].fill_(7.0)
    np.testing.assert_allclose(batch(schedule, jnp.arange(3)), [0.25, 0.125, 0.0625], rtol=1e-6)


@pytest.mark.parametrize("dtype", [None, torch.float64, torch.float32])
def test_live_rate_that_torch_rounded_to_below_zero_is_zero(dtype):
    """Its factors lead to -1.9e-20 of 1e-3."""
    p = torch.nn.Parameter(torch.ones(1))
    below = 0
    for factor, total in itertools.product((1 / 3, 0.1, 0.7), range(3, 25)):
        lr = 1e-3 if dtype is None else torch.tensor(1e-3, dtype=dtype)
        opt = torch.optim.AdamW([p], lr=lr)
        scheduler = torch_schedulers.LinearLR(opt, factor, 0.0, total)
        for _ in range(total):
            opt.step()
            scheduler.step()
        below += opt.param_groups[0]["lr"] < 0
        assert float(from_torch(scheduler)(3)) == pytest.approx(0, abs=1e-9)
    assert below > 5
    chained = torch_schedulers.ChainedScheduler([scheduler])
    opt.param_groups[0]["lr"] = -1e-20
    assert float(from_torch(chained, total_steps=2)(1)) == 0
    opt.param_groups[0]["lr"] = -1e-3
    with pytest.raises(ValueError, match=r"must be a finite number >= 0, got -0\.001"):
        from_torch(scheduler)


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "CyclicLR", "OneCycleLR"])
def test_live_group_that_was_added_later(name):
    """torch steps some of these schedulers on, and knows no base of the group."""
    options = {"StepLR": {"step_size": 2}, "CosineAnnealingLR": {"T_max": 30},
               "CyclicLR": {"cycle_momentum": True},
               "OneCycleLR": {"total_steps": 20, "cycle_momentum": True}}[name]  # fmt: skip
    opt = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = make_torch(opt, name, options)
    opt.step()
    scheduler.step()
    opt.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.3})
    if name in ("CyclicLR", "OneCycleLR"):
        for convert in (from_torch, momentum_from_torch):
            with pytest.raises(ValueError, match=r"group 1 was added after .* was made.*total_st"):
                convert(scheduler, group=1)
        return
    if name != "StepLR":
        with pytest.raises(ValueError, match=r"group 1 was added after Cosine.*pass total_steps=N"):
            from_torch(scheduler, group=1)
    with jax.enable_x64(True):
        ours = from_torch(scheduler, group=1, total_steps=9)(jnp.arange(10))
    theirs = [0.3]
    for _ in range(9):
        opt.step()
        scheduler.step()
        theirs.append(opt.param_groups[1]["lr"])
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_live_restarts_at_a_fraction_of_a_step_need_a_table():
    opt = optimizer(0.1)
    scheduler = torch_schedulers.CosineAnnealingWarmRestarts(opt, T_0=5)
    opt.step()
    scheduler.step(2.5)
    with pytest.raises(ValueError, match="fraction of a step: pass total_steps=N"):
        from_torch(scheduler)
    with jax.enable_x64(True):
        ours = from_torch(scheduler, total_steps=AHEAD)(jnp.arange(AHEAD + 1))
    np.testing.assert_allclose(ours, go_on(opt, scheduler)[0], rtol=0, atol=1e-15)


class Halving(torch_schedulers.LRScheduler):
    """A scheduler of one's own."""

    def get_lr(self):
        return [group["lr"] / 2 for group in self.optimizer.param_groups]


def test_a_scheduler_of_ones_own_is_tabulated():
    opt = optimizer(1.0)
    scheduler = Halving(opt)
    opt.step()
    with pytest.raises(TypeError, match=r"Halving is not .* pass total_steps=N"):
        from_torch(scheduler)
    np.testing.assert_array_equal(
        from_torch(scheduler, total_steps=2)(jnp.arange(4)), [0.5, 0.25, 0.125, 0.125]
    )


@pytest.mark.parametrize("sgd", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CyclicLR", {"step_size_up": 7, "step_size_down": 3, "mode": "triangular2"}),
        ("CyclicLR", {"step_size_up": 5, "base_momentum": [0.1, 0.2], "max_momentum": [0.7, 0.8]}),
        ("CyclicLR", {"step_size_up": 5, "scale_fn": lambda cycle: 1 / cycle}),
        ("OneCycleLR", {"total_steps": 120}),
        ("OneCycleLR", {"total_steps": 120, "base_momentum": [0.1, 0.2], "three_phase": True}),
    ],
)
def test_live_momentum_goes_on(name, options, sgd):
    table = {"total_steps": AHEAD} if "scale_fn" in options else {}
    for steps in (0, 1, 13, 40):
        opt = optimizer(0.1, 0.2, momentum=sgd)
        scheduler = make_torch(opt, name, {**options, "cycle_momentum": True})
        for _ in range(steps):
            scheduler.step()
        check_live(
            opt,
            scheduler,
            momentum_from_torch,
            lambda own: own["momentum"] if sgd else own["betas"][0],
            **table,
        )


# --- errors, isolation, plot --------------------------------------------------------------------


def torch_scheduler(name, *rates, **options):
    return make_torch(optimizer(*rates), name, options)


LEAST_ONE = r"must be an integer in \[1, 2147483647\], got"
ERRORS = {
    "negative rate": (
        lambda: s.step_lr(-1.0, step_size=3),
        ValueError,
        r"learning_rate must be a finite number >= 0, got -1.0",
    ),
    "nan": (lambda: s.constant(float("nan")), ValueError, "learning_rate .* got nan"),
    "infinite": (lambda: s.constant(np.inf), ValueError, "learning_rate .* got inf"),
    "text": (lambda: s.constant("0.1"), TypeError, "learning_rate must be a number or an array"),
    "bool": (lambda: s.step_lr(1.0, step_size=True), TypeError, "step_size .* got True"),
    "complex": (lambda: s.constant(jnp.zeros((), complex)), TypeError, "real number, .*complex"),
    "step_size": (lambda: s.step_lr(1.0, step_size=0), ValueError, f"step_size {LEAST_ONE} 0"),
    "not whole": (lambda: s.step_lr(1.0, step_size=2.5), ValueError, f"step_size {LEAST_ONE} 2.5"),
    "too many": (lambda: s.cosine_decay(1.0, T_max=2**31), ValueError, f"T_max {LEAST_ONE} 214"),
    "gamma": (
        lambda: s.exponential_lr(1.0, gamma=-1.0),
        ValueError,
        r"gamma must be a finite number > 0, got -1.0",
    ),
    "milestones": (
        lambda: s.multi_step_lr(1.0, milestones=[3, -1]),
        ValueError,
        r"milestones must be an integer in \[0, .* got -1",
    ),
    "factor": (lambda: s.constant_lr(1.0, factor=1.5), ValueError, r"factor must be in \[0, 1\]"),
    "total_iters": (lambda: s.constant_lr(1.0, total_iters=0), ValueError, LEAST_ONE),
    "start_factor": (lambda: s.linear_lr(1.0, start_factor=-0.1), ValueError, "start_factor"),
    "end_factor": (lambda: s.linear_lr(1.0, end_factor=1.1), ValueError, "end_factor .* 1.1"),
    "power": (lambda: s.polynomial_lr(1.0, power=-1), ValueError, "power .* got -1"),
    "eta_min": (lambda: s.cosine_annealing_lr(1.0, T_max=3, eta_min=-1), ValueError, "eta_min"),
    "T_0": (lambda: s.cosine_annealing_warm_restarts(1.0, T_0=0), ValueError, f"T_0 {LEAST_ONE}"),
    "T_mult": (
        lambda: s.cosine_annealing_warm_restarts(1.0, T_0=1, T_mult=jnp.asarray(2)),
        TypeError,
        "T_mult must be a Python integer",
    ),
    "mode": (
        lambda: s.cyclic_lr(0.1, 1.0, mode="square"),
        ValueError,
        "mode must be one of 'triangular', 'triangular2', 'exp_range', got 'square'",
    ),
    "scale_mode": (lambda: s.cyclic_lr(0.1, 1.0, scale_mode="x"), ValueError, "scale_mode .* 'x'"),
    "scale_fn": (lambda: s.cyclic_lr(0.1, 1.0, scale_fn=3), TypeError, "scale_fn .* function"),
    "down": (lambda: s.cyclic_lr(0.1, 1.0, step_size_down=0), ValueError, "step_size_down"),
    "momentum": (lambda: s.cyclic_momentum(-0.1), ValueError, "base_momentum .* got -0.1"),
    "pct_start": (
        lambda: s.one_cycle_lr(1.0, total_steps=10, pct_start=1.1),
        ValueError,
        r"pct_start must be in \[0, 1\], got 1.1",
    ),
    "no rise": (
        lambda: s.one_cycle_lr(1.0, total_steps=10, pct_start=0.1),
        ValueError,
        r"pct_start \* total_steps must not be 1, got 0.1 \* 10",
    ),
    "anneal": (
        lambda: s.one_cycle_lr(1.0, total_steps=9, anneal_strategy="sine"),
        ValueError,
        "anneal_strategy must be one of 'cos', 'linear', got 'sine'",
    ),
    "div_factor": (
        lambda: s.one_cycle_lr(1.0, total_steps=9, div_factor=0),
        ValueError,
        "div_factor must be a finite number > 0, got 0",
    ),
    "no schedules": (lambda: s.sequential_lr([], milestones=[]), ValueError, "at least one"),
    "too few milestones": (
        lambda: s.sequential_lr([s.constant(1.0)] * 3, milestones=[1]),
        ValueError,
        r"milestones must hold 2 steps, .* got \[1\]",
    ),
    "decreasing": (
        lambda: s.sequential_lr([s.constant(1.0)] * 3, milestones=[5, 1]),
        ValueError,
        r"milestones must not decrease, got \[5, 1\]",
    ),
    "no factors": (lambda: s.chained_lr(1.0, factors=[]), ValueError, "factors .* at least one"),
    "no values": (lambda: s.tabulated([]), ValueError, r"not empty, got shape \(0,\)"),
    "lr_lambda": (lambda: s.lambda_lr(1.0, lr_lambda=0.5), TypeError, "lr_lambda .* function"),
    "table length": (
        lambda: s.multiplicative_lr(1.0, lr_lambda=lambda t: 1.0, total_steps=jnp.asarray(3)),
        TypeError,
        "total_steps must be a Python integer",
    ),
    "warmup": (
        lambda: s.warmup_cosine(1.0, warmup_steps=10, total_steps=10),
        ValueError,
        "warmup_steps must be < total_steps 10, got 10",
    ),
    "warmup of none": (
        lambda: s.warmup_inverse_sqrt(1.0, warmup_steps=0),
        ValueError,
        f"warmup_steps {LEAST_ONE} 0",
    ),
    "decay too long": (
        lambda: s.warmup_stable_decay(1.0, warmup_steps=5, decay_steps=6, total_steps=10),
        ValueError,
        r"warmup_steps \+ decay_steps must be <= total_steps 10, got 5 \+ 6",
    ),
    "float count": (
        lambda: s.constant(1.0)(1.5),
        TypeError,
        "count must be an integer, got dtype float32",
    ),
    "float count, traced": (
        lambda: jax.jit(s.constant(1.0))(jnp.ones(())),
        TypeError,
        "count must be an integer",
    ),
    "plateau factor": (
        lambda: s.reduce_lr_on_plateau(1.0, factor=1.0),
        ValueError,
        r"factor must be in \[0, 1\), got 1.0",
    ),
    "plateau rate": (lambda: s.reduce_lr_on_plateau(0.0), ValueError, "learning_rate .* > 0"),
    "plateau mode": (
        lambda: s.reduce_lr_on_plateau(1.0, mode="least"),
        ValueError,
        "mode must be one of 'min', 'max', got 'least'",
    ),
    "plateau value": (
        lambda: s.reduce_lr_on_plateau(1.0).update({}, s.reduce_lr_on_plateau(1.0).init(None)),
        TypeError,
        "value, the loss, is missing",
    ),
    "plateau vector": (
        lambda: s.reduce_lr_on_plateau(1.0).update(
            {}, s.reduce_lr_on_plateau(1.0).init(None), value=jnp.ones(3)
        ),
        ValueError,
        r"value must be a scalar loss, got shape \(3,\)",
    ),
    "plot": (lambda: s.plot(s.constant(1.0), 0), ValueError, f"steps {LEAST_ONE} 0"),
    "live: not one": (lambda: from_torch("StepLR"), TypeError, "must be a torch scheduler"),
    "live: plateau": (
        lambda: from_torch(torch_schedulers.ReduceLROnPlateau(optimizer(0.1))),
        TypeError,
        r"losses that are not known .*\.reduce_lr_on_plateau",
    ),
    "live: function": (
        lambda: from_torch(torch_scheduler("LambdaLR", 0.1, lr_lambda=lambda t: 1.0)),
        ValueError,
        "LambdaLR calls a Python function: pass total_steps=N",
    ),
    "live: groups": (
        lambda: from_torch(torch_scheduler("StepLR", 0.1, 0.2, step_size=3)),
        ValueError,
        r"2 parameter groups: pass group=0\.\.1",
    ),
    "live: no such group": (
        lambda: from_torch(torch_scheduler("StepLR", 0.1, step_size=3), group=1),
        ValueError,
        r"group must be in \[0, 0\], got 1",
    ),
    "live: chain": (
        lambda: from_torch(
            torch_scheduler(
                "ChainedScheduler",
                0.1,
                parts=[("LinearLR", {}), ("CosineAnnealingLR", {"T_max": 9})],
            )
        ),
        ValueError,
        "do not only multiply: pass total_steps=N",
    ),
    "live: table length": (
        lambda: from_torch(
            torch_scheduler("LambdaLR", 0.1, lr_lambda=lambda t: 1.0), total_steps=0
        ),
        ValueError,
        "total_steps must be an integer >= 1, got 0",
    ),
    "live: no momentum": (
        lambda: momentum_from_torch(torch_scheduler("StepLR", 0.1, step_size=3)),
        TypeError,
        "StepLR does not cycle a momentum",
    ),
    "live: momentum off": (
        lambda: momentum_from_torch(torch_scheduler("CyclicLR", 0.1)),
        ValueError,
        "CyclicLR was made with cycle_momentum=False",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, exception, message = ERRORS[name]
    with pytest.raises(exception, match=message):
        call()


def test_plot(tmp_path):
    figure, axes = s.plot(s.cosine_decay(0.5, T_max=20), 30)
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), range(30))
    np.testing.assert_allclose(line.get_ydata()[[0, 10, 20, 29]], [0.5, 0.25, 0, 0], atol=1e-7)
    figure.savefig(tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").stat().st_size > 0


def test_plot_names_the_extra_where_matplotlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'functional_adam\[cli\]'"):
        s.plot(s.constant(1.0), 3)


@pytest.mark.parametrize(("also", "clean"), [("", True), (", torch", False)])
def test_schedules_import_neither_torch_nor_matplotlib(also, clean):
    code = (
        f"import sys, functional_adam.schedules{also}\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    assert (subprocess.run([sys.executable, "-c", code], check=False).returncode == 0) is clean
