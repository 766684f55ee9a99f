"""Studies: the log, resuming, several processes, the choice, warnings, exports."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas
import pytest
import tune_synthetic
from tune_synthetic import SPACE, STEPS, Surface, synthetic_task

from functional_adam.tune import Dimension, Outcome, Study, Trial, _storage, adamw_space, tune
from functional_adam.tune._worker import identity
from functional_adam.tune.budget import Plan
from functional_adam.tune.cautions import edges
from functional_adam.tune.choice import chosen, contenders, difference_error, ranked
from functional_adam.tune.enough import growth
from functional_adam.tune.jobs import Job, key_of
from functional_adam.tune.log import Log
from functional_adam.tune.script import untuned
from functional_adam.tune.shared import SharedWork
from functional_adam.tune.strategies import optuna_sampler
from functional_adam.tune.work import Engine

ROOT = Path(__file__).parents[1]
BASELINE = untuned(SPACE)


def run(surface=None, *, budget=16.0, space=SPACE, seed=3, **options):
    surface = surface or Surface()
    return tune(
        synthetic_task(), budget=budget, space=space, seed=seed, engine=surface.engine, **options
    )


def kills(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "bridges", "tests"])}
    command = [sys.executable, "tests/tune_kills.py", "--folder", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def large():
    return run(budget=48.0)


# The log


def test_a_record_is_a_line_and_is_read_again(tmp_path):
    log = Log(tmp_path)
    log.append({"kind": "a", "x": 0.1 + 0.2, "bad": math.nan, "worse": math.inf})
    log.append({"kind": "b", "numbers": [np.float32(0.5), np.int64(3)]})
    assert len(log.path.read_bytes().splitlines()) == 2
    for records in (log.records, Log(tmp_path).records):
        assert records[0]["x"] == 0.1 + 0.2
        assert math.isnan(float(records[0]["bad"]))
        assert float(records[0]["worse"]) == math.inf
        assert records[1]["numbers"] == [0.5, 3]


def test_a_line_that_was_cut_off_is_passed_over_and_never_completed(tmp_path):
    log = Log(tmp_path)
    log.append({"kind": "whole"})
    with log.path.open("ab") as file:
        file.write(b'{"kind":"half","lo')
    again = Log(tmp_path)
    assert [r["kind"] for r in again.records] == ["whole"]
    again.append({"kind": "next"})
    for found in (again, Log(tmp_path)):
        assert [r["kind"] for r in found.records] == ["whole", "next"]
        assert found.unreadable == 1
    assert log.path.read_bytes().splitlines()[1] == b'{"kind":"half","lo'


def test_a_damaged_line_in_the_middle_is_done_again(tmp_path):
    whole = run(out=tmp_path)
    path = tmp_path / "study.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lost = [i for i, line in enumerate(lines) if key_of(json.loads(line))][3:6]
    for i, damage in zip(lost, (b"\0\xff{\n", b'{"kind":"training"}\n', b"{}\n"), strict=True):
        lines[i] = damage
    path.write_bytes(b"".join(lines))
    assert "3 lines of the log are damaged" in " ".join(Study.load(tmp_path).warnings)
    surface = Surface()
    assert run(surface, out=tmp_path).best == whole.best
    assert len(surface.asked) == 3


def test_a_log_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    run(out=tmp_path)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write anywhere
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert Study.load(tmp_path).finished


def test_what_another_process_has_written_is_not_written_twice(tmp_path):
    one, other = Log(tmp_path), Log(tmp_path)
    one.append({"kind": "x"})
    other.append_unless({"kind": "x"}, lambda: {"kind": "x"} in other.records)
    assert [r["kind"] for r in Log(tmp_path).records] == ["x"]


# Resuming


def test_a_study_run_again_from_its_seed_makes_the_same_choice():
    assert run().best == run().best
    assert run(seed=4).best != run().best


def test_a_finished_study_is_not_trained_again(tmp_path):
    first = run(out=tmp_path)
    surface = Surface()
    again = run(surface, out=tmp_path)
    assert surface.asked == []
    assert again.best == first.best == Study.load(tmp_path).best
    assert again.finished


def test_a_study_goes_on_from_any_line(tmp_path):
    whole = run(out=tmp_path / "whole")
    lines = (tmp_path / "whole" / "study.jsonl").read_bytes().splitlines(keepends=True)
    everything = {key_of(json.loads(line)) for line in lines} - {None}
    for count in range(1, len(lines), 5):
        out = tmp_path / str(count)
        out.mkdir()
        (out / "study.jsonl").write_bytes(b"".join(lines[:count]) + lines[count][:7])
        surface = Surface()
        study = run(surface, out=out)
        assert study.best == whole.best
        kept = {key_of(json.loads(line)) for line in lines[:count]} - {None}
        assert len(surface.asked) == len(everything) - len(kept)


def test_a_larger_budget_uses_what_was_trained(tmp_path):
    run(out=tmp_path, budget=32.0, strategy="quasi")
    surface = Surface()
    study = run(surface, out=tmp_path, budget=48.0, strategy="quasi")
    alone = Surface()
    run(alone, budget=48.0, strategy="quasi")
    assert 0 < len(surface.asked) < len(alone.asked)
    assert study.plan.runs == 48
    assert study.finished


def test_killed_at_random_moments_nothing_is_lost_or_repeated(tmp_path):
    result = kills(tmp_path / "kills", "--kills", "6", "--seconds", "0.02", "--longest", "0.1")
    assert result["same"]
    assert result["kills"] >= 3


@pytest.mark.parametrize("sql", [False, True], ids=["journal", "sql"])
def test_three_processes_share_a_study_and_one_is_killed(tmp_path, sql):
    storage = ["--storage", f"sqlite:///{tmp_path}/study.db"] if sql else []
    result = kills(
        tmp_path / "kills", "--workers", "3", "--longest", "0.6", "--seconds", "0.03", *storage
    )
    assert result["same"]


def test_studies_in_one_storage_do_not_share_what_differs(tmp_path):
    storage, asked = str(tmp_path / "journal.log"), []
    for changes in ({}, {}, dict(batch_size=4)):
        surface = Surface()
        tune(
            synthetic_task(**changes), budget=6.0, space=SPACE, engine=surface.engine,
            storage=storage, strategy="quasi",
        )  # fmt: skip
        asked.append(len(surface.asked))
    assert asked[1] == 0 < asked[0] == asked[2]


# fmt: off
NO_STORAGE = [
    ("postgresql+psycopg2://me:secret@127.0.0.1:1/x", ImportError,
     r"me:\*\*\*@.* needs psycopg2: pip install psycopg2-binary"),
    ("mysql+pymysql://me:secret@127.0.0.1:1/x", ImportError, "needs pymysql: pip install pymysql"),
    ("postgres://me:secret@host/x", ValueError, "is not the URL of a database, as postgresql://"),
    ("postgresql://me:secret@host:port/x", ValueError, r"postgresql://\.\.\.: is not the URL"),
    ("sqlite:////nowhere/x.db", ConnectionError, "unable to open database file"),
    ("/nowhere/journal.log", OSError, "storage /nowhere/journal.log: No such file"),
]
# fmt: on


@pytest.mark.parametrize(("storage", "error", "words"), NO_STORAGE)
def test_a_storage_that_cannot_be_opened(storage, error, words, monkeypatch):
    for driver in ("psycopg2", "pymysql"):
        monkeypatch.setitem(sys.modules, driver, None)
    monkeypatch.setattr(_storage, "_ATTEMPTS", 1)
    with pytest.raises(error, match=words) as caught:
        run(storage=storage)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_that_fails_on_the_way_loses_nothing(tmp_path):
    """The database becomes unreadable after four trainings."""
    alone, surface, again = Surface(), Surface(), Surface()
    database = tmp_path / "study.db"

    def train(trials, on_done):
        if surface.asked:
            database.write_bytes(b"no database" * 1000)
        surface.train(trials, on_done)

    options = dict(budget=6.0, space=SPACE, out=tmp_path, strategy="quasi")
    with pytest.raises(ConnectionError, match=r"^storage sqlite:.*: file is not a database; where"):
        tune(
            synthetic_task(), engine=Engine(train, surface.held_out),
            storage=f"sqlite:///{database}", **options,
        )  # fmt: skip
    tune(synthetic_task(), engine=again.engine, **options)
    tune(synthetic_task(), engine=alone.engine, **{**options, "out": None})
    assert len(surface.asked) > 4
    assert len(surface.asked) + len(again.asked) == len(alone.asked)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_what_a_dead_process_had_begun_is_done_by_another(tmp_path, where):
    """Dead: its number is free here, or nothing was heard of it for a lease."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    machine = identity().rsplit("/", 2)[0] if where == "here" else "another machine"
    lease = 60.0 if where == "here" else 0.4
    surface = Surface()
    storage = str(tmp_path / "journal.log")
    work = SharedWork(surface.engine, Log(None), storage=storage, name="x", lease=lease)
    job = Job("training", Trial(BASELINE, 1, STEPS, STEPS), "search")
    work._enter(job, optuna.trial.TrialState.WAITING, {})
    entry = work._entries({job.key: job})[job.key]._trial_id
    assert work._set(entry, optuna.trial.TrialState.RUNNING)
    work._storage.set_trial_user_attr(entry, "worker", f"{machine}/{gone.pid}/0")
    (record,) = work.perform([job])
    work.close()
    assert record["validation"] == surface.outcome(job.trial).validation
    assert len(surface.asked) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(name="other"), "task's name"),
        (dict(train=np.arange(9.0)), "task's data"),
        (dict(steps=STEPS + 1), "task's steps"),
    ],
)
def test_a_folder_of_another_study_is_refused(tmp_path, change, words):
    run(out=tmp_path)
    task = synthetic_task(**change)
    with pytest.raises(ValueError, match=words):
        tune(task, budget=16.0, space=SPACE, seed=3, out=tmp_path, engine=Surface().engine)


