"""BertAdam, with which BERT was fine-tuned in PyTorch: no bias correction."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def adamw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    warmup: float = -1.0,
    t_total: int = -1,
) -> tuple[Array, Array, Array]:
    """One step of `BertAdam(max_grad_norm=-1)` on its default schedule, `warmup_linear`.

    Source: pytorch_pretrained_bert/optimization.py of pytorch-pretrained-bert 0.6.2, classes
    BertAdam and WarmupLinearSchedule,
    https://github.com/huggingface/transformers/blob/v0.6.2/pytorch_pretrained_bert/optimization.py
    """
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    update = m / (np.sqrt(v) + eps)
    update = update + weight_decay * p
    return p - lr * multiplier(t - 1, warmup, t_total) * update, m, v


def multiplier(step: int, warmup: float, t_total: int) -> float:
    """Share of the learning rate at a step, counted from 0: up along a line, and down again."""
    if t_total < 0:
        return 1.0
    progress = step / t_total
    warmup = max(warmup, 0.0)
    if progress < warmup:
        return progress / warmup
    return max((progress - 1.0) / (warmup - 1.0), 0.0)
