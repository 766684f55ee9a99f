"""Tiny tasks that compile in a moment, and a hand-written training as the oracle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from functional_adam.tune import Task, Trial
from functional_adam.tune._batches import order

STEPS = 24
BATCH = 8


def arrays(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    y = np.tanh(x @ np.linspace(-1, 1, 5)) + 0.1 * rng.normal(size=n)
    return {"x": x, "y": y.astype(np.float32)}


def init(key):
    """Weights that depend on the key, without compiling a generator."""
    number = jax.random.key_data(key).sum().astype(jnp.float32)
    wave = jnp.sin(jnp.arange(36) * (1.3 + number))
    return {"w": 0.5 * wave[:30].reshape(5, 6), "v": 0.5 * wave[30:]}


def predict(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def loss(params, batch, key):
    return jnp.mean((predict(params, batch["x"]) - batch["y"]) ** 2)


def error(params, batch):
    return jnp.mean(jnp.abs(predict(params, batch["x"]) - batch["y"]))


def tiny(**changes):
    options = dict(
        name="tiny", init=init, loss=loss, train=arrays(1, 60), validation=arrays(2, 20),
        held_out=arrays(3, 20), batch_size=BATCH, steps=STEPS, metrics={"error": error},
        evaluations=4,
    )  # fmt: skip
    return Task(**{**options, **changes})


def configs(n, seed=0, **fixed):
    rng = np.random.default_rng(seed)
    return [
        {
            "learning_rate": float(10 ** rng.uniform(-3, -1)),
            "b1": float(1 - 10 ** rng.uniform(-2, -0.5)),
            "b2": float(1 - 10 ** rng.uniform(-4, -1)),
            "weight_decay": float(10 ** rng.uniform(-3, 0)),
            "final": float(rng.choice([0.0, 1.0])),
            "warmup": float(rng.choice([0.0, 0.2])),
            **fixed,
        }
        for _ in range(n)
    ]


def trials(n, *, seed=0, steps=STEPS, of=STEPS, **fixed):
    chosen = configs(n, seed, **fixed)
    # The first leaves the schedule and the decay to their defaults: constant, and torch's.
    for name in ("final", "warmup", "weight_decay"):
        if name not in fixed:
            del chosen[0][name]
    return [Trial(c, seed=i % 2, steps=steps, of=of) for i, c in enumerate(chosen)]


def by_torch(task, trial):
    """The parameters that torch.optim.AdamW reaches from the same weights on the same batches."""
    import torch

    start = task.init(jax.random.key(trial.seed))
    params = {k: torch.nn.Parameter(torch.tensor(np.asarray(p))) for k, p in start.items()}
    c = trial.config
    optimizer = torch.optim.AdamW(
        params.values(), lr=1.0, betas=(c["b1"], c["b2"]), weight_decay=c.get("weight_decay", 1e-2),
        amsgrad=bool(c.get("amsgrad", False)),
    )  # fmt: skip
    w, n, per_epoch = round(c.get("warmup", 0.0) * trial.of), len(task.train["y"]), 60 // BATCH
    for t in range(trial.steps):
        rate = (1 - t / w) / w + t / w if t < w else None
        if rate is None:
            cosine = (1 + np.cos(np.pi * (t - w) / (trial.of - w))) / 2
            final = c.get("final", 1.0)
            rate = final + (1 - final) * cosine
        optimizer.param_groups[0]["lr"] = c["learning_rate"] * rate
        epoch, at = divmod(t, per_epoch)
        index = order(trial.seed, epoch, n)[at * BATCH : (at + 1) * BATCH]
        x, y = (torch.tensor(task.train[k][index]) for k in "xy")
        optimizer.zero_grad()
        ((torch.tanh(x @ params["w"]) @ params["v"] - y) ** 2).mean().backward()
        optimizer.step()
    return {k: p.detach().numpy() for k, p in params.items()}