def test_another_seed_strategy_or_space_is_refused(tmp_path):
    run(out=tmp_path)
    for change in (dict(seed=5), dict(strategy="quasi"), dict(space=SPACE.with_(b1=0.9))):
        with pytest.raises(ValueError, match="choose another folder"):
            run(out=tmp_path, **change)
    with pytest.raises(ValueError, match=r"another space: .*b1 0\.5 to .* there, .*, b1 0\.9 now"):
        run(out=tmp_path, space=SPACE.with_(b1=0.9))


def test_another_loss_of_the_same_task_is_refused(tmp_path, monkeypatch):
    run(out=tmp_path, strategy="quasi")
    monkeypatch.setattr(tune_synthetic, "START", 2.5)
    with pytest.raises(ValueError, match=r"loss before training is 2\.5, in the log 2\.3"):
        run(out=tmp_path, strategy="quasi", budget=32.0)


# The budget


@pytest.mark.parametrize("budget", [6.0, 8.0, 16.0, 32.0, 64.0])
@pytest.mark.parametrize("strategy", ["auto", "quasi"])
def test_search_and_confirmation_stay_within_the_budget(budget, strategy):
    study = run(budget=budget, strategy=strategy)
    held = sum(r["kind"] == "held_out" for r in study.log.records)
    baseline = len(study.plan.fresh)
    assert study.cost - baseline <= budget
    assert study.cost - baseline > budget - 2
    assert held == 8
    assert sum(o.trial.config == BASELINE for o in study.fresh) == 4
    finalists, seeds = (4, 4) if budget >= 32 else (2, 2)
    assert len(study.fresh) == 4 + finalists * seeds


