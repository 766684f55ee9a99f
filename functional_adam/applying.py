"""Update and apply in one call, and on a CPU in one loop over memory."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import optax
from jax import lax
from jax.core import Tracer
from jax.extend.core import Literal

from . import _owners

_FLAG = "xla_cpu_use_multi_output_fusion"
_LARGE = 1 << 16
"""Elements from which the passes over memory are what a step costs."""
_OPERATIONS = (
    "abs add add_any and bitcast_convert_type broadcast_in_dim cbrt ceil clamp complex conj "
    "convert_element_type copy copy_p div eq erf exp exp2 expm1 floor ge gt imag integer_pow "
    "is_finite le log log1p logistic lt max min mul ne neg nextafter not optimization_barrier or "
    "pow real reduce_precision reshape round rsqrt select_n shift_left shift_right_arithmetic "
    "shift_right_logical sign sqrt square squeeze stop_gradient sub tanh xor"
)
_BY_ELEMENT = frozenset(_OPERATIONS.split())


def apply_update(
    tx: optax.GradientTransformation, gradients: Any, state: Any, params: Any, **extra_args: Any
) -> tuple[Any, Any]:
    """`tx.update` and `optax.apply_updates`: the same numbers, on a CPU in fewer passes.

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def train_step(params, state, batch):
            gradients = jax.grad(loss)(params, batch)
            return fa.apply_update(tx, gradients, state, params)

    XLA on CPU gives each result a loop of its own: m, v and the parameters take three, 40 bytes a
    parameter in float32. Started with

        XLA_FLAGS=--xla_backend_extra_options=xla_cpu_use_multi_output_fusion python train.py

    it joins loops that read the same arrays and do not wait for each other. In a compiled step the
    results of one parameter are therefore each computed from the arguments alone; joined, they are
    one loop that computes nothing twice and moves 28 bytes, the least there is. It is XLA's own
    option, off by default, and acts on the whole program.

    Only results that have the parameter's shape and all one dtype can be joined, as in float32;
    moments or masters in few bits take the loops they always took. Norms, conditions and whatever
    else a chain does not do element by element are computed once. The option lets XLA contract a
    product and a sum that it kept apart before; ours have the same bits under it.
    Without it, on other devices and outside of jit this is the two calls and nothing more.

    Args:
        tx: any optax transformation or chain, ours or not.
        gradients: like params.
        state: of tx; donate it, and params.
        params: what is trained.
        extra_args: for `tx.update`.

    Returns:
        `(params, state)` after the step.

    Examples:
        >>> tx = fa.adam(0.1)
        >>> params = jnp.array([1.0, 2.0])
        >>> params, state = fa.apply_update(tx, jnp.array([4.0, -4.0]), tx.init(params), params)
        >>> params.round(6)
        Array([0.9, 2.1], dtype=float32)
    """
    tx = optax.with_extra_args_support(tx)

    def step(gradients: Any, state: Any, params: Any, extra_args: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradients, state, params, **extra_args)
        return optax.apply_updates(params, updates), state

    args = gradients, state, params, extra_args
    if joins_loops():
        large = [x for x in jax.tree.leaves(args) if _is_large(x)]
        # A large constant of the program is folded into what is computed of it.
        if large and all(isinstance(x, Tracer) for x in large):
            return _each_on_its_own(step, args, params)
    return step(*args)


def joins_loops() -> bool:
    """Whether XLA on this CPU was told to join loops."""
    return _FLAG in os.environ.get("XLA_FLAGS", "") and jax.default_backend() == "cpu"


def _each_on_its_own(step: Callable[..., Any], args: Any, params: Any) -> Any:
    """Results of a step; the second, third... of a large parameter from arguments of their own."""
    leaves, treedef = jax.tree.flatten(args)
    # What is small and known stays so: a hyperparameter keeps its digits, a condition its value.
    places = [i for i, x in enumerate(leaves) if isinstance(x, Tracer)]
    arrays = [leaves[i] for i in places]

    def of_arrays(*arrays: Any) -> Any:
        filled = [*leaves]
        for i, x in zip(places, arrays, strict=True):
            filled[i] = x
        return step(*treedef.unflatten(filled))

    traced, shapes = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays)
    turns = _turns(shapes, params)
    once: list[Any] = []
    copies = [_evaluate(traced, arrays, once)]
    own = arrays
    for _ in range(max(turns, default=0)):
        # What is read through more barriers is not taken for the same, and is computed anew.
        own = [lax.optimization_barrier(x) if _is_large(x) else x for x in own]
        copies.append(_evaluate(traced, own, once, iter(once)))
    results = [copies[turn][i] for i, turn in enumerate(turns)]
    return jax.tree.structure(shapes).unflatten(results)


def _turns(results: Any, params: Any) -> list[int]:
    """For each result, how many of its parameter's come before it; 0 where none can be joined."""
    shapes = _owners.shapes(params)
    found = jax.tree_util.tree_flatten_with_path(results)[0]
    owners = [_owners.owner(path, x.shape, shapes) for path, x in found]
    kinds = defaultdict(set)
    for own, (_, x) in zip(owners, found, strict=True):
        kinds[own].add((x.shape, x.dtype))
    before: Counter[Any] = Counter()
    turns = []
    for own, (_, x) in zip(owners, found, strict=True):
        joined = own is not None and len(kinds[own]) == 1 and _is_large(x)
        turns.append(before[own] if joined else 0)
        before[own] += 1
    return turns


def _evaluate(
    traced: Any, args: Any, once: list[Any], known: Iterator[Any] | None = None
) -> list[Any]:
    """Results of traced code.

    Args:
        traced: the code, closed.
        args: what it is called with.
        once: takes the results of what is not done element by element, in their order.
        known: those results of an earlier call, taken instead.
    """
    jaxpr = traced.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*traced.consts, *args], strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else values[v]  # noqa: E731
    for eqn in jaxpr.eqns:
        inputs = [read(v) for v in eqn.invars]
        again = _touches_large(eqn) and _is_by_element(eqn)
        if not again and eqn.primitive.name in ("jit", "pjit"):
            outputs = _evaluate(eqn.params["jaxpr"], inputs, once, known)
        elif not again and known is not None:
            # Joined with what made it, it would be rounded otherwise.
            outputs = [lax.optimization_barrier(x) if _is_large(x) else x for x in next(known)]
        else:
            outputs = _call(eqn, inputs)
            if not again:
                once.append(outputs)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _call(eqn: Any, inputs: Any) -> list[Any]:
    # Functions apart and settings, or settings alone: versions of JAX differ.
    found = eqn.primitive.get_bind_params(eqn.params)
    functions, settings = found if isinstance(found, tuple) else ((), found)
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*functions, *inputs, **settings)
    return outputs if eqn.primitive.multiple_results else [outputs]


def _is_by_element(eqn: Any) -> bool:
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if inner is None or not hasattr(inner, "jaxpr"):
        return eqn.primitive.name in _BY_ELEMENT
    if eqn.primitive.name not in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call"):
        return False
    return all(_is_by_element(e) or not _touches_large(e) for e in inner.jaxpr.eqns)


def _touches_large(eqn: Any) -> bool:
    return any(_is_large(v.aval) for v in (*eqn.invars, *eqn.outvars))


def _is_large(x: Any) -> bool:
    return math.prod(getattr(x, "shape", ())) >= _LARGE
