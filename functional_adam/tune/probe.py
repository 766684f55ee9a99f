"""Does Adam survive in a dtype? What underflows, what stands still, and whether the loss agrees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..diagnostics import _figures as figures_
from ..diagnostics._words import LIMITS, SHARE, UNDERFLOW, said
from . import _hyper
from ._batches import Batches
from ._evaluate import figures_of, loss_of
from ._tree import cast, examples, take
from .engine import population
from .script import untuned
from .space import Config, adamw_space
from .task import Task
from .trial import Trial

DTYPES = ("float16", "bfloat16")
PARITY = 0.1  # relative rise of the loss over float32's that is still parity


@dataclasses.dataclass(frozen=True)
class Probe:
    """Adam wholly in a dtype beside float32, on the same gradients.

    Attributes:
        dtype: of parameters, moments and arithmetic.
        eps: after the cast to it.
        b2: after the cast.
        underflow: share of nonzero gradients whose square is zero; this and what follows until the
            first NaN.
        dead: share of live coordinates (float32's v is positive) whose v is zero at the end.
        stuck: share of positive v that did not move in a step in which float32's did.
        eps_dominates: share of live coordinates with sqrt(v / c2) < eps at the end, in float32.
        losses: validation loss at the end by way: "float32"; "all in dtype", as torch.optim and
            optax train half-precision parameters; "float32 state", as `Task.dtype` does here, with
            float32 moments and master weights.
        spread: of float32's loss between seeds.
        flags: what is wrong, by name: "eps", "b2", "underflow", "dead", "stuck", "eps_dominates",
            "parity".
        verdict: what to change and why, in words.
    """

    dtype: str
    eps: float
    b2: float
    underflow: float
    dead: float
    stuck: float
    eps_dominates: float
    losses: Mapping[str, float]
    spread: float
    flags: tuple[str, ...]
    verdict: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether training wholly in the dtype is as good as float32."""
        return not self.flags

    def as_record(self) -> dict[str, Any]:
        """For a log."""
        return dict(kind="probe", **dataclasses.asdict(self))


def precision_probe(
    task: Any,
    *,
    dtype: str | None = None,
    config: Config | None = None,
    steps: int | None = None,
    seed: int = 0,
    execution: Any = "auto",
) -> Probe:
    """Train with all of AdamW in a dtype and look at what float32 would have done beside it.

    That no NaN appears is no test: float16 with ``eps = 1e-7`` ends finite at a loss of thousands.
    So the validation loss is compared with float32's, from the same weights on the same batches.

    Args:
        task: a `Task` of JAX.
        dtype: "float16" or "bfloat16"; None: the task's.
        config: hyperparameters of adamw in the dialect TORCH; None: untuned Adam.
        steps: of training; None: the task's.
        seed: of weights and batches; float32 is trained on the next one as well.
        execution: of the float32 trainings, as in `population`.

    Returns:
        `Probe`.

    Raises:
        TypeError: the task is not one of JAX.
        ValueError: another dtype, or a configuration of another algorithm or dialect.
    """
    if not isinstance(task, Task):
        raise TypeError("task must be a Task of JAX: torch modules cannot be probed")
    dtype = task.dtype if dtype is None else dtype
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    length: int = task.steps if steps is None else steps
    if length < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    config = untuned(adamw_space(steps=task.steps)) if config is None else config
    _hyper.check(config, task.own)
    group = _hyper.group_of({k: x for k, x in config.items() if k != "amsgrad" or x})
    if (group.algorithm, group.dialect) != ("adamw", "TORCH"):
        raise ValueError(
            f"config must be of adamw in the dialect TORCH, got {group.algorithm} in "
            f"{group.dialect}"
        )
    full = _hyper.filled(config, length)
    seen, loss = _plain(_in(task, dtype), config, full, length, seed)
    exact, other = (
        o.validation
        for o in population(
            _in(task, "float32"),
            [Trial(config, s, length, length) for s in (seed, seed + 1)],
            execution=execution,
        )
    )
    (kept,) = population(
        _in(task, dtype),
        [Trial(config, seed, length, length)],
        execution=execution,
    )
    losses = {"float32": exact, "all in dtype": loss, "float32 state": kept.validation}
    rounded = {name: float(jnp.asarray(full[name], dtype)) for name in ("eps", "b2")}
    found = Probe(
        dtype, **rounded, **seen, losses=losses, spread=abs(exact - other), flags=(), verdict=()
    )
    return _judged(found, full)


def _in(task: Any, dtype: str) -> Any:
    """The task in a dtype; the same one again, with what was compiled for it."""
    if task.dtype == dtype:
        return task
    key = "task", dtype
    if key not in task.programs:
        task.programs[key] = dataclasses.replace(task, dtype=dtype)
    return task.programs[key]


def _plain(task: Any, config: Config, full: Any, steps: int, seed: int) -> Any:
    """What was seen on the way, and the validation loss at the end, all of optax in the dtype."""
    h = jax.tree.map(lambda x: x[0], _hyper.hyper_of([config], [steps], task.own))
    tx = optax.adamw(
        lambda count: _hyper.learning_rate(h, count),
        **{name: full[name] for name in ("b1", "b2", "eps", "weight_decay")},
    )
    if task.before is not None:
        tx = optax.chain(task.before, tx)
    loss_fn, figures = loss_of(task), figures_of(task)
    windows = Batches(examples(task.train), task.batch_size).window(seed, 0, steps, steps)
    train, validation = (jax.tree.map(jnp.asarray, x) for x in (task.train, task.validation))
    b2 = np.float32(full["b2"])

    def step(carry: Any, window: Any) -> Any:
        params, state, shadow, last, count, sound = carry
        key = jax.random.fold_in(jax.random.key(seed), count)
        gradients = jax.grad(loss_fn)(params, take(train, window), key, h.own)
        # What comes after the first NaN says nothing of how it came.
        sound = sound & jnp.isfinite(_flat(params)).all() & jnp.isfinite(_flat(gradients)).all()
        v = _flat(optax.tree.get(state, "nu"))
        updates, state = tx.update(gradients, state, params)
        g, w = _flat(gradients), _flat(optax.tree.get(state, "nu"))
        wide = g.astype(jnp.float32)
        moved = b2 * shadow + np.float32(1 - full["b2"]) * wide**2
        live = (moved > 0) & (v > 0)
        seen = dict(
            sound=sound.astype(jnp.float32),
            underflow=_share(figures_.underflows(wide, g * g), wide != 0) * sound,
            stuck=_share(live & figures_.stands(v, w, shadow, moved), live) * sound,
        )
        shadow, last = jnp.where(sound, moved, shadow), jnp.where(sound, w, last)
        params = optax.apply_updates(params, updates)
        return (params, state, shadow, last, count + sound, sound), seen

    @jax.jit
    def run(params: Any, windows: Any) -> Any:
        state, zero = tx.init(params), jnp.zeros_like(_flat(params))
        start = params, state, zero.astype(jnp.float32), zero, jnp.zeros((), jnp.int32), True
        (params, _, shadow, last, count, _), seen = jax.lax.scan(step, start, windows)
        live = shadow > 0
        c2 = 1 - b2 ** jnp.maximum(count, 1)
        small = figures_.small(live, shadow, np.float32(full["eps"]) ** 2 * c2)
        dead = figures_.dead(live, last)
        end = dict(dead=_share(dead, live), eps_dominates=_share(small, live))
        steps = jnp.maximum(seen["sound"].sum(), 1)
        means = {name: seen[name].sum() / steps for name in ("underflow", "stuck")}
        return {**means, **end}, figures(params, validation, h.own)["loss"]

    params = cast(task.init(jax.random.key(seed)), task.dtype)
    seen, loss = run(params, windows)
    return {name: float(x) for name, x in seen.items()}, float(loss)


def _judged(p: Probe, full: Mapping[str, Any]) -> Probe:
    """With flags, and words for each."""
    exact, loss = p.losses["float32"], p.losses["all in dtype"]
    bound = exact + max(PARITY * abs(exact), 2 * p.spread)
    found: dict[str, str] = {}
    if p.eps == 0 < full["eps"]:
        found["eps"] = (
            f"eps {full['eps']:g} becomes 0 in {p.dtype}: a zero gradient divides 0 by 0. Keep "
            "the division in float32."
        )
    if p.b2 == 1 or abs((1 - p.b2) / (1 - full["b2"]) - 1) > PARITY:
        found["b2"] = (
            f"b2 {full['b2']:g} becomes {p.b2:.6g} in {p.dtype}, a memory of "
            f"{'unlimited length' if p.b2 == 1 else f'{1 / (1 - p.b2):.0f} steps'} in place of "
            f"{1 / (1 - full['b2']):.0f}. Keep b2 in float32."
        )
    for name in ("underflow", "dead", "stuck", "eps_dominates"):
        share = getattr(p, name)
        if share > SHARE:
            found[name] = said(name, share, LIMITS.get(name, UNDERFLOW))
    if not loss <= bound:
        finite = "finite, but " if math.isfinite(loss) else ""
        found["parity"] = (
            f"The loss is {finite}{loss:.4g}; float32 reaches {exact:.4g} from the same weights on "
            "the same batches."
        )
    safe = p.losses["float32 state"]
    end = f"With float32 moments and master weights the loss is {safe:.4g}: " + (
        "as good as float32." if safe <= bound else "worse than float32 too; look at the loss."
    )
    if not found:
        sound = f"AdamW wholly in {p.dtype} is as good as float32: {loss:.4g}."
        return dataclasses.replace(p, verdict=(sound, end))
    still = f"The loss of this training is {loss:.4g} all the same; of float32 {exact:.4g}."
    verdict = (*found.values(), *(() if "parity" in found else (still,)), end)
    return dataclasses.replace(p, flags=tuple(found), verdict=verdict)


def _flat(tree: Any) -> Any:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def _share(some: Any, of: Any) -> Any:
    return figures_.share(some.sum(), of.sum())
