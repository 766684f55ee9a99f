"""A causal transformer over the characters of Python's help texts, 465,048 of English."""

from __future__ import annotations

import itertools

import jax

from ..task import Task
from . import _data
from . import _networks as net

HEADS = 4


def characters(
    width: int = 48, layers: int = 2, context: int = 48, steps: int = 300, batch_size: int = 16
) -> Task:
    """Predict the next character: `layers` blocks of attention and a dense network, `width` wide.

    Args:
        width: of the residual stream; a multiple of 4, the number of heads.
        layers: blocks.
        context: characters that are seen.
        steps: length of a full run.
        batch_size: windows in a batch.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, with norms before the blocks.
    """
    if width % HEADS:
        raise ValueError(f"width must be a multiple of {HEADS}, got {width}")
    train, validation, held_out, symbols = _data.characters(context, stride=16)

    def init(key):
        keys = (jax.random.fold_in(key, i) for i in itertools.count())

        def matrix(a, b, scale=1.0):
            return jax.random.normal(next(keys), (a, b)) * scale * a**-0.5

        return {
            "embed": jax.random.normal(next(keys), (symbols, width)) * 0.1,
            "place": jax.random.normal(next(keys), (context, width)) * 0.1,
            "blocks": [net.block_init(matrix, width) for _ in range(layers)],
            "head": matrix(width, symbols, 0.5),
        }

    def logits(params, ids):
        h = params["embed"][ids] + params["place"]
        for layer in params["blocks"]:
            h = net.block(layer, h, HEADS)
        return net.norm(h) @ params["head"]

    def loss(params, batch, key):
        ids = batch["ids"]
        return net.cross_entropy(logits(params, ids[:, :-1]), ids[:, 1:])

    return Task(
        name="characters",
        init=init,
        loss=loss,
        train=train,
        validation=validation,
        held_out=held_out,
        batch_size=batch_size,
        steps=steps,
    )
