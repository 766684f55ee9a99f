"""Torch modules: rows of one matrix are what torch.optim trains one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from tune_tasks import STEPS, arrays, configs, trials

from functional_adam.tune import (
    Execution,
    Paused,
    StopRule,
    Trial,
    choose_execution,
    held_out,
    population,
    tune,
)
from functional_adam.tune.head import fingerprint
from functional_adam.tune.schedule import Batches, rates
from functional_adam_torch.tuning import TorchTask

LANES = Execution(lanes=4)


def tensors(seed, n):
    return {k: torch.tensor(x) for k, x in arrays(seed, n).items()}


def make():
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))


def loss(model, batch):
    return ((model(batch["x"])[:, 0] - batch["y"]) ** 2).mean()


def error(model, batch):
    return (model(batch["x"])[:, 0] - batch["y"]).abs().mean()


def task(**changes):
    options = dict(
        name="tiny", make=make, loss=loss, train=tensors(1, 60), validation=tensors(2, 20),
        held_out=tensors(3, 20), batch_size=8, steps=STEPS, metrics={"error": error},
        evaluations=4,
    )  # fmt: skip
    return TorchTask(**{**options, **changes})


CLASSES = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radamw": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
}


def in_turn(task, trial):
    """The module that torch's own optimizer trains."""
    torch.manual_seed(trial.seed)
    module, c = task.make(), trial.config
    cls, options = CLASSES[c.get("algorithm", "adamw")]
    if "amsgrad" in c:
        options = {**options, "amsgrad": c["amsgrad"]}
    decay = c.get("weight_decay", 0.0 if cls is torch.optim.Adam else 1e-2)
    optimizer = cls(module.parameters(), betas=(c["b1"], c["b2"]), weight_decay=decay, **options)
    windows = Batches(60, 8).window(trial.seed, 0, trial.steps, trial.steps)
    for index, rate in zip(torch.tensor(windows).long(), rates(c, trial.of), strict=False):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        task.loss(module, {k: x[index] for k, x in task.train.items()}).backward()
        optimizer.step()
    return module


def assert_trained(task, outcome):
    expected = in_turn(task, outcome.trial)
    for name, x in expected.state_dict().items():
        torch.testing.assert_close(outcome.params[name], x, rtol=2e-5, atol=2e-6)
    expected.eval().requires_grad_(False)
    final = float(task.loss(expected, task.validation))
    assert outcome.validation == pytest.approx(final, rel=1e-4)
    assert outcome.metrics["error"] == pytest.approx(
        float(task.metrics["error"](expected, task.validation)), rel=1e-4
    )


@pytest.fixture(scope="module")
def trained():
    tiny = task()
    some = trials(6)
    return tiny, some, population(tiny, some, execution=LANES, keep_params=True)


@pytest.mark.parametrize("algorithm", CLASSES)
def test_each_row_is_what_torch_trains(algorithm):
    tiny = task()
    some = trials(5, algorithm=algorithm)
    for outcome in population(tiny, some, execution=LANES, keep_params=True):
        assert_trained(tiny, outcome)


def test_amsgrad_is_data():
    tiny = task()
    some = [*trials(2, amsgrad=True), *trials(2, amsgrad=False)]
    for outcome in population(tiny, some, execution=LANES, keep_params=True):
        assert_trained(tiny, outcome)


def test_a_row_that_diverges_touches_no_other(trained):
    tiny, some, before = trained
    mixed = [trials(1, learning_rate=1e30)[0], *some, trials(1, weight_decay=1e25)[0]]
    first, *after, last = population(tiny, mixed, execution=LANES, keep_params=True)
    assert first.diverged
    assert last.diverged
    for a, b in zip(after, before, strict=True):
        assert a.curve == b.curve
        for name, x in a.params.items():
            assert torch.equal(x, b.params[name])


def test_it_goes_on_and_is_halved_as_any_task(trained):
    tiny, some, before = trained
    paused = Paused()
    short = [Trial(t.config, t.seed, 7, t.of) for t in some]
    population(tiny, short, execution=LANES, paused=paused)
    after = population(tiny, some, execution=LANES, paused=paused)
    halved = population(tiny, some, execution=LANES, stop=StopRule((6,), keep=0.5))
    for a, b, h in zip(after, before, halved, strict=True):
        assert a.curve == b.curve
        assert h.stopped or h.curve == b.curve
    assert [h.stopped for h in halved].count(True) == 3


