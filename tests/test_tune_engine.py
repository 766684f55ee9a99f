"""A population is what torch trains one by one, in one trace, with neighbours that never touch."""

from __future__ import annotations

import dataclasses
import threading

import jax
import numpy as np
import pytest
import tune_worker
from processes import free_port, reports
from tune_tasks import STEPS, by_torch, tiny, trials

from functional_adam.tune import (
    Execution,
    Paused,
    StopRule,
    _choose,
    held_out,
    population,
    traces,
)
from functional_adam.tune._program import program

LANES = Execution(lanes=4)
# torch's schedule is in double, ours in float32: a unit in the last place of each rate.
CLOSE = dict(rtol=2e-5, atol=2e-6)


@pytest.fixture(scope="module")
def task():
    return tiny()


@pytest.fixture(scope="module")
def some():
    return trials(6)


@pytest.fixture(scope="module")
def trained(task, some):
    return population(task, some, execution=LANES, keep_params=True)


def same(a, b):
    """Every bit of every parameter and figure."""
    assert a.curve == b.curve
    assert a.validation == b.validation
    assert a.metrics == b.metrics
    if a.params is not None and b.params is not None:
        jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


def residuals(params, data):
    return np.tanh(data["x"] @ params["w"]) @ params["v"] - data["y"]


def test_each_lane_is_what_torch_trains(task, some, trained):
    for trial, outcome in zip(some, trained, strict=True):
        assert outcome.trial is trial
        expected = by_torch(task, trial)
        for name in expected:
            np.testing.assert_allclose(outcome.params[name], expected[name], **CLOSE)
        assert outcome.steps == STEPS
        assert [at for at, _ in outcome.curve] == [0, 6, 12, 18, 24]
        assert outcome.validation == outcome.curve[-1][1]
        wrong = residuals(outcome.params, task.validation)
        assert outcome.validation == pytest.approx((wrong**2).mean(), rel=1e-5)
        assert outcome.metrics["error"] == pytest.approx(np.abs(wrong).mean(), rel=1e-5)


def test_the_same_weights_and_batches_for_a_seed(trained):
    starts = {o.trial.seed: set() for o in trained}
    for o in trained:
        starts[o.trial.seed].add(o.curve[0])
    assert [len(s) for s in starts.values()] == [1, 1]
    assert starts[0] != starts[1]


def test_no_value_no_round_and_no_rung_compiles(task, some, trained):
    population(task, trials(3, seed=9, steps=7), execution=LANES)
    population(task, trials(9, seed=5), execution=LANES, stop=StopRule((6, 10)))
    assert traces(task) == {(program(task, *_group(some), LANES).group, 4): 1}


def _group(some):
    from functional_adam.tune._hyper import group_of

    return (group_of(some[0].config),)


def test_a_lane_that_diverges_touches_no_other(task, some, trained):
    bad = [
        dict(learning_rate=1e30), dict(learning_rate=1e4, weight_decay=1e30), dict(eps=0.0),
    ]  # fmt: skip
    mixed = list(some)
    for i, values in enumerate(bad):
        wrong = trials(1, seed=i, **values)[0]
        mixed.insert(2 * i, wrong)
    outcomes = population(task, mixed, execution=LANES, keep_params=True)
    for outcome in outcomes:
        for known in trained:
            if known.trial is outcome.trial:
                same(outcome, known)
    gone = [o for o in outcomes if o.diverged]
    assert len(gone) >= 2
    for o in gone:
        assert o.validation == pytest.approx(1.5 * o.curve[0][1])
        assert o.steps < STEPS  # its lane was freed


def test_the_place_of_a_trial_does_not_matter(task, some, trained):
    back = population(task, some[::-1], execution=Execution(lanes=4, workers=2), keep_params=True)
    for a, b in zip(back[::-1], trained, strict=True):
        same(a, b)


def test_a_training_that_goes_on_ends_as_one_that_never_stopped(task, some, trained):
    paused = Paused()
    for steps in (5, 12):
        short = [type(t)(t.config, t.seed, steps, t.of) for t in some]
        population(task, short, execution=LANES, paused=paused)
    assert len(paused) == len(some)
    rest = []
    outcomes = population(
        task, some, execution=LANES, paused=paused, keep_params=True, on_progress=rest.append
    )
    for a, b in zip(outcomes, trained, strict=True):
        same(a, b)
    assert rest[-1].steps == rest[-1].total == len(some) * (STEPS - 12)
    again = population(task, some, execution=LANES, paused=paused)
    for a, b in zip(again, trained, strict=True):
        same(a, b)