def test_seconds_become_a_budget_that_is_kept(tmp_path):
    surface = Surface(seconds=0.001)
    study = tune(
        synthetic_task(), seconds=2.0, space=SPACE, out=tmp_path, engine=surface.engine,
        strategy="quasi",
    )  # fmt: skip
    # The engine says that a training takes 0.01 s.
    assert 60 < study.plan.runs < 160
    again = Surface()
    tune(
        synthetic_task(), seconds=2.0, space=SPACE, out=tmp_path, engine=again.engine,
        strategy="quasi",
    )  # fmt: skip
    assert again.asked == []


def test_when_the_seconds_are_over_what_is_there_is_confirmed():
    def slow(space, budget, rng):
        for i in range(100):
            config = space.from_unit(rng.random(len(space)))[0]
            yield [Trial({**config, "b1": 0.9 - i / 1000}, budget.seed, STEPS, STEPS)]

    surface = Surface(seconds=0.02)
    study = tune(synthetic_task(), seconds=0.5, space=SPACE, engine=surface.engine, strategy=slow)
    assert study.finished
    assert len(study.searched) < 40
    assert any("seconds were over" in text for text in study.warnings)


# The choice


def outcome(config, seed, loss, *, steps=STEPS, diverged=False):
    return Outcome(Trial(config, seed, steps, steps), loss, diverged, [], {}, 0.0, steps)


def configured(rate):
    return {**SPACE.default(), "learning_rate": rate}


