"""Health as a plain dict, for TensorBoard, Weights & Biases or a log."""

from __future__ import annotations

from typing import Any

import jax

from ..convert import names
from ._figures import Figures


def flatten(health: Any, *, leaves: bool = True) -> dict[str, float]:
    """Make ``{"total/update_ratio": 1e-3, "group/decay/dead": 0.0, "leaf/a.kernel/lost": ...}``.

        for name, value in flatten(found).items():  # TensorBoard
            writer.add_scalar(name, value, step)
        wandb.log(flatten(found), step=step)  # Weights & Biases

    Args:
        health: `Health`, of arrays that are not traced.
        leaves: whether to list each leaf.

    Returns:
        Python floats; what is not known is left out.
    """
    found = jax.device_get(health)
    named = {"total": found.total} | {f"group/{k}": x for k, x in found.groups.items()}
    if leaves:
        own = jax.tree_util.tree_leaves_with_path(found.leaves, is_leaf=_is_figures)
        named |= {f"leaf/{names.dotted(path)}": x for path, x in own}
    return {
        f"{name}/{field}": float(x)
        for name, own in named.items()
        for field, x in own._asdict().items()
        if x is not None
    }


def _is_figures(x: Any) -> bool:
    return isinstance(x, Figures)
