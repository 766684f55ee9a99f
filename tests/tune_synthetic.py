"""A task that costs nothing: a response surface in place of training, for tests of studies."""

from __future__ import annotations

import hashlib
import json
import math
import time
import types
from pathlib import Path

import numpy as np

from functional_adam.tune.choice import distance
from functional_adam.tune.space import adamw_space
from functional_adam.tune.trial import Outcome
from functional_adam.tune.work import Engine

STEPS = 200
SPACE = adamw_space(steps=STEPS)
START = 2.3
DIVERGES_FROM = 0.08

__all__ = ["SPACE", "STEPS", "Surface", "distance", "synthetic_task"]


def synthetic_task(**changes):
    """What a study asks of a task, without functions."""
    fields = dict(
        name="synthetic",
        steps=STEPS,
        batch_size=8,
        evaluations=4,
        dtype="float32",
        train=np.arange(8.0),
        validation=np.arange(4.0),
        held_out=np.arange(2.0),
        own=(),
    )
    return types.SimpleNamespace(**{**fields, **changes})


class Surface:
    """Losses by formula: a valley in the learning rate, shallow ones in the others, seeded noise.

    The best constant learning rate is worse than the best one with a cosine.
    """

    def __init__(self, *, noise=0.05, seconds=0.0, started: Path | None = None):
        self.noise, self.seconds, self.started = noise, seconds, started
        self.asked = []

    @property
    def engine(self):
        return Engine(self.train, self.held_out)

    def loss(self, trial, what="validation"):
        c = trial.config
        z = 0.6 * (math.log10(c["learning_rate"]) + 1.8) ** 2
        z += 0.15 * (math.log10(1 - c["b1"]) + 1.3) ** 2
        z += 0.08 * (math.log10(1 - c["b2"]) + 2) ** 2
        decay = c["learning_rate"] * c["weight_decay"]
        z += 0.05 * (math.log10(max(decay, 1e-8)) + 4) ** 2 + 0.7 * c["final"]
        z += 0.4 * (1 - trial.steps / STEPS)
        key = json.dumps([what, sorted(c.items()), trial.seed, trial.steps])
        rng = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:8], 16))
        shared = np.random.default_rng(trial.seed).normal()
        return math.exp(-3 + z + self.noise * (shared + rng.normal()))

    def outcome(self, trial):
        diverged = trial.config["learning_rate"] > DIVERGES_FROM
        loss = 1.5 * START if diverged else self.loss(trial)
        curve = [(0, START), (trial.steps // 2, (START + loss) / 2), (trial.steps, loss)]
        return Outcome(trial, loss, diverged, curve, {"accuracy": 1 - loss}, 0.01, trial.steps)

    def train(self, trials, on_done):
        for trial in trials:
            self.asked.append(trial)
            self._note("training", trial)
            time.sleep(self.seconds)
            on_done(self.outcome(trial))

    def held_out(self, trials):
        for trial in trials:
            self.asked.append(trial)
            self._note("held_out", trial)
        return [self.loss(trial, "held_out") for trial in trials]

    def _note(self, kind, trial):
        """What was begun, beside the log and not through it."""
        if self.started is not None:
            line = json.dumps([kind, dict(trial.config), trial.seed, trial.steps, trial.of])
            with self.started.open("a") as file:
                file.write(line + "\n")
