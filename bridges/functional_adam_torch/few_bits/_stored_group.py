"""A step of a param group whose parameters are stored in few bits, and the state that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import _get_scalar_dtype

from functional_adam import Algorithm
from functional_adam._leaf import shrink_of
from functional_adam.bounds import on_host as limit_on_host

from ..engines import _coefficients, _fused, _step
from ..engines._engines import Engines
from ..engines._formula import Batch, turns
from ..primitives import _single
from . import _stored, _stored_kernel
from ._storage import Form, Storage, fits, form_of, keys_of, numbers, zeros
from ._stored import Scalars


@torch._disable_dynamo
def members_in_turn(optimizer: Any, group: dict[str, Any]) -> list[list[int]]:
    """Positions of a group's parameters to step, part after part: those that have gradients.

    Args:
        optimizer: what a GradScaler has set on it is done first.
        group: one of its param_groups.

    Raises:
        RuntimeError: a gradient is sparse.
    """
    members = [i for i, p in enumerate(group["params"]) if p.grad is not None]
    grads = [group["params"][i].grad for i in members]
    if any(g.is_sparse for g in grads):
        raise RuntimeError(f"{type(optimizer).__name__} does not support sparse gradients")
    if not members or not _fused.unscale(optimizer, grads):
        return []
    parts = turns([group["params"][i] for i in members])
    return [[members[i] for i in part] for part in parts]


@torch._disable_dynamo
def step(
    optimizer: Any,
    group: dict[str, Any],
    members: list[int],
    storage: Storage,
    algorithm: Algorithm,
    before: int,
    engines: Engines,
) -> None:
    """Step parameters of a group, in place.

    Args:
        optimizer: its state.
        group: one of its param_groups.
        members: positions of parameters that have gradients; see `members_in_turn`.
        storage: what the group asks for.
        algorithm: and what it selects.
        before: how many parameters the groups before it have.
        engines: of the optimizer.

    Raises:
        ValueError: the state of a parameter is stored otherwise.
    """
    params = [group["params"][i] for i in members]
    grads = [p.grad for p in params]
    forms = [form_of(storage, algorithm, p) for p in params]
    entries = [
        entry_of(optimizer.state, p, form, algorithm) for p, form in zip(params, forms, strict=True)
    ]
    batch = _batch(algorithm, group, params, grads, entries)
    rows = _coefficients.on_host(batch)
    counts = [int(step.item()) - 1 for step in batch.steps]
    every = numbers(group, before)
    own = [every[i] for i in members]
    streams = [
        _stored.random_keys(storage.seed, counts, [pair[purpose] for pair in own])
        for purpose in (0, 1)
    ]
    shrink = batch.shrink
    if storage.coded and shrink is not None:
        shrink = shrink_of(batch.h, batch.formula.decay, "in_update")
    limits: dict[int, float] = {}
    for i, (p, g, form, entry, k) in enumerate(
        zip(params, grads, forms, entries, rows, strict=True)
    ):
        if storage.coded and id(k) not in limits:
            limits[id(k)] = limit_on_host(algorithm.rule.limit, k, counts[i] + 1.0)
        at = Scalars(k, shrink, limits.get(id(k), 0.0), streams[0][i], streams[1][i])
        kept = [entry[key] for key in keys_of(form, algorithm)]
        columns = _flat(p, g, kept)
        kernel = None
        if optimizer.engine == "compile" and p.numel() > 1:
            kernel = engines.attempt(
                lambda form=form, at=at, p=p: _stored_kernel.kernel(
                    batch.formula, form, at.k, p.device
                )
            )
        if kernel is None:
            _stored.step_eagerly(_single, batch.formula, form, at, columns)
        else:
            kernel(at, columns)
        for column, t in zip(columns[1:], (p, *kept), strict=True):
            if column.data_ptr() != t.data_ptr():  # a copy, as of channels_last
                t.copy_(column.view(t.shape))


def entry_of(state: Any, p: Tensor, form: Form, algorithm: Algorithm) -> dict[str, Tensor]:
    """The state of a parameter, made at its first gradient.

    Raises:
        ValueError: it is there, and stored otherwise.
    """
    entry = state[p]
    if not entry:
        scalar = _get_scalar_dtype()
        entry["step"] = torch.zeros((), dtype=scalar)
        for field, value in algorithm.rule.scalars:
            entry[algorithm.torch_state[field]] = torch.full((), value, dtype=scalar)
        entry.update(zeros(form, algorithm, p))
    check_entry(entry, p, form, algorithm)
    return entry


def check_entry(entry: Mapping[str, Tensor], p: Tensor, form: Form, algorithm: Algorithm) -> None:
    """Raise ValueError where a parameter's state has not this form."""
    if not fits(entry, p, form, algorithm):
        kept = ", ".join(f"{key} {t.dtype}{list(t.shape)}" for key, t in entry.items())
        raise ValueError(
            f"the state of a parameter of shape {tuple(p.shape)} holds {kept}, but its group asks "
            f"for {', '.join(keys_of(form, algorithm))} in {', '.join(form.kinds)}: moments or "
            "master_bits were changed, or the state was not loaded by load_state_dict"
        )


def _batch(
    algorithm: Algorithm,
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    entries: list[dict[str, Tensor]],
) -> Batch:
    """The group in the core's terms, numbers for tensors; moments are not in it."""
    names = {field: algorithm.torch_state[field] for field, _ in algorithm.rule.scalars}
    columns = {
        field: [e[key] for e in entries] for field, key in {**names, "steps": "step"}.items()
    }
    columns |= {field: [] for field in algorithm.rule.moments}
    given = {
        name: tuple(map(_number, x)) if name == "betas" else _number(x)
        for name, x in group.items()
        if name != "params"
    }
    columns |= {"params": params, "grads": grads}
    return _step.batch_of(algorithm, given, columns, decays_complex=False)


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) else x


def _flat(p: Tensor, g: Tensor, kept: list[Tensor]) -> list[Tensor]:
    """Gradient, parameter (maybe copies) and state as vectors in row-major order."""
    return [t.detach().reshape(-1) for t in (g, p, *kept)]
