"""The fan, the ramp and the precision probe, on small tasks."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tune_tasks import tiny

from functional_adam.tune import (
    Execution,
    Task,
    Trial,
    learning_rate_fan,
    learning_rate_test,
    population,
    precision_probe,
)
from functional_adam.tune.rates import _end

ONE = Execution()


def test_the_fan_is_the_losses_of_short_runs_with_schedules_of_their_own():
    task = tiny()
    fan = learning_rate_fan(task, points=4, low=1e-2, high=10.0, share=0.5, execution=ONE)
    assert fan.rates == (1e-2, 1e-1, 1.0, 10.0)
    assert fan.steps == 12
    config = {"learning_rate": 1e-1, "weight_decay": 1e-2, "b1": 0.9, "b2": 0.999, "final": 0.0}
    (outcome,) = population(task, [Trial(config, 0, 12, 12)], execution=ONE)
    assert fan.losses[1] == pytest.approx(outcome.validation, rel=1e-5)
    assert fan.best == fan.rates[int(np.argmin(fan.losses))]
    assert not fan.at_edge
    assert learning_rate_fan(task, points=2, low=1e-4, high=1e-3, share=0.5, execution=ONE).at_edge


def test_the_ramp_rises_until_the_loss_explodes_and_says_how_it_fails():
    found = learning_rate_test(tiny(), low=1e-5, high=1e3, steps=60)
    assert 10 < len(found.rates) < 60
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(1e8) / 59)
    assert len(found.losses) == len(found.smoothed) == len(found.rates)
    for rate in found.suggestions.values():
        assert 1e-6 < rate < 10
    assert any("spikes" in words for words in found.warnings)
    assert any("decade low" in words for words in found.warnings)


def test_a_ramp_of_losses_below_zero_is_as_long():
    fall = np.concatenate([np.linspace(2.3, 0.1, 40), [0.35, 1.0, 60.0]])
    assert _end(fall) == 41
    # Measured by how far it falls, not by its distance from zero.
    assert [_end(fall - shift) for shift in (0.2, 2.0, 5.0)] == [42] * 3
    assert _end(np.array([-1.0, np.nan, -2.0])) == 1


def test_the_first_loss_of_the_ramp_is_that_of_the_first_batch():
    from tune_tasks import BATCH, loss

    from functional_adam.tune._batches import order

    task = tiny()
    found = learning_rate_test(task, steps=10, high=1e-5)
    first = order(0, 0, 60)[:BATCH]
    batch = {name: x[first] for name, x in task.train.items()}
    expected = float(loss(task.init(jax.random.key(0)), batch, None))
    assert found.losses[0] == pytest.approx(expected, rel=1e-5)


rng = np.random.default_rng(0)
PIXELS = rng.normal(size=(128, 6)).astype(np.float32) * (np.arange(6) > 0)
CLASSES = (PIXELS @ rng.normal(size=(6, 3))).argmax(1).astype(np.int32)


def classifier():
    """Like the digits, it has a pixel that is always zero: gradients of exactly zero."""

    def loss(params, batch, key):
        logits = jnp.tanh(batch["x"] @ params["w"]) @ params["v"]
        chosen = jnp.take_along_axis(logits, batch["y"][:, None], -1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)

    def init(key):
        first, second = jax.random.split(key)
        return {"w": jax.random.normal(first, (6, 8)), "v": jax.random.normal(second, (8, 3))}

    parts = [{"x": PIXELS[s], "y": CLASSES[s]} for s in (slice(64), slice(64, 128))]
    return Task("classes", init, loss, parts[0], parts[1], batch_size=32, steps=60, evaluations=2)


CONFIG = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.999, "weight_decay": 0.0}


def test_the_probe_flags_float16_with_a_small_eps():
    task = classifier()
    for eps in (1e-8, 1e-7):
        found = precision_probe(
            task, dtype="float16", config={**CONFIG, "eps": eps}, execution=ONE, steps=40
        )
        assert not found.passed
        assert "parity" in found.flags
        assert ("eps" in found.flags) == (eps == 1e-8)
        assert 0 <= found.underflow < 1
        assert found.losses["float32 state"] == pytest.approx(found.losses["float32"], rel=0.02)
        assert "as good as float32" in found.verdict[-1]


def test_the_probe_takes_what_a_study_that_searched_amsgrad_returns():
    task = classifier()
    plain, without = (
        precision_probe(task, dtype="bfloat16", config=config, execution=ONE, steps=5)
        for config in (CONFIG, {**CONFIG, "amsgrad": False})
    )
    assert plain == without
    with pytest.raises(ValueError, match="must be of adamw in the dialect TORCH, got amsgradw"):
        precision_probe(task, dtype="bfloat16", config={**CONFIG, "amsgrad": True}, steps=5)


def test_the_probe_flags_b2_in_bfloat16_and_passes_what_is_sound():
    task = classifier()
    found = precision_probe(task, dtype="bfloat16", config=CONFIG, execution=ONE, steps=40)
    assert found.b2 == 1
    assert {"b2", "stuck"} <= set(found.flags)
    assert found.underflow == 0
    assert "unlimited length" in found.verdict[0]
    assert ("parity" in found.flags) == found.verdict[-2].startswith("The loss is")
    assert len(found.verdict) == len(found.flags) + 1 + ("parity" not in found.flags)
    assert found.as_record()["kind"] == "probe"
    config = {**CONFIG, "b2": 0.5, "b1": 0.5, "eps": 1e-3}
    sound = precision_probe(task, dtype="bfloat16", config=config, execution=ONE, steps=40)
    assert not {"b2", "eps", "stuck", "dead"} & set(sound.flags)
    assert sound.eps == pytest.approx(1e-3, rel=4e-3)


# fmt: off
WRONG = [
    (learning_rate_fan, dict(points=1), ValueError, "points must be at least 2, got 1"),
    (learning_rate_fan, dict(low=1.0, high=0.1), ValueError, "0 < low < high, got 1.0 and 0.1"),
    (learning_rate_fan, dict(share=0.0), ValueError, r"share must be in \(0, 1\], got 0.0"),
    (learning_rate_test, dict(steps=9), ValueError, "steps must be at least 10, got 9"),
    (learning_rate_test, dict(low=0.0), ValueError, "0 < low < high, got 0.0 and 1.0"),
    (precision_probe, dict(), ValueError, "dtype must be one of float16, bfloat16; got 'float32'"),
    (precision_probe, dict(dtype="float16", steps=0), ValueError, "steps must be at least 1"),
    (precision_probe, dict(dtype="float16", config={**CONFIG, "dialect": "KERAS"}), ValueError,
     "config must be of adamw in the dialect TORCH, got adamw in KERAS"),
]
# fmt: on


@pytest.mark.parametrize(("function", "arguments", "error", "words"), WRONG)
def test_wrong_arguments(function, arguments, error, words):
    with pytest.raises(error, match=words):
        function(tiny(), **arguments)