def test_the_validation_figure_is_that_of_fresh_seeds(large):
    fresh = [o.validation for o in large.fresh if o.trial.config == large.best.config]
    assert len(fresh) == 4
    assert large.best.validation == pytest.approx(np.mean(fresh), rel=1e-4)
    assert large.plan.search.seed not in large.plan.fresh
    held = [
        float(r["loss"])
        for r in large.log.records
        if r["kind"] == "held_out" and r["config"] == large.best.config
    ]
    assert large.best.held_out == pytest.approx(np.mean(held))
    assert large.best.held_out < 0.5 * large.held_out(BASELINE)


def test_ties_go_to_the_nearest_to_the_defaults():
    near, far = configured(2e-3), configured(5e-2)
    rows = {0: (1.00, 1.20), 1: (1.10, 1.05), 2: (0.95, 1.1), 3: (1.05, 0.75)}
    outcomes = [
        outcome(c, seed, x)
        for seed, pair in rows.items()
        for c, x in zip((near, far), pair, strict=True)
    ]
    means = np.array(list(rows.values())).mean(0)
    assert means[1] == means[0]
    best = chosen(outcomes, SPACE, BASELINE)
    assert best.config == near
    worse = [outcome(near, seed, x * 3) for seed, (x, _) in rows.items()]
    assert chosen(worse + outcomes[1::2], SPACE, BASELINE).config == far


def test_untuned_adam_is_kept_where_nothing_can_be_told_from_it():
    class Flat(Surface):
        def loss(self, trial, what="validation"):
            return 1 + 0.01 * np.random.default_rng(trial.seed % 2**31).normal()

    study = run(Flat(), strategy="random")
    assert study.best.is_default
    assert study.best.config == BASELINE
    assert any("untuned Adam" in text for text in study.warnings)


def test_a_configuration_that_diverges_on_a_fresh_seed_is_not_chosen():
    good, bad = configured(1e-2), configured(2e-2)
    outcomes = [outcome(good, s, 1.0 + s / 100) for s in (1, 2)]
    outcomes += [outcome(bad, 1, 0.1), outcome(bad, 2, 3.4, diverged=True)]
    assert chosen(outcomes, SPACE, BASELINE).config == good
    assert chosen(outcomes[3:], SPACE, BASELINE) is None


def test_what_seeds_share_cancels_in_a_difference():
    rng = np.random.default_rng(0)
    table = rng.normal(size=4) * 100 + rng.normal(size=(5, 4)) * 0.1
    assert 0.02 < difference_error(table) < 0.15
    errors = [difference_error(rng.normal(size=(3, 4))) for _ in range(400)]
    # Of means of four there is a spread of 1/2 each.
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(math.sqrt(0.5), rel=0.05)


def test_long_trainings_come_before_short_ones():
    a, b, c = configured(1e-3), configured(2e-3), configured(3e-3)
    outcomes = [outcome(a, 0, 0.1, steps=50), outcome(b, 0, 0.3), outcome(c, 0, 0.2)]
    assert ranked([*outcomes, outcome(c, 0, 0.25)], 3) == [c, b, a]
    assert ranked([outcome(a, 0, 0.1, diverged=True), *outcomes[1:]], 1) == [c]


def test_standard_errors_are_pooled():
    outcomes = [outcome(configured(1e-3), s, 1 + 0.1 * (-1) ** s) for s in (1, 2)]
    outcomes += [outcome(configured(1e-2), s, 2.0) for s in (1, 2)]
    one, other = contenders(outcomes, SPACE, BASELINE)
    spread = math.sqrt(2 * 0.1**2 / 2)
    assert one.error == pytest.approx(spread / math.sqrt(2))
    assert other.error == pytest.approx(2 * one.error)


def test_the_error_of_losses_that_cross_zero_is_their_spread():
    outcomes = [outcome(configured(1e-3), s, 0.001 + 0.01 * (-1) ** s) for s in (1, 2)]
    outcomes += [outcome(configured(1e-2), s, -1.7 + 0.01 * (-1) ** s) for s in (1, 2)]
    for found in contenders(outcomes, SPACE, BASELINE):
        assert found.error == pytest.approx(0.01)