def test_held_out_and_the_module_itself(trained):
    tiny, some, outcomes = trained
    losses = held_out(tiny, some[:2], execution=LANES)
    for found, outcome in zip(losses, outcomes[:2], strict=True):
        module = make()
        module.load_state_dict(outcome.params)
        assert found == pytest.approx(loss(module, tiny.held_out).item(), rel=1e-5)


class Branching(nn.Module):
    """Asks for a value, which vmap has none of."""

    def __init__(self):
        super().__init__()
        self.inner = make()

    def forward(self, x):
        return self.inner(x) if x.sum().item() < 1e9 else x


def test_a_module_that_vmap_cannot_do_is_computed_in_turn():
    tiny = task(make=Branching)
    some = trials(3)
    with pytest.warns(UserWarning, match="cannot be vmapped .*its lanes are computed in turn"):
        outcomes = population(tiny, some, execution=LANES, keep_params=True)
    for outcome in outcomes:
        assert_trained(tiny, outcome)


def test_buffers_and_frozen_parameters():
    """Running statistics are each lane's own; what needs no gradient stays."""

    def normed():
        module = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))
        module[0].bias.requires_grad_(False)
        return module

    tiny = task(make=normed)
    for outcome in population(tiny, trials(3), execution=LANES, keep_params=True):
        assert_trained(tiny, outcome)


class Counting(nn.Module):
    """Writes to one buffer and puts another tensor in the place of the other; one 0-d parameter."""

    def __init__(self):
        super().__init__()
        self.inner, self.scale = make(), nn.Parameter(torch.tensor(1.5))
        self.register_buffer("written", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(5))

    def forward(self, x):
        if self.training:
            self.written += 1
            self.replaced = 0.9 * self.replaced + x.mean(0)
        return self.inner(x - 0.1 * self.replaced) * self.scale * (1 + 0.01 * self.written)


class AlwaysCounting(Counting):
    def forward(self, x):
        self.training = True
        return super().forward(x)


def averaging():
    """Whose average vmap cannot compute: it asks for the count."""
    return nn.Sequential(
        nn.BatchNorm1d(5, momentum=None), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1)
    )


def frozen_statistics():
    module = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))
    module[1].eval()
    return module


@pytest.mark.parametrize("made", [Counting, averaging, frozen_statistics])
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.filterwarnings("ignore:.*cannot be vmapped:UserWarning")
def test_what_a_module_does_to_its_buffers_is_kept(made, lanes):
    tiny = task(make=made)
    some = [t for seed in (0, 1) for t in trials(2, seed=seed)]
    for outcome in population(tiny, some, execution=Execution(lanes=lanes), keep_params=True):
        assert_trained(tiny, outcome)


def test_buffers_of_a_module_that_draws_are_kept_whatever_the_other_lanes_are():
    """Lanes of several seeds are computed in groups, of copies of the buffers."""

    def drawing():
        return nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 6), nn.Dropout(0.1), nn.Linear(6, 1))

    tiny = task(make=drawing)
    some = [t for seed in (0, 1) for t in trials(2, seed=seed)]
    alone, together = (
        population(tiny, some, execution=Execution(lanes=lanes), keep_params=True)
        for lanes in (1, 4)
    )
    for a, b in zip(alone, together, strict=True):
        assert b.params["0.num_batches_tracked"] == STEPS
        assert a.validation == pytest.approx(b.validation, rel=1e-4)
        for name, x in a.params.items():
            torch.testing.assert_close(b.params[name], x, rtol=2e-5, atol=2e-6)


class AlwaysDropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = make()

    def forward(self, x):
        return self.inner(nn.functional.dropout(x, 0.2, training=True))


def test_what_is_drawn_in_an_evaluation_depends_on_nothing_else():
    """Not on the lanes, nor on how many examples there are, nor on the last evaluation."""
    tiny = task(make=AlwaysDropping, validation=tensors(2, 2500), held_out=tensors(3, 2500))
    some = trials(3)
    alone, together = (
        [o.validation for o in population(tiny, some, execution=Execution(lanes=lanes))]
        for lanes in (1, 3)
    )
    np.testing.assert_allclose(alone, together, rtol=1e-4)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (held_out(tiny, some[:1], execution=LANES) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), before)


