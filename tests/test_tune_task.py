"""Tasks: their errors, dtypes, own hyperparameters, adapters, data; hyperparameters' errors."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tune_tasks import STEPS, arrays, init, loss, predict, tiny, trials

from functional_adam.tune import (
    Execution,
    Trial,
    _cache,
    _remembered,
    builtin,
    compilation_cache,
    from_equinox,
    from_nnx,
    population,
    tune,
)
from functional_adam.tune._batches import Batches, order
from functional_adam.tune._evaluate import figures_of
from functional_adam.tune._tree import cast
from functional_adam.tune.budget import Plan
from functional_adam.tune.head import fingerprint
from functional_adam.tune.tasks import BUILTIN

ONE = Execution()


def _bad(**changes):
    return lambda: tiny(**changes).check()


def _no_scalar(params, batch, key):
    return (predict(params, batch["x"]) - batch["y"]) ** 2


def _shapes(params, batch, key):
    return jnp.mean(predict(params, batch["x"]) @ jnp.ones(3))


def _infinite(params, batch, key):
    return loss(params, batch, key) / 0.0


TASKS = [
    (_bad(loss=_no_scalar), ValueError, r"loss of task 'tiny' must be a scalar, got shape \(8,\)"),
    (_bad(loss=lambda p, b, k: (loss(p, b, k), 1)), ValueError, "must return a scalar, got tuple"),
    (_bad(loss=_shapes), ValueError, "loss of task 'tiny' fails on a batch of 8 examples"),
    (_bad(loss=_infinite), ValueError, "loss of task 'tiny' must be finite at the start, got inf"),
    (_bad(loss=lambda p, b, k: jnp.int32(1)), TypeError, "must be a floating number"),
    (_bad(metrics={"wrong": lambda p, b: b["x"]}), ValueError, "metrics.'wrong'. of task 'tiny'"),
    (_bad(metrics={"loss": _infinite}), ValueError, "must not be called 'loss': that is what is"),
    (_bad(own=("steps", "x")), ValueError, "own of task 'tiny' must not hold steps: columns"),
    (_bad(batch_size=61), ValueError, "at most its 60 training examples, got 61"),
    (_bad(batch_size=0), ValueError, "batch_size must be an integer >= 1, got 0"),
    (_bad(steps=1.5), ValueError, "steps must be an integer >= 1, got 1.5"),
    (_bad(dtype="int8"), ValueError, "dtype must be one of float32"),
    (_bad(dtype="float64"), ValueError, "needs x64"),
    (_bad(train={}), ValueError, "train of task 'tiny' holds no arrays"),
    (_bad(train=arrays(0, 0)), ValueError, "train of task 'tiny' holds no examples"),
    (_bad(validation=[1.0]), TypeError, r"validation\[0\] must be an array, got float"),
    (_bad(validation=[np.float32(1)[()]]), TypeError, r"validation\[0\] must be an array"),
    (_bad(validation={"x": np.ones((4, 5)), "y": np.ones(3)}), ValueError, "as many examples"),
    (_bad(validation={"x": np.ones((4, 6)), "y": np.ones(4)}), ValueError, r"has shape \(6,\)"),
    (_bad(held_out={"x": np.ones((4, 5))}), ValueError, "held_out must have the structure of"),
    (_bad(train={"x": np.array(["a"])}), TypeError, r"train\['x'\] must hold numbers"),
    (_bad(train={"x": np.array(["2026"], "M8[D]")}), TypeError, "whole bytes, got dtype datetime"),
    (_bad(train={"x": jnp.ones(60, "int4")}), TypeError, "numbers of whole bytes, got dtype int4"),
    (_bad(init=lambda key: {"w": jnp.ones(3, int)}), TypeError, r"params\['w'\] .* has dtype int"),
    (_bad(init=lambda key: {}), ValueError, "gives no parameters"),
    (_bad(init=lambda key: key @ 1), ValueError, "init.key. of task 'tiny' fails"),
    (
        _bad(init=lambda key: {**init(key), "v": jnp.full(6, jnp.nan)}),
        ValueError,
        r"params\['v'\] of task 'tiny' is not finite at the start",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), TASKS)
def test_a_task_that_does_not_fit(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


CONFIGS = [
    (dict(learning_rate=math.nan), "learning_rate must be a finite number >= 0, got nan"),
    (dict(learning_rate="1e-3"), "learning_rate must be a number, got '1e-3'"),
    (dict(b1=1.0), r"b1 must be in \[0, 1\), got 1.0"),
    (dict(beta1=0.9), "beta1: not a hyperparameter"),
    (dict(warmup=1.0), r"warmup must be in \[0, 1.0\), got 1.0"),
    (dict(algorithm="adamv"), "algorithm must be one of adam,"),
    (dict(dialect="torch"), "dialect must be one of TORCH"),
    (dict(amsgrad=1), "amsgrad must be True or False, got 1"),
    (dict(amsgrad=True, algorithm="radamw"), "amsgrad belongs to adam and adamw"),
    (dict(momentum_decay=0.1), "momentum_decay has no meaning for adamw"),
]


@pytest.mark.parametrize(("values", "message"), CONFIGS)
def test_a_configuration_that_cannot_be(values, message):
    (trial,) = trials(1, **values)
    with pytest.raises(ValueError, match=message):
        population(tiny(), [trial], execution=ONE)


def test_a_configuration_without_a_learning_rate():
    with pytest.raises(ValueError, match="has no learning_rate"):
        population(tiny(), [Trial({"b1": 0.9}, 0, 1, 1)], execution=ONE)


@pytest.mark.parametrize("numbers", [(0, 2, 1), (-1, 1, 1), (0, 0, 1)])
def test_a_trial_that_cannot_be(numbers):
    with pytest.raises(ValueError, match="Trial"):
        Trial({}, *numbers)


def test_counts_may_be_numpy_s():
    task = tiny(batch_size=np.int64(8), steps=np.int32(6), evaluations=np.int64(2))
    task.check()
    study = tune(task, budget=np.int64(6), seed=np.int64(1), execution=ONE)
    assert study.plan == Plan(6, 6, 1)
    with pytest.raises(ValueError, match=r"batch_size must be an integer >= 1, got 8\.0"):
        tiny(batch_size=8.0).check()


def test_the_same_folder_for_another_loss_is_refused(tmp_path):
    """Also where nothing is left to train, which would show it."""
    task = tiny(steps=6)
    first = tune(task, budget=6, out=tmp_path, execution=ONE)
    again = tune(task, budget=6, out=tmp_path, execution=ONE)
    assert again.best == first.best
    assert len(again.log.records) == len(first.log.records)
    other = tiny(steps=6, loss=lambda params, batch, key: loss(params, batch, key) + 1)
    with pytest.raises(ValueError, match="is not the one this study was begun with"):
        tune(other, budget=6, out=tmp_path, execution=ONE)
    with pytest.raises(
        ValueError, match=r"another task \(the task's evaluations\): 4 there, 2 now"
    ):
        tune(tiny(steps=6, evaluations=2), budget=6, out=tmp_path, execution=ONE)


def test_a_seed_whose_loss_is_not_finite():
    def sometimes(params, batch, key):
        return loss(params, batch, key) / (1.0 if key is not None else 0.0)

    with pytest.raises(ValueError, match="must be finite at the start, got inf on validation data"):
        population(tiny(loss=sometimes), trials(1), execution=ONE)


def test_own_hyperparameters_and_a_transformation_before():
    """The loss sees its own value, and gradients are clipped: by a loop with optax."""

    def penalised(params, batch, key, own):
        return loss(params, batch, key) + own["penalty"] * jnp.sum(params["w"] ** 2)

    task = tiny(loss=penalised, own=("penalty",), before=optax.clip_by_global_norm(0.1), steps=4)
    some = [Trial({"learning_rate": 0.1, "penalty": p, "eps": 1e-2}, 0, 4, 4) for p in (0.0, 0.5)]
    tx = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.1, eps=1e-2, weight_decay=1e-2))

    @jax.jit
    def step(params, state, batch, own):
        gradients = jax.grad(penalised)(params, batch, None, own)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    outcomes = population(task, some, execution=ONE, keep_params=True)
    for trial, outcome in zip(some, outcomes, strict=True):
        params, own = init(jax.random.key(0)), {"penalty": trial.config["penalty"]}
        state = tx.init(params)
        for t in range(4):
            index = order(0, 0, 60)[t * 8 : (t + 1) * 8]
            batch = {k: x[index] for k, x in task.train.items()}
            params, state = step(params, state, batch, own)
        for name, p in params.items():
            np.testing.assert_allclose(outcome.params[name], p, rtol=1e-4, atol=1e-6)
        loss_there = float(penalised(params, task.validation, None, own))
        assert outcome.validation == pytest.approx(loss_there, rel=1e-4)
    with pytest.raises(ValueError, match="the configuration has no penalty"):
        population(task, trials(1), execution=ONE)


def test_half_precision_keeps_a_master():
    """Steps of a thousandth of a weight would be lost in bfloat16 alone."""
    config = {"learning_rate": 3e-4, "weight_decay": 0.0}
    (outcome,) = population(
        tiny(dtype="bfloat16"), [Trial(config, 0, STEPS, STEPS)], execution=ONE, keep_params=True
    )
    start = init(jax.random.key(0))
    moved = np.abs(np.asarray(outcome.params["w"], np.float32) - np.asarray(start["w"]))
    assert outcome.params["w"].dtype == jnp.bfloat16
    assert 0.5 < moved.mean() / (3e-4 * STEPS) < 1.5


@pytest.mark.parametrize(
    ("kept", "dtype"),
    [
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float16"),
        ("float16", "bfloat16"),
    ],
)
def test_the_dtype_of_a_task_decides_whatever_init_gives(kept, dtype):
    """Small steps in float32 are not lost in 16 bits that init draws."""

    def narrow(key):
        return cast(init(key), kept)

    def wide(key):
        return cast(narrow(key), "float32")

    run = [Trial({"learning_rate": 3e-4, "weight_decay": 0.0}, 0, STEPS, STEPS)]
    (found,), (expected,) = (
        population(tiny(dtype=dtype, init=f), run, execution=ONE, keep_params=True)
        for f in (narrow, wide)
    )
    assert found.params["w"].dtype == dtype
    assert found.validation == expected.validation
    np.testing.assert_array_equal(found.params["w"], expected.params["w"])


@pytest.mark.parametrize(
    ("where", "dtype"),
    [
        (np.asarray, "bfloat16"),
        (jnp.asarray, "bfloat16"),
        (np.asarray, "float8_e4m3fn"),
        (jnp.asarray, "float16"),
        (np.asarray, "int8"),
        (jnp.asarray, "bool"),
    ],
)
def test_data_of_any_dtype(where, dtype):
    """What a few bits hold exactly is trained as the same numbers in float32."""

    def whole(seed, n):
        rng = np.random.default_rng(seed)
        return {k: rng.integers(0, 2, x.shape) for k, x in arrays(seed, n).items()}

    found = []
    for kept in (dtype, "float32"):
        data = {
            part: {k: where(x.astype(kept)) for k, x in whole(i, n).items()}
            for i, (part, n) in enumerate((("train", 60), ("validation", 30)))
        }
        task = tiny(held_out=None, loss=lambda p, b, key: loss(p, cast(b, "float32"), key), **data)
        (outcome,) = population(task, trials(1), execution=ONE)
        found.append([x for _, x in outcome.curve] + [*outcome.metrics.values()])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_keys_of_random_numbers_are_data():
    """More of them than are looked at in one batch, and in a study's fingerprint."""

    def noisy(params, batch, key):
        x = jax.vmap(lambda k: jax.random.normal(k, (2,)))(batch)
        return ((x @ params["w"] - 1) ** 2).mean()

    parts = jax.random.split(jax.random.key(0), (3, 1100))
    task = tiny(
        init=lambda key: {"w": jnp.zeros(2)},
        loss=noisy,
        metrics={},
        **dict(zip(("train", "validation", "held_out"), parts, strict=True)),
    )
    (outcome,) = population(task, trials(1), execution=ONE, keep_params=True)
    assert np.abs(outcome.params["w"]).min() > 0
    last = noisy(outcome.params, task.validation, None)
    assert outcome.validation == pytest.approx(float(last), rel=1e-5)
    assert fingerprint(task) != fingerprint(task.with_(train=parts[1]))