def test_a_halving_keeps_what_was_trained_further(task, some, trained):
    """A state beyond the first rung is no use there, and is gone on from later."""
    paused, seen = Paused(), []
    further = [dataclasses.replace(t, steps=18) for t in some[:2]]
    population(task, further, execution=LANES, paused=paused)
    stop = StopRule((6,), keep=0.9)
    options = dict(execution=LANES, paused=paused, keep_params=True)
    outcomes = population(task, some[:2], stop=stop, on_progress=seen.append, **options)
    for a, b in zip(outcomes, trained[:2], strict=True):
        same(a, b)
    assert seen[-1].steps == 2 * (6 + STEPS - 18)


def test_halving_stops_the_worst_and_finishes_the_best(task, some, trained):
    seen = []
    halved = population(
        task, some, execution=LANES, stop=StopRule((6, 12), keep=0.5), on_done=seen.append
    )
    assert sorted(o.steps for o in halved) == [6, 6, 6, 12, 24, 24]
    at_first = sorted(trained, key=lambda o: dict(o.curve)[6])
    assert {o.trial.config["learning_rate"] for o in halved if o.steps > 6} == {
        o.trial.config["learning_rate"] for o in at_first[:3]
    }
    for o, full in zip(halved, trained, strict=True):
        assert o.stopped == (o.steps < STEPS)
        assert o.trial is full.trial
        if not o.stopped:
            same(o, full)
    assert len(seen) == len(some)


def test_amsgrad_is_data(task):
    on, off = (trials(2, amsgrad=flag) for flag in (True, False))
    outcomes = population(task, [*on, *off], execution=LANES, keep_params=True)
    for outcome in outcomes:
        expected = by_torch(task, outcome.trial)
        for name in expected:
            np.testing.assert_allclose(outcome.params[name], expected[name], **CLOSE)
    assert sum(n for (g, _), n in traces(task).items() if g.selects) == 1


@pytest.mark.parametrize("dialect", ["PAPER", "OPTAX", "KERAS"])
def test_amsgrad_that_is_off_is_the_same_as_none(dialect):
    (without,) = trials(1, algorithm="adam", dialect=dialect, b2=0.8)
    off, on = (
        dataclasses.replace(without, config={**without.config, "amsgrad": flag})
        for flag in (False, True)
    )
    alone, beside, other = population(tiny(), [without, off, on], execution=LANES)
    assert beside.validation == pytest.approx(alone.validation, rel=1e-5)
    assert abs(other.validation / alone.validation - 1) > 1e-3


def test_shards_are_lanes(task, some, trained):
    outcomes = population(task, some, execution=Execution(lanes=1, devices=4))
    for a, b in zip(outcomes, trained, strict=True):
        np.testing.assert_allclose(a.validation, b.validation, rtol=1e-5)


def test_an_execution_holds_numbers_of_python():
    how = Execution(lanes=np.int64(4), workers=np.arange(3)[2])
    assert (how, [type(x) for x in dataclasses.astuple(how)]) == (Execution(4, 1, 2), [int] * 3)
    for name, value in (("lanes", 0), ("devices", 1.5), ("workers", True)):
        with pytest.raises(ValueError, match=f"{name} of an Execution must be an integer >= 1"):
            Execution(**{name: value})


@pytest.mark.parametrize("lanes", [1, 2])
def test_devices_that_are_not_there(task, some, lanes):
    with pytest.raises(ValueError, match=r"execution wants 99 devices, but there are \d+"):
        population(task, some, execution=Execution(lanes=lanes, devices=99))


def test_an_interrupted_call_has_delivered_what_was_finished(task):
    seen = []

    def on_done(outcome):
        seen.append(outcome)
        if len(seen) == 2:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        population(task, trials(40), execution=LANES, on_done=on_done)
    # Four lanes end together: the two after the interruption are not lost.
    assert 4 <= len(seen) < 40
    assert len(seen) % 4 == 0
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_progress_that_always_raises_loses_nothing(task, error):
    seen = []

    def enough(progress):
        if progress.finished:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        population(task, trials(4), execution=LANES, on_done=seen.append, on_progress=enough)
    assert len(seen) == 4  # they end together