def test_an_evaluation_leaves_no_trace_in_a_training():
    some = trials(2)
    few, many = (
        population(
            task(make=AlwaysCounting, evaluations=n), some, execution=LANES, keep_params=True
        )
        for n in (1, 6)
    )
    for a, b in zip(few, many, strict=True):
        assert a.params["written"] == b.params["written"] == STEPS
        assert torch.equal(a.params["inner.0.weight"], b.params["inner.0.weight"])


def test_a_buffer_that_changes_its_dtype_is_refused():
    class Widening(Counting):
        def forward(self, x):
            self.replaced = self.replaced.double()
            return self.inner(x)

    with pytest.raises(TypeError, match=r"buffer 'replaced' becomes torch\.float64 .* from torch"):
        population(task(make=Widening), trials(1), execution=Execution(lanes=1))


def test_half_precision_has_a_master():
    tiny = task(
        make=lambda: make().bfloat16(),
        loss=lambda model, b: loss(lambda x: model(x.bfloat16()).float(), b),
        metrics={},
    )
    config = {"learning_rate": 3e-4, "weight_decay": 0.0}
    (o,) = population(tiny, [Trial(config, 0, STEPS, STEPS)], execution=LANES, keep_params=True)
    moved = (o.params["0.weight"].float() - tiny.module(0)[0].weight.float()).abs()
    assert o.params["0.weight"].dtype == torch.bfloat16
    assert 0.5 < moved.mean().item() / (3e-4 * STEPS) < 1.5


class ReadsDropout(nn.Module):
    """Computed in turn, as vmap cannot read numbers."""

    def __init__(self):
        super().__init__()
        self.inner = dropping()

    def forward(self, x):
        return self.inner(x) if x.sum().item() < 1e9 else x


def dropping():
    return nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 1))


def test_what_is_drawn_at_random_depends_on_the_seed_and_the_step():
    (config,) = configs(1)
    some = [Trial(config, seed, STEPS, STEPS) for seed in (0, 0, 1)]
    before = torch.random.get_rng_state()
    first, again, other = population(task(make=dropping), some, execution=Execution(4))
    assert first.curve[0] == again.curve[0]
    assert first.validation == pytest.approx(again.validation, rel=1e-6)
    (dry,) = population(task(make=make_dry), some[:1], execution=Execution())
    assert dry.curve[0] == pytest.approx(first.curve[0])
    assert abs(dry.validation / first.validation - 1) > 1e-3
    torch.manual_seed(5)
    # In company of other steps and seeds, alone, and where vmap cannot be used.
    company = [Trial(config, 3, 7, STEPS), Trial(config, 1, 9, STEPS), *some[::-1], *some]
    mixed = population(task(make=dropping), company, execution=Execution(4))
    alone = population(task(make=dropping), some, execution=Execution())
    with pytest.warns(UserWarning, match="computed in turn"):
        read = population(task(make=ReadsDropout), some, execution=Execution(4))
    for found in (mixed[5:], alone, read):
        for a, b in zip((first, again, other), found, strict=True):
            assert b.validation == pytest.approx(a.validation, rel=1e-4)
    assert torch.initial_seed() == 5
    torch.random.set_rng_state(before)


def make_dry():
    return nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.0), nn.Linear(6, 1))


class Features(nn.Module):
    """Random features in a buffer that no state_dict holds."""

    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.randn(5, 16), persistent=False)
        self.last = nn.Linear(16, 1)

    def forward(self, x):
        return self.last(torch.cos(x @ self.b))


def test_held_out_data_meet_the_buffers_that_were_trained_with():
    tiny = task(make=Features, held_out=tensors(2, 20))
    some = [Trial(c, seed, STEPS, STEPS) for seed, c in zip((7, 8), configs(2), strict=True)]
    outcomes = population(tiny, some, execution=Execution(2))
    losses = held_out(tiny, some, execution=Execution(2))
    np.testing.assert_allclose(losses, [o.validation for o in outcomes], rtol=1e-5)


