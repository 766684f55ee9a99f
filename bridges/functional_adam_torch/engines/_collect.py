"""The parameters of a group that have gradients, with their state, as torch's own code finds them.

torch's `_init_group` makes missing state and checks gradients; a compiler that traces the step
knows it. Where nothing is missing, the same lists are read without a Python loop.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

Columns = dict[str, list[Tensor]]
"""Parameters, gradients, fields of the state, steps: lists of one length, by name."""

_grad, _is_sparse = operator.attrgetter("grad"), operator.attrgetter("is_sparse")


def complete(
    state: Mapping[Tensor, dict[str, Tensor]],
    params: Sequence[Tensor],
    before: int,
    keys: Mapping[str, str],
) -> Columns | None:
    """The columns of a group in which every gradient is there, dense, and has its state.

    Args:
        state: the optimizer's.
        params: those of the group.
        before: how many parameters the groups before it have.
        keys: fields of the rule's state -> torch's keys.

    Returns:
        Columns, or None: something is missing and torch's own code is to look.
    """
    grads = list(map(_grad, params))
    if (
        not grads
        or any(map(operator.is_, grads, itertools.repeat(None)))
        or any(map(_is_sparse, grads))
    ):
        return None
    # State is made in the order of parameters: finding it there saves hashing every tensor.
    end = before + len(params)
    if all(map(operator.is_, itertools.islice(state, before, end), params)) and len(state) >= end:
        states: list[Any] = list(itertools.islice(state.values(), before, end))
    else:
        states = [state.get(p) for p in params]
    try:
        columns = {
            name: list(map(operator.itemgetter(key), states))
            for name, key in {**keys, "steps": "step"}.items()
        }
    except (KeyError, TypeError):
        return None
    return {"params": list(params), "grads": grads, **columns}
