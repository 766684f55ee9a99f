"""A small model on meshes of all kinds, and what one device computes of it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import functional_adam as fa

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
TYPES = {"auto": (AUTO, AUTO), "explicit": (EXPLICIT, EXPLICIT), "mixed": (EXPLICIT, AUTO)}
SPECS = {"w": P("data", "model"), "b": P("model")}
WHOLE = {"w": P(), "b": P()}


def mesh(types):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=types)


def start(dtype=jnp.float32, shape=(64, 512)):
    rng = np.random.default_rng(0)
    draw = lambda shape: jnp.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    return {"w": draw(shape), "b": draw(shape[1:])}


def gradients(t, like):
    rng = np.random.default_rng((1, t))
    return jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape), p.dtype), like)


def put(tree, mesh, specs):
    return jax.device_put(tree, jax.tree.map(lambda s: NamedSharding(mesh, s), specs))


def step(tx):
    @jax.jit
    def step(p, state, g):
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    return step


def train(step, p, state, put=lambda x: x, steps=range(2)):
    for t in steps:
        p, state = step(p, state, put(gradients(t, p)))
    return p, state


def master(moments="float32", bits=32):
    return fa.with_master(fa.adamw(1e-2, moments=moments), bits=bits)


@functools.cache
def alone(moments, bits):
    """What one device computes."""
    p, tx = start(jnp.bfloat16), master(moments, bits)
    return jax.device_get(train(step(tx), p, tx.init(p)))
