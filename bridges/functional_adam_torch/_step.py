"""From a rule for one array to one step of a torch optimizer: groups, state, engines.

The counterpart of the core's lift to pytrees. Arithmetic belongs to the rules; state has torch's
own keys, dtypes and layout, so that state_dicts are interchangeable with torch.optim's.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from functional_adam import Algorithm

from . import _foreach, _single

_UNAVAILABLE = {
    "capturable": "scalars of the step are computed on the host",
    "differentiable": "the step is taken in place",
    "fused": "there is no fused engine",
}

# torch adds the L2 term of these in complex arithmetic, of the others to the two real parts.
_DECAYS_COMPLEX = ("adam", "amsgrad", "adamax")


def step_group(algorithm: Algorithm, group: dict[str, Any], state: dict[Tensor, Any]) -> None:
    """Step every parameter of a group that has a gradient; the others stand still."""
    for option, reason in _UNAVAILABLE.items():
        if group.get(option):
            raise RuntimeError(
                f"functional_adam_torch does not support {option}=True: {reason}. "
                "Leave it out, or use torch.optim"
            )
    params = [p for p in group["params"] if p.grad is not None]
    for p in params:
        if p.grad.is_sparse:
            raise RuntimeError(
                f"{algorithm.torch.name} does not support sparse gradients: use "
                "torch.optim.SparseAdam, or p.grad = p.grad.to_dense()"
            )
        if not state[p]:
            state[p].update(_initial_state(algorithm, p))
    if _uses_foreach(group, params):
        buckets = itertools.groupby(sorted(params, key=_bucket), key=_bucket)
        for _, bucket in buckets:
            _step_foreach(algorithm, group, list(bucket), state)
    else:
        for p in params:
            _step_single(algorithm, group, p, state[p])


def _initial_state(algorithm: Algorithm, p: Tensor) -> dict[str, Tensor]:
    """The state torch makes at the first gradient, with its keys in its order."""
    scalar = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    state = {"step": torch.zeros((), dtype=scalar, device="cpu")}
    for name, value in algorithm.rule.scalars:
        key = algorithm.torch_state[name]
        state[key] = torch.full((), value, dtype=scalar, device=p.device)
    for name in algorithm.rule.moments:
        key = algorithm.torch_state[name]
        state[key] = torch.zeros_like(p, memory_format=torch.preserve_format)
    return state


def _uses_foreach(group: dict[str, Any], params: list[Tensor]) -> bool:
    """As torch chooses: lists of tensors on an accelerator, a loop on the CPU."""
    if group["foreach"] is not None:
        return group["foreach"]
    on_device = all(p.device.type in ("cuda", "xpu") for p in params)
    return on_device and not isinstance(group["lr"], Tensor)


def _bucket(p: Tensor) -> tuple[str, str]:
    return str(p.device), str(p.dtype)


def _coefficients(algorithm: Algorithm, group: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """Count the step and compute its scalars on the host, in double."""
    state["step"] += 1
    h = _hyperparameters(group)
    scalars = {}
    for name, _ in algorithm.rule.scalars:
        stored = state[algorithm.torch_state[name]]
        # A NumPy scalar multiplies in its own precision, as the tensor would.
        scalars[name] = np.dtype(str(stored.dtype).removeprefix("torch.")).type(stored.item())
    k = algorithm.rule.coefficients(state["step"].item(), h, scalars)
    for name in scalars:
        state[algorithm.torch_state[name]].fill_(getattr(k, name))
    return k


def _hyperparameters(group: dict[str, Any]) -> SimpleNamespace:
    b1, b2 = group["betas"]
    return SimpleNamespace(
        learning_rate=group["lr"],
        b1=b1,
        b2=b2,
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        momentum_decay=group.get("momentum_decay"),
    )


def _decays(algorithm: Algorithm, group: dict[str, Any]) -> tuple[float, Any]:
    """Coefficient of coupled decay (0: none) and factor of decoupled decay (None: none)."""
    decay = group["weight_decay"]
    if decay == 0:
        return 0, None
    if algorithm.decay == "decoupled":
        return 0, 1 - group["lr"] * decay
    return decay, None


def _step_single(
    algorithm: Algorithm, group: dict[str, Any], p: Tensor, state: dict[str, Tensor]
) -> None:
    k = _coefficients(algorithm, group, state)
    moments = [state[algorithm.torch_state[name]] for name in algorithm.rule.moments]
    g = p.grad
    assert g is not None
    coupled, shrink = _decays(algorithm, group)
    if group["maximize"]:
        g = _single.neg(g)
    if algorithm.name not in _DECAYS_COMPLEX:
        p, g = _as_real([p, g])
    if coupled:
        g = _single.add_scaled(g, p, coupled)
    if shrink is not None:
        _single.mul_(p, shrink)
    algorithm.rule.step(_single, *_as_real([p, g, *moments]), k)


def _step_foreach(
    algorithm: Algorithm,
    group: dict[str, Any],
    params: list[Tensor],
    states: dict[Tensor, dict[str, Tensor]],
) -> None:
    if isinstance(group["lr"], Tensor):
        raise RuntimeError("lr as a Tensor is not supported with foreach=True: use foreach=False")
    k = _columns([_coefficients(algorithm, group, states[p]) for p in params])
    moments = [
        _as_real([states[p][algorithm.torch_state[name]] for p in params])
        for name in algorithm.rule.moments
    ]
    gs = _as_real([p.grad for p in params])
    ps = _as_real(params)
    coupled, shrink = _decays(algorithm, group)
    if group["maximize"]:
        gs = _foreach.neg(gs)
    if coupled:
        gs = _foreach.add_scaled(gs, ps, coupled)
    if shrink is not None:
        _foreach.mul_(ps, shrink)
    algorithm.rule.step(_foreach, ps, gs, *moments, k)


def _as_real(tensors: list[Any]) -> list[Tensor]:
    """Complex tensors as two reals, views of the same storage."""
    return [torch.view_as_real(t) if torch.is_complex(t) else t for t in tensors]


def _columns(rows: list[Any]) -> Any:
    """Scalars of many tensors: one number where all agree, else a list."""
    columns = (list(column) for column in zip(*rows, strict=True))
    merged = (c[0] if all(x == c[0] for x in c) else c for c in columns)
    return type(rows[0])(*merged)
