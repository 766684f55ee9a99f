"""The table every law runs over: each algorithm with each option that changes what is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import functional_adam as fa

# Tolerances, in one place; they hold for all elements.
# jit contracts products and sums; op by op nothing is contracted: a few units in the last place.
EAGER = dict(rtol=1e-5, atol=1e-7)
# The same computation in another program may be contracted differently: one unit in the last
# place of a parameter (they are below 4), of which the update is the difference.
OTHER_PROGRAM = dict(rtol=2e-6, atol=2.5e-7)


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: a name, and a function of overriding keyword arguments that makes it."""

    name: str
    algorithm: str
    options: tuple[tuple[str, Any], ...] = ()

    def make(self, learning_rate: Any = 1e-2, **more: Any) -> optax.GradientTransformationExtraArgs:
        make = fa.ALGORITHMS[self.algorithm].make
        return make(learning_rate, **{**dict(self.options), **more})

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return fa.ALGORITHMS[self.algorithm].hyperparameters


def _case(algorithm: str, **options: Any) -> Case:
    plain = ("weight_decay", "base_learning_rate")
    shown = {name: f"-{name}" for name in options if name not in plain}
    if "dialect" in options:
        shown["dialect"] = f"-{options['dialect']}"
    suffix = "".join(shown.values())
    return Case(algorithm + suffix, algorithm, tuple(options.items()))


MIXED = dataclasses.replace(
    fa.OPTAX,
    name="MIXED",
    eps_place="floor",
    decay_form="after_step",
    decay_rate="schedule",
)

CASES = [
    *(_case(name, weight_decay=0.1) for name in fa.ALGORITHMS),
    *(
        _case(name, weight_decay=0.1, nesterov=True)
        for name in ("adam", "adamw", "radam", "radamw")
    ),
    _case("adam", b1=0.3),
    _case("adamw", weight_decay=0.1, maximize=True),
    _case("nadam", momentum_decay=0.5),
    _case("adam", mu_dtype=jnp.bfloat16, nu_dtype=jnp.float16),
    _case(
        "adamw", weight_decay=0.1, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    ),
    # The operations on arrays that torch has not, in one; other knobs only choose scalars.
    _case("amsgradw", weight_decay=0.1, base_learning_rate=0.1, eps_root=1e-8, dialect=MIXED),
]

# One row for each formula, adamw for what decoupled decay adds to any of them, and what mixes all:
# of the laws that compile much.
_REPEATED = ("amsgradw", "nadamw", "radamw", "adamw-nesterov", "radamw-nesterov")
_REPEATED += ("adam-b1", "adamw-maximize", "adamw-mask", "nadam-momentum_decay")
_REPEATED += ("adam-mu_dtype-nu_dtype",)
RULES = [case for case in CASES if case.name not in _REPEATED]

# What changes the state or the rule: enough for the laws that only see its structure.
SHORT = [case for case in CASES if "-" not in case.name]

HYPERPARAMETERS = {
    "learning_rate": (1e-2, 3e-3),
    "b1": (0.9, 0.8),
    "b2": (0.999, 0.95),
    "eps": (1e-8, 1e-3),
    "weight_decay": (0.1, 0.02),
    "momentum_decay": (4e-3, 0.2),
    "b3": (0.99, 0.9),
    "alpha": (5.0, 2.0),
}


def params(dtype: Any = np.float32, seed: int = 0) -> dict[str, Any]:
    """A small nested tree: matrix, vector of odd size, scalar."""
    rng = np.random.default_rng(seed)
    tree = {"dense": {"w": (5, 7), "b": (7,)}, "scale": ()}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), dtype),
        tree,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def gradients(step: int, like: Any, seed: int = 1) -> Any:
    """Gradients over seven decades that change from step to step, a tenth of them exactly zero."""
    rng = np.random.default_rng((seed, step))

    def draw(p):
        size = 10.0 ** rng.uniform(-5, 2, p.shape) * rng.choice([-1.0, 1.0], p.shape)
        keep = rng.random(p.shape) > 0.1
        if jnp.iscomplexobj(p):
            size = size * np.exp(1j * rng.uniform(0, 6, p.shape))
        return jnp.asarray(size * keep, p.dtype)

    return jax.tree.map(draw, like)


def run(
    tx: optax.GradientTransformationExtraArgs,
    start: Any,
    steps: int,
    *,
    jit: Callable[..., Any] = jax.jit,
    **extra: Any,
) -> tuple[Any, Any]:
    """Parameters and state after some steps, with `extra` given to every update."""

    def step(p, state, g, extra):
        updates, state = tx.update(g, state, p, **extra)
        return optax.apply_updates(p, updates), state

    step = jit(step)
    p, state = start, tx.init(start)
    for t in range(steps):
        p, state = step(p, state, gradients(t, start), extra)
    return p, state


def delta(a: Any, b: Any) -> Any:
    """Difference of two trees."""
    return jax.tree.map(lambda x, y: _wide(x) - _wide(y), a, b)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.complex128 if jnp.iscomplexobj(x) else np.float64)


def assert_equal(a: Any, b: Any) -> None:
    """Same structure, dtypes, shapes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert jnp.result_type(x) == jnp.result_type(y), path
        np.testing.assert_array_equal(x, y, err_msg=str(path))


def assert_close(a: Any, b: Any, *, rtol: float, atol: float) -> None:
    """Same structure and dtypes; every element within the tolerance."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert jnp.result_type(x) == jnp.result_type(y), path
        np.testing.assert_allclose(_wide(x), _wide(y), rtol=rtol, atol=atol, err_msg=str(path))
