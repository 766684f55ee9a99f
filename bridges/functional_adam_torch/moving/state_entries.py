"""One parameter's entry in the state of a torch optimizer, as a `Leaf`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from functional_adam import ALGORITHMS, Algorithm
from functional_adam._int8 import Int8
from functional_adam.convert.moments import Moments

from ..few_bits._storage import LOW
from ._layouts import permute
from ._recode import permute_moment
from ._tensors import to_array, to_tensor
from .record import LARGEST_FLOAT32_STEP, Array, Group, Leaf, initial, step_scalar


def read_entry(entry: Mapping[str, Any], algorithm: Algorithm, group: int, name: str) -> Leaf:
    """Read what torch keeps of a parameter; nothing at all before its first gradient.

    Raises:
        ValueError: the keys are not those of the algorithm, or the step is no count.
    """
    if not entry:
        _, scalars = initial(algorithm, np.zeros(()))
        return Leaf(group, np.asarray(0, np.float32), {}, scalars)
    keys = {"step", *algorithm.torch_state.values()}
    entry, codes, low = dict(entry), {}, entry.get(LOW)
    entry.pop(LOW, None)
    for field, key in algorithm.torch_state.items():
        if f"{key}_code" in entry:
            parts = {part: f"{key}_{part}" for part in Int8._fields}
            codes[field] = Int8(
                **{
                    part: to_array(entry.pop(own), f"{own} of {name}")
                    for part, own in parts.items()
                }
            )
            entry[key] = torch.zeros(())
    if wrong := sorted(keys ^ entry.keys()):
        raise ValueError(
            f"state of {name} is not that of {algorithm.name}: "
            + ", ".join(f"{key} is {'missing' if key in keys else 'extra'}" for key in wrong)
        )
    fields = {
        field: to_array(torch.as_tensor(entry[key]), f"{key} of {name}")
        for field, key in algorithm.torch_state.items()
    }
    # Checkpoints of torch before 1.12 hold a number.
    step = entry["step"]
    if isinstance(step, Tensor):
        step = to_array(step, f"step of {name}")
    else:
        step = step_scalar(step) if isinstance(step, int) else np.float32(step)
    if step.shape != () or not 0 <= step < 2**31 or step != int(step):
        raise ValueError(f"step of {name} must be a whole number in [0, 2**31), got {step}")
    moments = {field: codes.get(field, fields[field]) for field in algorithm.rule.moments}
    scalars = {field: fields[field] for field, _ in algorithm.rule.scalars}
    low = None if low is None else to_array(low, f"{LOW} of {name}")
    return Leaf(group, np.asarray(step), moments, scalars, low)


def write_entry(leaf: Leaf, group: Group, parameter: Tensor | None = None) -> dict[str, Tensor]:
    """Make torch's entry: its keys in its order, moments in their own dtype.

    Args:
        leaf: moments with torch's axes.
        group: decides about the algorithm, and where `step` is kept.
        parameter: whose device and memory format the moments get; None: the CPU's.

    Returns:
        New tensors; none before the first gradient.
    """
    if not leaf.moments:
        return {}
    algorithm = ALGORITHMS[group.algorithm]
    on_device = bool(group.options.get("capturable"))
    fused = bool(group.options.get("fused"))
    device = torch.device("cpu") if parameter is None else parameter.device

    def scalar(value: Array, *, there: bool) -> Tensor:
        return to_tensor(value).to(device if there else "cpu")

    # float32 on the device is all that torch's fused and captured kernels take.
    step = leaf.step.astype(np.float32) if on_device or fused else leaf.step
    entry = {"step": scalar(step, there=on_device or fused)}
    for field, _ in algorithm.rule.scalars:
        entry[algorithm.torch_state[field]] = scalar(leaf.scalars[field], there=on_device)
    if leaf.low is not None:
        entry[LOW] = to_tensor(leaf.low).to(device)
    for field in algorithm.rule.moments:
        key, kept = algorithm.torch_state[field], leaf.moments[field]
        if isinstance(kept, Int8):
            entry |= {
                f"{key}_{part}": to_tensor(x).to(device) for part, x in kept._asdict().items()
            }
            continue
        moment = to_tensor(kept)
        if parameter is not None:
            own = torch.empty_like(
                parameter, dtype=moment.dtype, memory_format=torch.preserve_format
            )
            moment = own.detach().copy_(moment)
        entry[key] = moment
    return entry


def as_torch_scalars(leaf: Leaf) -> tuple[Array, dict[str, Array]]:
    """Step and scalars in the dtype torch makes them in; a large step is never narrowed."""
    double = torch.get_default_dtype() == torch.float64
    dtype = np.float64 if double else np.float32
    step = leaf.step.astype(dtype) if leaf.step <= LARGEST_FLOAT32_STEP else leaf.step
    return step, {field: x.astype(dtype) for field, x in leaf.scalars.items()}


def from_moments(moments: Moments, group: int, axes: tuple[int, ...] | None = None) -> Leaf:
    """What a state of JAX holds of a parameter; at count 0 torch keeps nothing yet.

    Args:
        moments: as `functional_adam.convert.moments.read` returns it.
        group: index of the parameter's group.
        axes: permutation to torch's axes; None: they are the same.
    """
    arrays = {field: permute_moment(x, axes, field) for field, x in moments.moments.items()}
    scalars = {field: np.asarray(x) for field, x in moments.scalars.items()}
    low = None if moments.low is None else permute(moments.low, axes)
    kept = [x.code if isinstance(x, Int8) else x for x in arrays.values()]
    if np.asarray(moments.count) == 0 and not any(map(np.any, [*kept, 0 if low is None else low])):
        arrays, low = {}, None
    return Leaf(group, step_scalar(moments.count), arrays, scalars, low)


def other_algorithm(path: str, moments: Moments, algorithm: str) -> list[str]:
    """Say which fields a state has and an algorithm keeps, where they differ."""
    row = ALGORITHMS[algorithm]
    wanted = {*row.rule.moments, *dict(row.rule.scalars)}
    present = {*moments.moments, *moments.scalars}
    if wanted == present:
        return []
    return [
        f"state of {path} has {', '.join(sorted(present))}; {algorithm} keeps "
        f"{', '.join(sorted(wanted))}"
    ]