def test_outcomes_that_cannot_be_written_do_not_keep_others_from_being_told(task):
    seen = []

    def full(outcome):
        seen.append(outcome)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        population(task, trials(4), execution=LANES, on_done=full)
    assert len(seen) == 4


def test_of_a_halving_what_has_ended_is_told_at_once(task, some):
    """One is as short as the first rung, one diverges: neither waits for the end of a rung."""
    short = dataclasses.replace(some[0], steps=6)
    bad = trials(1, learning_rate=1e30)[0]
    seen = []

    def enough(progress):
        if progress.finished == 2:
            raise KeyboardInterrupt

    options = dict(execution=LANES, on_done=seen.append, on_progress=enough)
    with pytest.raises(KeyboardInterrupt):
        population(task, [bad, short, *some[1:]], stop=StopRule((6, 12), keep=0.5), **options)
    assert {id(o.trial) for o in seen} == {id(bad), id(short)}
    assert [o.diverged for o in seen] == [True, False]


def test_held_out_is_the_loss_there(task, some, trained):
    losses = held_out(task, some[:2], execution=LANES)
    for loss, o in zip(losses, trained[:2], strict=True):
        assert loss == pytest.approx((residuals(o.params, task.held_out) ** 2).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="has no held_out data"):
        held_out(tiny(held_out=None), some[:1])


def test_progress_is_told(task, some, trained):
    seen = []
    population(task, some, execution=LANES, on_progress=seen.append)
    last = seen[-1]
    assert (last.finished, last.trials, last.steps, last.total) == (6, 6, 6 * STEPS, 6 * STEPS)
    assert last.best == min(o.validation for o in trained)
    assert all(p.left is None or p.left >= 0 for p in seen)
    assert {p.lanes for p in seen} <= {1, 2, 3, 4}


def test_progress_of_a_halving_is_one_count(task, some):
    seen = []
    halved = population(
        task, some, execution=LANES, stop=StopRule((6, 12), keep=0.5), on_progress=seen.append
    )
    finished = [p.finished for p in seen]
    assert finished == sorted(finished)
    assert {p.trials for p in seen} == {6}
    assert (seen[0].total, seen[0].finished) == (6 * STEPS, 0)
    last, made = seen[-1], sum(o.steps for o in halved)
    assert (last.finished, last.steps, last.total) == (6, made, made)
    assert last.best == min(o.validation for o in halved)


def test_two_hosts_share_the_trials(trained, tmp_path):
    """Eight virtual devices in two processes: both know all outcomes, those of one process."""
    flags = f"--xla_force_host_platform_device_count={tune_worker.DEVICES}"
    first, second = reports(tune_worker, free_port(), folder=tmp_path, XLA_FLAGS=flags)
    assert first == second
    for (rate, curve), known in zip(first, trained, strict=True):
        assert rate == known.trial.config["learning_rate"]
        np.testing.assert_allclose(curve, known.curve, rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "fits", "tried", "chosen"),
    [
        (300, 1024, [64, 256, 300], 300),  # 300 is as wide as the trials are
        (40, 1024, [40], 40),
        (300, 100, [64, 256], 64),
        (300, 9, [64, 16, 4], 4),
        (3, 1, [3, 1], 1),
    ],
)
def test_an_accelerator_starts_wide(n, fits, tried, chosen, monkeypatch):
    """More lanes are faster until they do not fit; what does not is followed by fewer."""
    seen = []

    class Made:
        bytes_per_lane = compile_seconds = 0

        def __init__(self, lanes):
            self.lanes = lanes

        def compile(self, trial):
            seen.append(self.lanes)
            if self.lanes > fits:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(_choose, "program", lambda task, group, execution: Made(execution.lanes))
    monkeypatch.setattr(_choose, "_time", lambda made, execution, trials: 1 / execution.lanes)
    assert _choose._measured(None, trials(n), n) == Execution(chosen)
    assert seen == tried


def test_what_fits_nowhere_is_said(monkeypatch):
    def fails(program, trial):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(_choose.Program, "compile", fails)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        _choose._measured(tiny(), trials(3), 3)