@pytest.mark.parametrize("seed", range(4))
def test_a_larger_budget_chooses_among_its_own_finalists(tmp_path, seed):
    surface = Surface(noise=0.4)
    first = run(surface, budget=8.0, seed=seed, out=tmp_path, strategy="auto")
    later = run(surface, budget=16.0, seed=seed, out=tmp_path, strategy="auto")
    straight = run(surface, budget=16.0, seed=seed, strategy="auto")
    assert later.best == straight.best
    assert later.best.held_out is not None
    assert {json.dumps(c.config) for c in later.contenders} == {
        json.dumps(c.config) for c in straight.contenders
    }
    assert later.plan.runs == 16 != first.plan.runs


def test_names_and_choices_that_do_not_go_together_are_said_before_the_search():
    surface = Surface()
    with pytest.raises(ValueError, match="amsgrad belongs to adam and adamw"):
        run(surface, space=adamw_space("algorithm", "amsgrad"))
    assert surface.asked == []


def test_another_transformation_in_front_is_another_study(tmp_path):
    surface = Surface()
    options = dict(budget=6.0, space=SPACE, out=tmp_path, engine=surface.engine)
    tune(synthetic_task(), **options)
    clipped = tune(synthetic_task(before=print), **(options | {"out": None}))
    assert clipped.best.before
    assert "stands in front" in clipped.best.as_code("optax")
    with pytest.raises(
        ValueError, match=r"another task \(the task's before\): None there, True now"
    ):
        tune(synthetic_task(before=print), **options)


def test_lines_of_another_type_are_damaged_lines(tmp_path):
    run(out=tmp_path, budget=6.0)
    path = tmp_path / "study.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    trained = next(line for line in lines if line["kind"] == "training")
    bad = [{**trained, "curve": None}, {**trained, "config": 3}, {**lines[0], "space": None}]
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in bad)
    study = Study.load(tmp_path)
    assert study.log.unreadable == 3
    assert study.best.config


def test_samplers_are_told_apart():
    names = {optuna_sampler(make, batch).__name__ for make in (len, abs) for batch in (2, 8)}
    assert len(names) == 4


# Warnings


def test_the_edge_of_the_space_is_said():
    space = SPACE.with_(
        learning_rate=Dimension("learning_rate", 1e-5, 1e-4, "log", default=5e-5, bounds=(0, 1e-4))
    )
    study = run(space=space, budget=32.0)
    assert any("learning_rate" in text and "high end" in text for text in study.warnings)


def test_the_edge_is_that_of_what_was_searched():
    """Widened, as `auto` does, the range that is named ends elsewhere."""
    space = SPACE.with_(learning_rate=Dimension("learning_rate", 1e-5, 1e-4, "log", default=5e-5))
    study = run(space=space, budget=32.0)
    tried = max(o.trial.config["learning_rate"] for o in study.searched)
    best = study.best.config["learning_rate"]
    assert 1e-4 < best <= tried
    said = [
        text for text in study.warnings if "learning_rate" in text and "end of its range" in text
    ]
    inside = math.log(best / 1e-5) / math.log(tried / 1e-5) < 0.9
    assert len(said) == (not inside)
    assert all(f"to {tried:g})" in text for text in said)


