"""Does a second moment forget? Gradients of half of each block shrink tenfold, then 6000 steps.

With b2 = 0.999 and 2000 steps before that, v should be 1.21 times its new true value. Rounded to
nearest in 16 or 8 bits it cannot decay: it is 50 to 200 times too large, and the weights stand
still. No error is raised and no loss curve of a short run shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..._codecs import decoded_second_moment

SHAPE = (32, 128)
BEFORE, AFTER = 2000, 6000  # steps with large and with small gradients
CHUNK = 1000  # steps; over the last of them the way of the weights is measured
SMALL = 0.1  # of every other column, afterwards
MEAN = 0.5  # of the gradients, in standard deviations: the weights move, not only tremble
RATE, B2 = 1e-3, 0.999


@dataclasses.dataclass(frozen=True)
class Forgetting:
    """What is left of large gradients in the elements whose gradients have shrunk.

    Attributes:
        v_true: mean second moment there over the true mean square of the gradients; NaN where the
            state has none that can be read. Exact Adam has 1.21.
        update: how far those weights go in the last 1000 steps, in learning rates per step.
    """

    v_true: float
    update: float


def chunks(seed: int = 0) -> Iterator[np.ndarray]:
    """The gradients, float32, a thousand steps at a time."""
    rng = np.random.default_rng(seed)
    late = np.where(_shrunk(), np.float32(SMALL), np.float32(1))
    for start in range(0, BEFORE + AFTER, CHUNK):
        g = rng.standard_normal((CHUNK, *SHAPE), np.float32) + np.float32(MEAN)
        yield g * late if start >= BEFORE else g


def forgetting_optax(tx: optax.GradientTransformation, dtype: Any = jnp.float32) -> Forgetting:
    """Measure an optax transformation whose learning rate is `RATE`; weights of `dtype`."""

    def body(carry, g):
        p, state = carry
        updates, state = tx.update(g.astype(dtype), state, p)
        return (optax.apply_updates(p, updates), state), None

    run = jax.jit(lambda carry, gs: jax.lax.scan(body, carry, gs)[0])
    p = old = jnp.ones(SHAPE, dtype)
    carry = (p, tx.init(p))
    for gs in chunks():
        old = carry[0]
        carry = run(carry, gs)
    nu = optax.tree.get(carry[1], "nu")
    found = np.full(SHAPE, np.nan) if nu is None else np.asarray(decoded_second_moment(nu, SHAPE))
    return _figures(found, np.asarray(carry[0], np.float64) - np.asarray(old, np.float64))


def forgetting_torch(make: Callable[[list[Any]], Any], dtype: str = "float32") -> Forgetting:
    """Measure a torch optimizer, `make(parameters)`, with lr = `RATE`; weights of `dtype`."""
    import torch

    kind = getattr(torch, dtype)
    p = torch.ones(SHAPE, dtype=kind).requires_grad_()
    optimizer = make([p])
    old = p
    for gs in chunks():
        old = p.detach().clone()
        for g in torch.from_numpy(gs).to(kind):
            p.grad = g
            optimizer.step()
    if hasattr(optimizer, "decoded_state_dict"):
        moment = optimizer.decoded_state_dict()["state"][0].get("exp_avg_sq")
    else:
        moment = optimizer.state[p].get("exp_avg_sq")
    if hasattr(moment, "dequantize") and type(moment) is not torch.Tensor:
        moment = moment.dequantize()
    found = np.full(SHAPE, np.nan) if moment is None else moment.float().numpy()
    return _figures(found, (p.detach().double() - old.double()).numpy())


def _figures(second_moment: np.ndarray, moved: np.ndarray) -> Forgetting:
    true = SMALL**2 * (1 + MEAN**2)
    return Forgetting(
        float(second_moment.astype(np.float64)[_shrunk()].mean() / true),
        float(-moved[_shrunk()].mean() / (RATE * CHUNK)),
    )


def _shrunk() -> np.ndarray:
    return np.broadcast_to(np.arange(SHAPE[1]) % 2 == 0, SHAPE)
