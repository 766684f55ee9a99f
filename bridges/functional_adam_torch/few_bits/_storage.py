"""How a group stores moments and weights in few bits: its options, and the form of each parameter.

Options are entries of a param group, absent where nothing was asked for: `moments`, `master_bits`
and `seed`, as in `optimizers`. The state of a parameter has torch's keys, and

    - `exp_avg_code` (uint8, like the parameter) and `exp_avg_exponent` (int8, its last axis the
      blocks of the parameter's) in place of `exp_avg` with 8-bit moments, and so for the others,
    - `master_low` (int16 or int8, like the parameter), the lower bits of the float32 weight.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

import torch
from jax.tree_util import DictKey, SequenceKey
from torch import Tensor
from torch.nn.parameter import is_lazy

from functional_adam import Algorithm
from functional_adam._bits import leaf_id
from functional_adam._int8 import ZERO_EXPONENT, block_of

OPTIONS = ("moments", "master_bits", "seed")
MOMENTS = (None, "float32", "bfloat16", "int8")
BITS = (None, 32, 24, 16)
LOW = "master_low"
HALF = (torch.bfloat16, torch.float16)

_LOWS = {16: torch.int16, 8: torch.int8}
_SUPPORTED = ("auto", "single", "compile")


@dataclasses.dataclass(frozen=True)
class Storage:
    """What a group asks for; fields as the options."""

    moments: Literal["float32", "bfloat16", "int8"]
    master_bits: Literal[32, 24, 16] | None
    seed: int

    @property
    def coded(self) -> bool:
        """Whether moments are kept in few bits, and steps within their bound."""
        return self.moments in ("bfloat16", "int8")


def storage_of(group: Mapping[str, Any]) -> Storage | None:
    """What a group asks for; None: nothing, its state is torch's.

    Raises:
        ValueError: an option is out of range.
    """
    moments, bits, seed = (group.get(name) for name in OPTIONS)
    if moments is None and bits is None:
        return None
    if not (isinstance(moments, str) or moments is None) or moments not in MOMENTS:
        raise ValueError(f"moments must be {_listed(MOMENTS)}, got {moments!r}")
    if isinstance(bits, bool) or bits not in BITS:
        raise ValueError(f"master_bits must be {_listed(BITS)}, got {bits!r}")
    seed = 0 if seed is None else seed
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in [0, 2**32), got {seed!r}")
    return Storage(cast(Any, moments or "float32"), cast(Any, bits), seed)


def check_group(group: Mapping[str, Any], engine: str) -> None:
    """Raise where a group cannot be stored as it asks for.

    Raises:
        ValueError: an option is out of range, or another option or the engine contradicts it.
        TypeError: a parameter is complex, distributed or no floating-point tensor.
    """
    storage = storage_of(group)
    if storage is None:
        return
    asked = ", ".join(f"{name}={group[name]!r}" for name in OPTIONS[:2] if group.get(name))
    for name in ("foreach", "fused", "capturable", "differentiable"):
        if group.get(name):
            raise ValueError(
                f"{name}=True does not go together with {asked}: leave one of them out"
            )
    if engine not in _SUPPORTED:
        raise ValueError(
            f"engine={engine!r} does not go together with {asked}: engine must be "
            f"{_listed(_SUPPORTED)}"
        )
    for i, p in enumerate(group["params"]):
        what = f"parameter {i}" + ("" if is_lazy(p) else f" of shape {tuple(p.shape)}")
        if hasattr(p, "to_local"):
            raise TypeError(f"{what} is a DTensor, which {asked} cannot store: give whole tensors")
        if p.dtype not in (*HALF, torch.float32, torch.float64):
            raise TypeError(
                f"{what} is {p.dtype}, which {asked} cannot store: put it in a group of its own "
                "with moments=None and master_bits=None"
            )


class Form(NamedTuple):
    """How one parameter is stored, apart from its size: what a compiled step depends on."""

    dtype: torch.dtype  # of the parameter
    kinds: tuple[str, ...]  # of each moment: a dtype's name or "int8"
    block: int | None  # elements that share an exponent
    extra: int | None  # bits of the remainder: 16, 8 or 0; None: no master
    coded: bool  # whether the step is clipped at its bound

    @property
    def wide(self) -> torch.dtype:
        """What is computed in."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32


