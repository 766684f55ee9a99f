"""From a param group of a torch optimizer to a batch for an engine, and which engine.

The counterpart of the core's lift to pytrees. Arithmetic belongs to the rules; state is made by
torch's own code, so that state_dicts are interchangeable with torch.optim's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor
from torch.optim.optimizer import (
    _default_to_fused_or_foreach,
    _get_capturable_supported_devices,
)

from functional_adam import Algorithm
from functional_adam._leaf import Decay, shrink_of

from . import _coefficients, _loops
from ._collect import Columns
from ._formula import Batch, Formula


def batch_of(
    algorithm: Algorithm,
    group: dict[str, Any],
    columns: Columns,
    decays_complex: bool,
) -> Batch:
    """What a group and the state of its parameters say, in the core's terms.

    Args:
        algorithm: what the group's options select.
        group: one of the optimizer's param_groups.
        columns: its parameters that have gradients, and their state.
        decays_complex: whether L2 decay sees complex numbers.
    """
    rule = algorithm.rule
    h = _hyperparameters(algorithm, group)
    decay: Decay = algorithm.decay if group["weight_decay"] != 0 else "none"
    return Batch(
        formula=Formula(algorithm, decay, group["maximize"]),
        h=h,
        shrink=None if decay == "none" else shrink_of(h, decay),
        decays_complex=decays_complex,
        params=columns["params"],
        grads=columns["grads"],
        steps=columns["steps"],
        moments=[columns[name] for name in rule.moments],
        scalars={name: columns[name] for name, _ in rule.scalars},
    )


def _hyperparameters(algorithm: Algorithm, group: dict[str, Any]) -> SimpleNamespace:
    rates = dict(zip(algorithm.averages, map(_scalar, group["betas"]), strict=True))
    h = SimpleNamespace(learning_rate=_scalar(group["lr"]), **rates)
    for name in algorithm.hyperparameters:
        if not hasattr(h, name):
            setattr(h, name, _scalar(group[name]) if name == "weight_decay" else group[name])
    return h


def _scalar(x: Any) -> Any:
    """A hyperparameter; a tensor of one element as 0-d."""
    return x.squeeze() if isinstance(x, Tensor) and x.dim() else x


def chosen(engine: str, group: dict[str, Any], params: list[Tensor]) -> str:
    """The engine of a group: that of the optimizer, else what torch's options ask for."""
    if engine != "auto" or group["foreach"] is False:
        return "single" if engine == "auto" else engine
    if group["foreach"]:
        return "foreach"
    _, foreach = _default_to_fused_or_foreach(params, differentiable=False)
    return "foreach" if foreach else "auto"


def step_by_autograd(batch: Batch, foreach: bool) -> None:
    """Take a step that autograd follows."""
    if foreach:
        raise AssertionError("_foreach ops don't support autograd")
    for part in batch.in_turn():
        rows = _coefficients.for_autograd(part)
        _loops.functional(part, rows, range(len(rows)), keep=True)


def step_by_tensors(batch: Batch) -> None:
    """Take a step without reading a value on the host: compiled as a whole, or captured."""
    buckets: dict[Any, list[int]] = {}
    for i, step in enumerate(batch.steps):
        buckets.setdefault(step.device, []).append(i)
    for members in buckets.values():
        part = batch if len(buckets) == 1 else batch.take(members)
        rows = _coefficients.as_tensors(part)
        _loops.functional(part, rows, range(len(rows)), keep=False)


def check_capturable(batch: Batch, foreach: bool) -> None:
    """Raise, as torch does, where a step cannot be captured: parameters or state on the host."""
    allowed = _get_capturable_supported_devices(supports_xla=not foreach)
    kept = [batch.params, *batch.scalars.values(), batch.steps]
    for devices in zip(*([t.device.type for t in column] for column in kept), strict=True):
        if len(set(devices)) > 1 or devices[0] not in allowed:
            names = ", ".join(["params", *(f"{name}s" for name in batch.scalars)])
            comma = "," if foreach and batch.scalars else ""
            raise AssertionError(
                f"If capturable=True, {names}{comma} and state_steps must be on supported devices: "
                f"{allowed}."
            )


def with_foreach_rate(batch: Batch, rate: str) -> Batch:
    """The batch as torch's foreach loop of its class takes a tensor rate.

    Args:
        batch: parameters of one group.
        rate: "refused", "value" (of the tensor) or "tensor".
    """
    if rate == "tensor" or not isinstance(batch.h.learning_rate, Tensor):
        return batch
    if rate == "refused":
        raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
    batch.h.learning_rate = batch.h.learning_rate.item()
    return batch
