"""Code that is handed out: executed in its framework, it gives the training run of the engine."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
import torch

from functional_adam.tune import Execution, Task, Trial, population, tune
from functional_adam.tune.code import WRITERS, as_code

STEPS = 40
rng = np.random.default_rng(0)
X = rng.normal(size=(32, 3)).astype(np.float32)
Y = (X @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(32, 2))).astype(np.float32)
W, B = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)
# What XLA and torch round differently, over 40 steps, as a share of the way.
CLOSE = 2e-5

BASE = dict(learning_rate=0.05, b1=0.85, b2=0.97, eps=1e-6, weight_decay=0.3)
# fmt: off
CASES = {
    "cosine": (dict(final=0.0), WRITERS),
    "constant": (dict(), WRITERS),
    "warm-up": (dict(warmup=0.2, final=0.1), WRITERS),
    "coupled": (dict(algorithm="adam", final=0.0), WRITERS),
    "adamax": (dict(algorithm="adamax", weight_decay=0.0), WRITERS),
    "amsgrad": (dict(amsgrad=True, final=0.0), ("functional_adam", "torch")),
    "nadamw": (dict(algorithm="nadamw", final=0.0), ("functional_adam", "torch")),
    "optax amsgrad": (dict(algorithm="amsgrad", dialect="OPTAX", weight_decay=0.0),
                      ("functional_adam", "optax")),
    "lion": (dict(algorithm="lion", eps=None, final=0.0), WRITERS),
    "adabelief": (dict(algorithm="adabelief", warmup=0.2), WRITERS),
    "adopt": (dict(algorithm="adopt", final=1.0), WRITERS),
    "ademamix": (dict(algorithm="ademamix", b3=0.99, alpha=2.0), WRITERS),
}
ENGINE = ("cosine", "constant", "warm-up", "lion")
# fmt: on


def loss(params, batch, key=None):
    return ((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2).mean()


TASK = Task(
    name="linear",
    init=lambda key: {"w": jax.numpy.asarray(W), "b": jax.numpy.asarray(B)},
    loss=loss,
    train={"x": X, "y": Y},
    validation={"x": X, "y": Y},
    batch_size=len(X),
    steps=STEPS,
    evaluations=1,
)


def config_of(name):
    return {key: x for key, x in {**BASE, **CASES[name][0]}.items() if x is not None}


@pytest.fixture(scope="module")
def expected():
    """What the engine trains, in one program; of the rest, what our own transformation does."""
    trials = [Trial(config_of(name), 0, STEPS, STEPS) for name in ENGINE]
    outcomes = population(TASK, trials, execution=Execution(), keep_params=True)
    found = {name: o.params for name, o in zip(ENGINE, outcomes, strict=True)}
    for name in CASES:
        if name not in ENGINE:
            code = as_code(config_of(name), STEPS, "functional_adam")
            found[name] = trained("functional_adam", code)
    return found


def trained(framework, code):
    space = {}
    exec(code, space)
    if framework == "torch":
        return in_torch(space["make_optimizer"])
    tx = space["tx"]

    @jax.jit
    def step(params, state):
        gradients = jax.grad(loss)(params, {"x": X, "y": Y})
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = TASK.init(None)
    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params


def in_torch(make_optimizer):
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(W.T))
        model.bias.copy_(torch.tensor(B))
    optimizer, scheduler = make_optimizer(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((model(torch.tensor(X)) - torch.tensor(Y)) ** 2).mean().backward()
        optimizer.step()
        scheduler.step()
    return {"w": model.weight.detach().numpy().T, "b": model.bias.detach().numpy()}


PAIRS = [
    (name, framework)
    for name in CASES
    for framework in WRITERS
    if framework != "functional_adam" or name in ENGINE
]


@pytest.mark.parametrize(("name", "framework"), PAIRS)
def test_the_code_gives_the_same_training_run(name, framework, expected):
    if framework not in CASES[name][1]:
        with pytest.raises(ValueError, match=r"has no .*as_code\('functional_adam'\)"):
            as_code(config_of(name), STEPS, framework)
        return
    found = trained(framework, as_code(config_of(name), STEPS, framework))
    for leaf, start in (("w", W), ("b", B)):
        way = np.abs(expected[name][leaf] - start).max()
        assert way > 0.1
        assert np.abs(found[leaf] - expected[name][leaf]).max() < CLOSE * way


@pytest.mark.parametrize("dialect", ["KERAS", "PAPER"])
def test_other_dialects_have_code_of_ours_only(dialect):
    config = {**BASE, "dialect": dialect, "final": 0.0}
    code = as_code(config, STEPS, "functional_adam")
    assert f"dialect=fa.{dialect}" in code
    assert ("base_learning_rate=0.05" in code) == (dialect == "PAPER")
    exec(code, {})
    for framework in ("torch", "optax"):
        with pytest.raises(ValueError, match=f"has no adamw in the dialect {dialect}"):
            as_code(config, STEPS, framework)


def test_amsgrad_that_is_off_is_adamw():
    off = as_code({**BASE, "amsgrad": False}, STEPS, "torch")
    assert off == as_code(BASE, STEPS, "torch")


def test_torch_code_is_plain_pytorch():
    code = as_code(config_of("warm-up"), STEPS, "torch")
    assert {line for line in code.splitlines() if "import" in line} == {
        "import math",
        "import torch",
    }
    assert "functional_adam" not in code.split("\n", 1)[1]


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_warm_up_is_shorter_than_the_run(steps):
    for framework in WRITERS:
        trained(framework, as_code({**BASE, "warmup": 0.96, "final": 0.0}, steps, framework))


def test_weights_in_half_precision_have_a_master():
    code = {f: as_code(BASE, STEPS, f, dtype="float16", before=True) for f in WRITERS}
    scope = {}
    exec(code["functional_adam"], scope)
    tx, p = scope["tx"], jax.numpy.ones(4, "float16")
    state = tx.init(p)
    for _ in range(3):
        updates, state = tx.update(jax.numpy.full(4, 1e-6, "float16"), state, p)
        p = optax.apply_updates(p, updates)
    assert p.dtype == "float16"
    assert 0 < float(p[0]) < 1
    assert "optax.chain(before, ...)" in code["functional_adam"]
    assert "wrap tx in functional_adam.with_master" in code["optax"]
    assert "functional_adam_torch's class with master_bits=32" in code["torch"]
    for text in code.values():
        assert "float16 beside a float32 master" in text
    assert "master" not in as_code(BASE, STEPS, "functional_adam", dtype="float32")


def test_hyperparameters_of_the_task_are_named():
    code = as_code({**BASE, "dropout": 0.1}, STEPS, "optax")
    assert "# The task's own hyperparameters: {'dropout': 0.1}" in code


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"framework must be one of .*; got 'keras'"):
        as_code(BASE, STEPS, "keras")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        as_code(BASE, 0, "torch")
    with pytest.raises(ValueError, match="has no learning_rate"):
        as_code({"b1": 0.9}, STEPS, "torch")


def test_a_torch_module_is_tuned_and_its_code_trains_it_alike(tmp_path):
    from functional_adam_torch.tuning import TorchTask

    data = {"x": torch.tensor(X), "y": torch.tensor(Y)}
    task = TorchTask(
        name="linear",
        make=lambda: torch.nn.Linear(3, 2),
        loss=lambda model, batch: ((model(batch["x"]) - batch["y"]) ** 2).mean(),
        train=data,
        validation=data,
        held_out=data,
        batch_size=len(X),
        steps=STEPS,
        evaluations=1,
    )
    study = tune(task, budget=6.0, out=tmp_path, execution=Execution(4))
    assert study.best.validation < 0.5 * study.untuned.mean
    space = {}
    exec(study.best.as_code("torch"), space)
    seed, loss = next(
        (o.trial.seed, o.validation) for o in study.fresh if o.trial.config == study.best.config
    )
    model = task.module(seed)
    optimizer, scheduler = space["make_optimizer"](model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        task.loss(model, data).backward()
        optimizer.step()
        scheduler.step()
    assert float(task.loss(model, data).detach()) == pytest.approx(loss, rel=1e-4)
    with pytest.raises(ValueError, match="dtype of a torch task is that of its module"):
        tune(task, budget=6.0, dtype="bfloat16")