def form_of(storage: Storage, algorithm: Algorithm, p: Tensor) -> Form:
    """The form of a parameter."""
    block = block_of(tuple(p.shape)) if storage.moments == "int8" else None
    kind = "bfloat16" if storage.moments == "bfloat16" else "int8" if block else "float32"
    if storage.moments == "float32" and p.dtype == torch.float64:
        kind = "float64"
    half = p.dtype in HALF and storage.master_bits is not None
    extra = (storage.master_bits or 0) - 16 if half else None
    kinds = (kind,) * len(algorithm.rule.moments)
    return Form(p.dtype, kinds, block, extra, storage.coded)


def keys_of(form: Form, algorithm: Algorithm) -> list[str]:
    """Keys of a parameter's state besides `step` and scalars, in the order of `columns`."""
    names = [algorithm.torch_state[field] for field in algorithm.rule.moments]
    keys = [low for low in (LOW,) if form.extra]
    for name, kind in zip(names, form.kinds, strict=True):
        keys += [f"{name}_code", f"{name}_exponent"] if kind == "int8" else [name]
    return keys


def layout(form: Form, algorithm: Algorithm, p: Tensor) -> dict[str, tuple[torch.dtype, Any]]:
    """Dtype and shape of what `keys_of` names."""
    found: dict[str, tuple[torch.dtype, Any]] = {}
    for key in keys_of(form, algorithm):
        if key == LOW:
            found[key] = _LOWS[form.extra or 0], p.shape
        elif key.endswith("_code"):
            found[key] = torch.uint8, p.shape
        elif key.endswith("_exponent"):
            found[key] = torch.int8, torch.Size((*p.shape[:-1], p.shape[-1] // (form.block or 1)))
        else:
            found[key] = getattr(torch, form.kinds[0]), p.shape
    return found


def zeros(form: Form, algorithm: Algorithm, p: Tensor) -> dict[str, Tensor]:
    """What `keys_of` names, before the first step."""
    return {
        key: torch.full(
            shape,
            ZERO_EXPONENT if dtype == torch.int8 and key != LOW else 0,
            dtype=dtype,
            device=p.device,
        )
        for key, (dtype, shape) in layout(form, algorithm, p).items()
    }


def fits(entry: Mapping[str, Any], p: Tensor, form: Form, algorithm: Algorithm) -> bool:
    """Whether a parameter's state has this form."""
    scalars = ("step", *(algorithm.torch_state[field] for field, _ in algorithm.rule.scalars))
    if not all(key in entry for key in scalars) or (LOW in entry and not form.extra):
        return False
    for key, (dtype, shape) in layout(form, algorithm, p).items():
        t = entry.get(key)
        if t is None or t.dtype != dtype or t.shape != shape:
            return False
    return True


def complete(group: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Give a group the options it lacks, where the optimizer has any."""
    for option in OPTIONS:
        if option in defaults:
            group.setdefault(option, defaults[option])


def numbers(group: Mapping[str, Any], before: int) -> list[tuple[int, int]]:
    """Words that tell the parameters of a group apart: for the bits of moments, and of weights.

    A parameter with a name has the number of the leaf that `to_jax` makes of it; without names
    parameters are numbered as leaves of a list.

    Args:
        group: one of the optimizer's param_groups.
        before: how many parameters the groups before it have.
    """
    names = group.get("param_names") or range(before, before + len(group["params"]))
    return [(number(name, ""), number(name, "weight")) for name in names]


@functools.lru_cache(maxsize=65536)
def number(name: str | int, purpose: str) -> int:
    """Number of a leaf, for one purpose."""
    if isinstance(name, int):
        return int(leaf_id((SequenceKey(name),), purpose))
    return int(leaf_id(tuple(map(DictKey, name.split("."))), purpose))


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join([", ".join(map(repr, values[:-1])), repr(values[-1])])