def test_a_study_of_data_that_numpy_does_not_have():
    data = {k: x.bfloat16() for k, x in tensors(1, 16).items()}
    data["x"].requires_grad_()
    tiny = task(
        make=lambda: make().bfloat16(), loss=lambda m, b: loss(m, b).float(), metrics={},
        train=data, validation=data, held_out=None, steps=4,
    )  # fmt: skip
    study = tune(tiny, budget=6, strategy="random", execution=LANES)
    assert study.finished
    other = task(train={**data, "y": data["y"] + 1}, validation=data, held_out=None)
    assert fingerprint(other) != fingerprint(tiny) == study.head["task"]["data"]


def test_own_hyperparameters():
    def penalised(model, batch, own):
        return loss(model, batch) + own["offset"]

    tiny = task(loss=penalised, own=("offset",))
    some = [
        Trial({**c, "offset": x}, 0, 6, 24) for x, c in zip((0.0, 2.0), configs(1) * 2, strict=True)
    ]
    a, b = population(tiny, some, execution=Execution(2))
    assert b.validation - a.validation == pytest.approx(2.0, rel=1e-5)


def test_the_choice_is_measured_and_kept():
    tiny = task()
    some = trials(9)
    chosen = choose_execution(tiny, some)
    assert chosen.lanes in (1, 8)
    assert choose_execution(tiny, some) is chosen
    assert [o.steps for o in population(tiny, some)] == [STEPS] * 9


ERRORS = [
    (dict(loss=lambda m, b: m(b["x"])), ValueError, r"must be a scalar, got shape \(8, 1\)"),
    (dict(loss=lambda m, b: 1.0), ValueError, "must return a scalar tensor, got float"),
    (dict(loss=lambda m, b: loss(m, b) / 0), ValueError, "must be finite at the start, got inf"),
    (dict(loss=lambda m, b: m(b["z"])), ValueError, "loss of task 'tiny' fails on a batch of 8"),
    (dict(metrics={"e": lambda m, b: m(b["x"])}), ValueError, r"metrics\['e'\] of task 'tiny'"),
    (dict(make=lambda: 3), TypeError, "make of task 'tiny' must return a torch module, got int"),
    (dict(make=nn.ReLU), ValueError, "ReLU has no parameter that requires a gradient"),
    (dict(metrics={"loss": error}), ValueError, "must not be called 'loss'"),
    (dict(own=("seed",)), ValueError, "own of task 'tiny' must not hold seed"),
    (dict(validation={"x": torch.ones(3, 5)}), ValueError, "must have the structure of train"),
    (dict(held_out={"x": torch.ones(3, 4), "y": torch.ones(3)}), ValueError, "of shapes .*4"),
    (dict(train={}), ValueError, "train of task 'tiny' holds no tensors"),
    (dict(train={"x": [1]}), TypeError, "train of task 'tiny' must hold tensors, got int"),
    (dict(validation={"x": torch.ones(3), "y": torch.ones(2)}), ValueError, "as many examples"),
    (dict(batch_size=61), ValueError, "at most its 60 training examples, got 61"),
    (dict(steps=0), ValueError, "steps must be an integer >= 1, got 0"),
    (
        dict(make=lambda: make().requires_grad_(False)),
        ValueError,
        "Sequential has no parameter that requires a gradient",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "message"), ERRORS)
def test_a_task_that_does_not_fit(changes, kind, message):
    for train in (lambda t: population(t, trials(1), execution=Execution()),
                  lambda t: tune(t, budget=6)):  # fmt: skip
        with pytest.raises(kind, match=message):
            train(task(**changes))


def test_what_torch_modules_are_not_trained_with():
    with pytest.raises(ValueError, match="dialect TORCH, got 'KERAS'"):
        population(task(), trials(1, dialect="KERAS"), execution=LANES)
    with pytest.raises(ValueError, match="one device by one worker"):
        population(task(), trials(1), execution=Execution(2, 1, 2))


def test_the_generator_of_torch_is_left_alone():
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        population(task(), trials(2), execution=LANES)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(
        task().module(3)[0].bias.detach(), task().module(3)[0].bias.detach()
    )