class Elsewhere(Surface):
    """Held-out data on which everything is as good as everything else, times a factor if tuned."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def loss(self, trial, what="validation"):
        if what == "validation":
            return super().loss(trial)
        return 0.5 if trial.config == BASELINE else 0.5 * self.factor


def test_a_choice_that_is_worse_on_held_out_data_is_said():
    study = run(Elsewhere(36.0), budget=32.0)
    assert not study.best.is_default
    assert any("worse than untuned Adam, 18 against 0.5" in text for text in study.warnings)
    for factor in (0.5, 1.04):
        warnings = run(Elsewhere(factor), budget=32.0).warnings
        assert not any("worse than untuned" in text for text in warnings)
    assert any("is nan: look" in text for text in run(Elsewhere(math.nan), budget=32.0).warnings)


def test_below_zero_is_no_edge():
    space = adamw_space("warmup", steps=STEPS)
    config = {**configured(1e-2), "weight_decay": 1e-2, "warmup": 0.0, "b2": 0.9999}
    assert space.edge(config) == {"warmup": "low", "b2": "high"}
    assert edges(space, config) == {"b2": "high"}
    assert edges(space, {**config, "warmup": 0.1}) == {"warmup": "high", "b2": "high"}


def test_many_diverged_are_said():
    space = SPACE.with_(learning_rate=Dimension("learning_rate", 1e-3, 10.0, "log", default=1e-3))
    text = " ".join(run(space=space, strategy="random", budget=32.0).warnings)
    assert "diverged, from learning rate 0." in text


def test_too_few_samples_are_said_and_enough_are_not():
    rng = np.random.default_rng(1)
    assert growth(np.exp(rng.normal(size=6))).gain > 0.1
    assert growth(1 + np.zeros(20)).gain == 0
    assert growth(1 + 1e-3 * rng.random(50)).gain < 0.001
    few = run(Surface(noise=0.0), strategy="random", budget=12.0)
    assert any("Too few samples" in text for text in few.warnings)


def test_an_unfinished_study_says_so(tmp_path):
    run(out=tmp_path)
    path = tmp_path / "study.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:9]) + b"{half")
    study = Study.load(tmp_path)
    assert not study.finished
    with pytest.raises(ValueError, match="8 trainings are logged"):
        _ = study.best
    assert any("not finished" in text for text in study.warnings)


# Exports


def test_the_frame_has_a_row_for_each_training(large, tmp_path):
    frame = large.frame()
    assert len(frame) == len(large.trained)
    assert {"learning_rate", "b1", "b2", "weight_decay", "validation", "seed"} <= set(frame)
    assert (frame["phase"] == "search").sum() == len(large.searched)
    assert frame["metric accuracy"].between(-3, 1).all()
    large.to_csv(tmp_path / "x.csv")
    read = pandas.read_csv(tmp_path / "x.csv")
    assert read["validation"].to_numpy() == pytest.approx(frame["validation"], rel=1e-15)
    assert (tmp_path / "x.csv").read_text().count(repr(large.best.config["b2"])) >= 4


def test_optuna_reads_the_search(large):
    study = large.to_optuna(name="exported")
    full = [o for o in large.searched if o.trial.steps == STEPS]
    assert len(study.trials) == len(full)
    assert study.best_value == min(o.validation for o in full)
    assert set(study.best_params) == {
        "learning_rate", "1 - b1", "1 - b2", "learning_rate * weight_decay",
    }  # fmt: skip
    assert study.best_trial.user_attrs["config"]["learning_rate"] > 0
    assert study.trials[0].intermediate_values[0] == tune_synthetic.START
    importances = optuna.importance.get_param_importances(study)
    assert set(importances) == set(study.best_params)


# Errors

# fmt: off
WRONG = [
    (dict(budget=None), ValueError, "give one of budget and seconds, got None and None"),
    (dict(seconds=3.0), ValueError, "give one of budget and seconds, got 16.0 and 3.0"),
    (dict(budget=None, seconds=-1.0), ValueError, "seconds must be a positive number, got -1.0"),
    (dict(budget=5), ValueError, r"budget must be a .* trainings in \[6, 1000000\], got 5"),
    (dict(budget=math.nan), ValueError, r"full trainings in \[6, 1000000\], got nan"),
    (dict(budget=1e300), ValueError, r"full trainings in \[6, 1000000\], got 1e\+300"),
    (dict(seed=-1), ValueError, "seed must be an integer >= 0, got -1"),
    (dict(strategy="best"), ValueError, "strategy must be one of auto, ladder.*; got 'best'"),
    (dict(workers=0), ValueError, "workers must be at least 1, got 0"),
    (dict(workers=2), ValueError, "workers=2 need a storage"),
    (dict(space=SPACE.only()), ValueError, "nothing to search"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        run(**{"budget": 16.0, **arguments})


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no study"):
        Study.load(tmp_path)


def test_seeds_of_search_and_confirmation_differ():
    plan = Plan(48, STEPS, 0)
    assert len(set(plan.seeds)) == 5
    assert not set(plan.seeds) & set(Plan(48, STEPS, 1).seeds)


def test_a_choice_does_not_depend_on_which_training_ended_first(tmp_path):
    study = run(out=tmp_path / "here")
    lines = (tmp_path / "here" / "study.jsonl").read_text().splitlines(keepends=True)
    held = [line for line in lines if '"kind":"held_out"' in line]
    assert len(held) > 2
    (tmp_path / "there").mkdir()
    other = [line for line in lines if line not in held]
    for order in (held, held[::-1], held[1:] + held[:1], held[2:] + held[:2]):
        (tmp_path / "there" / "study.jsonl").write_text("".join(other + order))
        assert Study.load(tmp_path / "there").best == study.best