def test_every_epoch_is_a_shuffle():
    batches = Batches(60, 8)
    seen = batches.window(3, 0, 14, 16)
    assert seen.shape == (16, 8)
    assert not seen[14:].any()
    for epoch in (seen[:7], seen[7:14]):
        assert len(set(epoch.ravel().tolist())) == 56
    np.testing.assert_array_equal(batches.window(3, 5, 4, 4), seen[5:9])
    assert (batches.window(4, 0, 7, 7) != seen[:7]).any()


def test_figures_of_many_examples_are_means_of_all():
    task = tiny(validation=arrays(7, 2500))
    found = jax.jit(figures_of(task))(init(jax.random.key(0)), task.validation, {})
    for name, function in (("loss", lambda p, b: loss(p, b, None)), *task.metrics.items()):
        expected = function(init(jax.random.key(0)), task.validation)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


def test_what_is_compiled_is_kept(tmp_path):
    """Programs and the measured execution are found by the next start; nothing else changes."""
    before = getattr(jax.config, _cache._DIRECTORY)
    some = trials(4)
    with compilation_cache(tmp_path / "cache"):
        first = population(tiny(), some)
        kept = {p.name for p in (tmp_path / "cache").iterdir()}
        trainings = {name for name in kept if "advance" in name}
        assert trainings
        assert "execution.json" in kept
        second = population(tiny(), some)
        now = {p.name for p in (tmp_path / "cache").iterdir()}
        assert {name for name in now if "advance" in name} == trainings
    assert [o.validation for o in first] == [o.validation for o in second]
    assert getattr(jax.config, _cache._DIRECTORY) == before
    with compilation_cache(False):
        assert _cache.directory() is None
        _remembered.remember("x", ONE)
        assert _remembered.recall("x") is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("FUNCTIONAL_ADAM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _cache.directory() == tmp_path / "functional_adam" / "jax"
    monkeypatch.setenv("FUNCTIONAL_ADAM_CACHE", "off")
    assert _cache.directory() is None
    monkeypatch.setenv("FUNCTIONAL_ADAM_CACHE", str(tmp_path / "mine"))
    assert _cache.directory() == tmp_path / "mine"


def _nnx_net(rngs):
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(5, 6, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.last = nnx.Linear(6, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(self.dropout(jnp.tanh(self.first(x))))[:, 0]

    return Net(rngs)


def _squared(module, batch):
    return jnp.mean((module(batch["x"]) - batch["y"]) ** 2)


def test_a_module_of_nnx():
    from flax import nnx

    parts = from_nnx(_nnx_net, _squared, metrics={"squared": _squared})
    task = tiny(**parts)
    params, batch = parts["init"](jax.random.key(1)), task.validation
    model = _nnx_net(nnx.Rngs(jax.random.key(1)))
    model.eval()
    assert float(parts["loss"](params, batch, None)) == pytest.approx(float(_squared(model, batch)))
    drawn = jax.jit(parts["loss"])
    one, two, three = (float(drawn(params, batch, jax.random.key(i))) for i in (0, 0, 1))
    assert one == two != three
    (outcome,) = population(task, [Trial({"learning_rate": 1e-2}, 0, 24, 24)], execution=ONE)
    assert outcome.validation < outcome.curve[0][1]
    assert outcome.metrics["squared"] == pytest.approx(outcome.validation, rel=1e-5)
    with pytest.raises(TypeError, match=r"parameters \(mean: BatchStat, var: BatchStat\)"):
        from_nnx(lambda rngs: nnx.BatchNorm(5, rngs=rngs), _squared)


@pytest.mark.parametrize("kind", [jnp.asarray, np.asarray])
def test_a_module_of_nnx_with_a_constant(kind):
    """A mask, a table of positions: no parameter, and no state either."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.scale = kind(np.linspace(0.5, 2, 5, dtype=np.float32))
            self.last = nnx.Linear(5, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(self.scale * x)[:, 0]

    parts = from_nnx(Net, _squared)
    task = tiny(**parts)
    task.check()
    params, batch = parts["init"](jax.random.key(1)), task.validation
    expected = _squared(Net(nnx.Rngs(jax.random.key(1))), batch)
    assert float(parts["loss"](params, batch, None)) == pytest.approx(float(expected))
    assert len(jax.tree.leaves(params)) == 2
    (outcome,) = population(task, [Trial({"learning_rate": 1e-2}, 0, 24, 24)], execution=ONE)
    assert outcome.validation < outcome.curve[0][1]


def test_a_module_of_equinox():
    import equinox as eqx

    class Net(eqx.Module):
        first: eqx.nn.Linear
        dropout: eqx.nn.Dropout
        last: eqx.nn.Linear

        def __init__(self, key):
            one, two = jax.random.split(key)
            self.first = eqx.nn.Linear(5, 6, key=one)
            self.dropout = eqx.nn.Dropout(0.5)
            self.last = eqx.nn.Linear(6, "scalar", key=two)

    def squared(module, batch, key):
        h = module.dropout(jnp.tanh(jax.vmap(module.first)(batch["x"])), key=key)
        return jnp.mean((jax.vmap(module.last)(h) - batch["y"]) ** 2)

    parts = from_equinox(Net, squared, metrics={"squared": lambda m, b: squared(m, b, None)})
    task = tiny(**parts)
    task.check()
    params, batch = parts["init"](jax.random.key(1)), task.validation
    expected = squared(eqx.nn.inference_mode(Net(jax.random.key(1))), batch, None)
    assert float(parts["loss"](params, batch, None)) == pytest.approx(float(expected))
    drawn = jax.jit(parts["loss"])
    one, two, three = (float(drawn(params, batch, jax.random.key(i))) for i in (0, 0, 1))
    assert one == two != three
    with pytest.raises(TypeError, match="StateIndex"):
        from_equinox(lambda key: eqx.nn.BatchNorm(5, "batch", mode="batch"), squared)


def test_modules_of_tasks_with_hyperparameters_of_their_own():
    import equinox as eqx

    with_own = {
        "nnx": from_nnx(_nnx_net, lambda m, b, own: _squared(m, b) + own["offset"]),
        "equinox": from_equinox(
            lambda key: eqx.nn.Linear(5, "scalar", key=key),
            lambda m, b, key, own: jnp.mean((jax.vmap(m)(b["x"]) - b["y"]) ** 2) + own["offset"],
        ),
    }
    for parts in with_own.values():
        task = tiny(**parts, own=("offset",))
        task.check()
        trials = [Trial({"learning_rate": 1e-2, "offset": x}, 0, 6, 24) for x in (0.0, 2.0)]
        a, b = population(task, trials, execution=ONE)
        assert b.validation - a.validation == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_task_fits(name):
    from functional_adam.tune._check_task import shapes

    task = builtin(name)
    shapes(task)
    assert task.name == name
    first = [
        x.tobytes()
        for part in (task.train, task.validation, task.held_out)
        for x in part["x" if "x" in part else "ids"]
    ]
    if name != "characters":
        # No example is in two parts (digits repeats none).
        assert len(set(first)) > 0.99 * len(first)


def test_a_task_that_is_not_built_in():
    with pytest.raises(ValueError, match="task must be one of digits-mlp"):
        builtin("mnist")
