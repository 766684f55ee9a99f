"""Strategies: within their budget, deterministic, and each as it is described."""

from __future__ import annotations

import numpy as np
import pytest
from tune_synthetic import SPACE, STEPS, Surface

from functional_adam.tune import STRATEGIES, adamw_space, optuna_sampler
from functional_adam.tune.budget import Budget
from functional_adam.tune.comparison import compare
from functional_adam.tune.log import Log
from functional_adam.tune.strategies._search import configs_at
from functional_adam.tune.work import Work

FAST = [name for name in STRATEGIES if name != "gp"]
WIDE = adamw_space("eps", "amsgrad", "warmup", "final", "dialect", steps=STEPS)


def rounds(strategy, runs, *, space=SPACE, seed=0, surface=None, half=False):
    """All rounds of a search with their losses."""
    surface = surface or Surface()
    search = strategy(space, Budget(runs, STEPS, 7, half), np.random.default_rng(seed))
    found, trials = [], next(search)
    while True:
        outcomes = [surface.outcome(trial) for trial in trials]
        found.append([(t, o.validation) for t, o in zip(trials, outcomes, strict=True)])
        try:
            trials = search.send(outcomes)
        except StopIteration:
            return found


def trials_of(found):
    return [trial for each in found for trial, _ in each]


@pytest.mark.parametrize("runs", [2, 4, 12, 48])
@pytest.mark.parametrize("name", FAST)
def test_a_budget_is_spent_and_not_exceeded(name, runs):
    found = trials_of(rounds(STRATEGIES[name], runs))
    cost = sum(trial.steps for trial in found) / STEPS
    assert runs - 1 < cost <= runs
    assert {trial.seed for trial in found} == {7}
    assert all(trial.steps == trial.of for trial in found)


@pytest.mark.parametrize("name", FAST)
def test_the_same_seed_and_losses_make_the_same_search(name):
    once, again = (rounds(STRATEGIES[name], 16, seed=5) for _ in range(2))
    assert once == again
    assert rounds(STRATEGIES[name], 16, seed=6) != once or name == "ladder" or name == "auto"


@pytest.mark.parametrize("name", FAST)
def test_every_kind_of_dimension_can_be_searched(name):
    found = trials_of(rounds(STRATEGIES[name], 24, space=WIDE))
    for trial in found:
        assert set(trial.config) >= set(WIDE.names)
        assert isinstance(trial.config["amsgrad"], bool)
    assert len({trial.config["b2"] for trial in found}) > 1


@pytest.mark.parametrize("name", FAST)
def test_a_space_without_a_learning_rate_can_be_searched(name):
    space = SPACE.with_(learning_rate=3e-3)
    found = trials_of(rounds(STRATEGIES[name], 12, space=space))
    assert {trial.config["learning_rate"] for trial in found} == {3e-3}


def test_a_gaussian_process_proposes_as_well():
    found = trials_of(rounds(STRATEGIES["gp"], 9))
    assert len(found) == 9


def test_any_sampler_of_optuna_is_a_strategy():
    import optuna

    strategy = optuna_sampler(lambda seed: optuna.samplers.NSGAIISampler(seed=seed), batch=3)
    assert [len(each) for each in rounds(strategy, 8)] == [3, 3, 2]
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        optuna_sampler(lambda seed: optuna.samplers.RandomSampler(seed=seed), batch=0)


def test_auto_begins_with_a_fan_of_learning_rates():
    for runs in (4, 12, 48):
        fan = [trial for trial, _ in rounds(STRATEGIES["auto"], runs)[0]]
        assert len(fan) >= 6
        rates = [trial.config["learning_rate"] for trial in fan]
        assert rates == sorted(rates)
        assert (rates[0], rates[-1]) == (1e-4, 1e-1)
        assert {trial.steps for trial in fan} == {STEPS // 4}
        # The decay of a step stays; all else is at the default.
        products = [t.config["learning_rate"] * t.config["weight_decay"] for t in fan]
        assert products == pytest.approx([1e-5] * len(fan), rel=1e-3)
        assert {(t.config["b1"], t.config["b2"]) for t in fan} == {(0.9, 0.999)}


def test_the_fan_goes_beyond_an_end_at_which_the_best_is():
    class Higher(Surface):
        def loss(self, trial, what="validation"):
            return 1 / (1 + trial.config["learning_rate"])

        def outcome(self, trial):
            loss = self.loss(trial)
            return type(super().outcome(trial))(trial, loss, False, [], {}, 0.0, trial.steps)

    found = trials_of(rounds(STRATEGIES["auto"], 12, surface=Higher()))
    assert 0.9 < max(trial.config["learning_rate"] for trial in found) <= 30


def test_the_ladder_keeps_the_article_s_order():
    space = adamw_space("amsgrad", "eps", steps=STEPS)
    found = rounds(STRATEGIES["ladder"], 36, space=space)
    varied = []
    for each in found:
        configs = [trial.config for trial, _ in each]
        names = [n for n in space.names if len({c[n] for c in configs}) > 1]
        varied.append(names[0] if names else "amsgrad")
    assert varied == ["learning_rate", "b1", "b2", "eps", "weight_decay", "amsgrad"]
    assert len(found[0]) >= 6
    best = min(found[0], key=lambda pair: pair[1])[0].config["learning_rate"]
    assert {trial.config["learning_rate"] for trial, _ in found[1]} == {best}


def test_halving_gives_the_best_quarter_the_whole_run():
    first, second = rounds(STRATEGIES["halving"], 16)
    assert (len(first), len(second)) == (32, 8)
    kept = sorted(first, key=lambda pair: pair[1])[:8]
    assert [t.config for t, _ in second] == [t.config for t, _ in kept]


def test_proposals_have_few_digits():
    for config in configs_at(SPACE, np.random.default_rng(0).random((20, 4))):
        assert config["learning_rate"] == float(f"{config['learning_rate']:.4g}")
        assert 1 - config["b2"] == pytest.approx(float(f"{1 - config['b2']:.4g}"), rel=1e-9)
        assert 0 <= config["b1"] < 1


def test_strategies_are_compared_on_equal_terms():
    surface = Surface()
    work = Work(surface.engine, Log(None))
    names = ["auto", "random", "quasi"]
    cells = compare(work, SPACE, steps=STEPS, strategies=names, budgets=[8, 16], repeats=4)
    assert [(c.strategy, c.budget) for c in cells] == [
        ("untuned Adam", 0.0), *[(name, b) for name in names for b in (8, 16)],
    ]  # fmt: skip
    assert all(len(c.losses) == 4 for c in cells)
    untuned = cells[0].median
    assert all(c.median < untuned for c in cells[1:])
    asked = len(surface.asked)
    again = compare(work, SPACE, steps=STEPS, strategies=names, budgets=[8, 16], repeats=4)
    assert again == cells
    assert len(surface.asked) == asked
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        compare(work, SPACE, steps=STEPS, strategies=names, budgets=[8], repeats=0)
