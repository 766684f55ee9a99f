"""Steps by `apply_update` where XLA joins loops, against the two calls: a line of JSON a case.

A process of its own, since XLA reads its flags once. `python applying_worker.py` with
XLA_FLAGS=--xla_backend_extra_options=xla_cpu_use_multi_output_fusion and eight devices.
"""

from __future__ import annotations

import functools
import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import functional_adam as fa

SIZE = 1 << 17
STEPS = 4


def two_calls(tx, gradients, state, params, **extra_args):
    updates, state = tx.update(gradients, state, params, **extra_args)
    return optax.apply_updates(params, updates), state


def compiled(apply, tx, params, state, gradients, **extra_args):
    step = jax.jit(
        lambda params, state, gradients: apply(tx, gradients, state, params, **extra_args),
        donate_argnums=(0, 1),
    )
    return step.lower(params, state, gradients).compile()


def of(tx, params, **extra_args):
    """Bits after some steps, of both; loops over and copies of whole arrays, of both."""
    tx = optax.with_extra_args_support(tx)
    rng = np.random.default_rng(0)
    draw = lambda p: jnp.asarray(rng.standard_normal(p.shape), p.dtype)  # noqa: E731
    every = [jax.tree.map(draw, params) for _ in range(STEPS)]
    ends, figures = [], {}
    for name, apply in (("two", two_calls), ("one", fa.apply_update)):
        p, state = jax.tree.map(jnp.copy, (params, tx.init(params)))
        step = compiled(apply, tx, p, state, every[0], **extra_args)
        for gradients in every:
            p, state = step(p, state, gradients)
        ends.append(jax.tree.map(np.asarray, (p, state)))
        text = step.as_text() or ""
        entry = text.split("ENTRY")[1].splitlines()
        memory = step.memory_analysis()
        figures[name] = {
            "loops": sum(" fusion(" in line and f"[{SIZE}]" in line for line in entry),
            "copies": sum(" copy(" in line and f"[{SIZE}]" in line for line in entry),
            "temporary": memory and memory.temp_size_in_bytes,
            "reductions": text.count(" reduce("),
            "collectives": sum(fa.collectives(step).values()),
        }
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and a.tobytes() == b.tobytes(), *ends)
    return figures | {"same": all(jax.tree.leaves(same)), "moved": moved(ends[0][0], params)}


def moved(after, before):
    return all(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after, before)), strict=True))


def start(shape=(SIZE,), dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), dtype)


def within(tx):
    """Compiled by its user already."""
    return optax.GradientTransformation(tx.init, jax.jit(tx.update))


def summed(inner):
    """Behind something that is not done element by element, and is large."""
    turned = optax.stateless_with_tree_map(lambda g, _: jnp.cumsum(g, 0)[::-1])
    return optax.chain(turned, inner)


def closed_over():
    """What a program knows is not an argument that could be read twice."""
    tx, p, gradients = fa.adam(0.01), start((512, 256)), start((512, 256)) * 2
    _, state = tx.update(gradients, tx.init(p), p)
    ends = [
        jax.jit(lambda rate, apply=apply: apply(tx, gradients, state, p, learning_rate=rate))(0.1)
        for apply in (two_calls, fa.apply_update)
    ]
    same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, ends), strict=True)]
    return {"same": all(same), "moved": moved(ends[0][0], p)}


def sharded():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    return jax.device_put(start((8 * SIZE,)), NamedSharding(mesh, PartitionSpec("x")))


def scanned():
    """Steps in a loop of the compiled program, several trainings at once."""
    tx, p = fa.adamw(0.01), start((2, SIZE))
    gradients = jnp.stack([start((2, SIZE)) * (i + 1) for i in range(STEPS)])

    def run(apply, p, gradients):
        def one(carry, g):
            return apply(tx, g, carry[1], carry[0]), None

        return jax.lax.scan(one, (p, tx.init(p)), gradients)[0]

    ends = [
        jax.jit(jax.vmap(functools.partial(run, apply), in_axes=(0, 1)))(p, gradients)
        for apply in (two_calls, fa.apply_update)
    ]
    same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, ends), strict=True)]
    return {"same": all(same), "moved": moved(ends[0][0], p)}


def cases():
    tree = {"a": start(), "b": [start(), start((3,))], "c": start((2, SIZE // 2))}
    clip = optax.clip_by_global_norm(1.0)
    for row in fa.ALGORITHMS.values():
        yield row.name, lambda row=row: of(row.make(0.01), start())
    yield "optax", lambda: of(optax.adamw(0.01), start())
    yield "clipped", lambda: of(optax.chain(clip, fa.adamw(0.01)), start())
    yield "clipped optax", lambda: of(optax.chain(clip, optax.adam(0.01)), start())
    yield "clipped within", lambda: of(within(optax.chain(clip, fa.adam(0.01))), start())
    yield "several within", lambda: of(within(optax.MultiSteps(fa.adam(0.01), 2)), start())
    yield "summed", lambda: of(summed(fa.adam(0.01)), start((512, 256)))
    yield "schedule", lambda: of(fa.adam(optax.cosine_decay_schedule(0.1, 9)), start())
    yield "finite", lambda: of(optax.apply_if_finite(fa.adam(0.01), 3), start())
    yield "several", lambda: of(optax.MultiSteps(fa.adam(0.01), 2), start())
    yield "tree", lambda: of(fa.adamw(0.01, mask={"a": True, "b": False, "c": True}), tree)
    yield "argument", lambda: of(fa.adam(0.01), start(), learning_rate=0.1)
    yield "numpy argument", lambda: of(fa.adam(0.01), start(), b2=np.array(0.999))
    yield "packed", lambda: of(fa.adam(0.01), fa.pack(tree)[0])
    yield "bfloat16", lambda: of(optax.adam(0.01), start(dtype=jnp.bfloat16))
    yield "bfloat16 moments", lambda: of(fa.adam(0.01, moments="bfloat16"), start())
    yield "int8 moments", lambda: of(fa.adam(0.01, moments="int8"), start())
    for bits in (16, 24, 32):
        tx = functools.partial(fa.with_master, fa.adam(0.01), bits=bits)
        yield f"{bits} bits", lambda tx=tx: of(tx(), start(dtype=jnp.bfloat16))
    yield "sharded", lambda: of(fa.adamw(0.01), sharded())
    yield "scanned", scanned
    yield "closed over", closed_over


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name, run in cases():
        print(json.dumps([name, run()]), flush=True)
