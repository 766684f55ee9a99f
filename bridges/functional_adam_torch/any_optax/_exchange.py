"""Torch tensors as arguments of a jitted function, and its results back into the tensors.

On the CPU a tensor enters as a NumPy view of its memory, which XLA reads in place where it can
(aligned, dense) and copies where it cannot. Such a view is lent, not given: `returned` waits until
the computation has finished, and only then may torch write. What JAX keeps longer is a copy.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .._memory import overlaps_itself, sharing_memory

# What NumPy lacks travels as integers of the same width: the same bits.
_AS_BITS = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}
_FROM_BITS = {np.dtype(there): (bits, here) for here, (bits, there) in _AS_BITS.items()}
_AS_THEY_ARE = {
    *(torch.float32, torch.float16, torch.complex64, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32),
}
_NARROWED = {
    torch.float64: "float32",
    torch.complex128: "complex64",
    torch.int64: "int32",
    torch.uint64: "uint32",
}
# Below this many bytes the call of torch's copy costs more than the copy itself.
_SMALL = 1 << 16


def lent(tensor: Tensor, name: str, what: str = "") -> np.ndarray | jax.Array:
    """View a tensor as an argument of a jitted function, without copying where that is possible.

    Args:
        tensor: strided, of any layout, on the CPU or on a GPU that JAX has as well.
        name: what errors call the tensor,
        what: and what they say before its name.

    Returns:
        A NumPy view of the same memory (CPU; a copy where torch negates or conjugates lazily), or
        a JAX array of the same memory (GPU). Valid until torch writes to the tensor.

    Raises:
        TypeError: a dtype that JAX would narrow or does not have, a sparse or distributed tensor.
        RuntimeError: on a device that JAX does not have.
    """
    if tensor.dtype in _AS_THEY_ARE and tensor.is_cpu and tensor.layout is torch.strided:
        return tensor.numpy(force=True)
    return _lent_otherwise(tensor, what + name)


def _lent_otherwise(tensor: Tensor, name: str) -> np.ndarray | jax.Array:
    check_kind(tensor, name)
    if tensor.dtype in _NARROWED and not x64_enabled():
        short = str(tensor.dtype).removeprefix("torch.")
        raise TypeError(
            f"{name} is {short}, which JAX narrows to {_NARROWED[tensor.dtype]} while x64 is off: "
            f'call jax.config.update("jax_enable_x64", True) first, or convert it'
        )
    tensor = tensor.detach()
    if tensor.is_cpu:
        if tensor.dtype not in _AS_BITS:
            return tensor.numpy(force=True)
        bits, dtype = _AS_BITS[tensor.dtype]
        return tensor.view(bits).numpy(force=True).view(dtype)
    try:
        return jax.dlpack.from_dlpack(tensor.resolve_conj().resolve_neg().contiguous())
    except (RuntimeError, ValueError, TypeError, BufferError) as error:
        raise RuntimeError(
            f"{name} is on {tensor.device}, where JAX cannot take it (its devices here: "
            f"{jax.devices()}): install a JAX for that device, or move the model"
        ) from error


def check_kind(tensor: Tensor, name: str) -> None:
    """Raise TypeError, naming the tensor, where no array has its layout or its dtype."""
    if hasattr(tensor, "to_local"):
        raise TypeError(
            f"{name} is a DTensor: a transformation may need whole tensors (norms, factors), so "
            "shards are refused; use the classes of functional_adam_torch, which are elementwise"
        )
    if is_lazy(tensor):
        raise TypeError(f"{name} has no shape yet: call the lazy module once before")
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} is {str(tensor.layout).removeprefix('torch.')}: sparse gradients are not "
            "supported; use p.grad = p.grad.to_dense(), or sparse=False in the layer"
        )
    if tensor.dtype not in _AS_THEY_ARE | _AS_BITS.keys() | _NARROWED.keys():
        raise TypeError(f"{name} is {tensor.dtype}, a dtype that JAX does not have")
    if tensor.is_meta:
        raise TypeError(f"{name} is on the meta device and has no values")


def check_memory(tensor: Tensor, name: str) -> None:
    """Raise ValueError, naming the tensor, where its elements share memory."""
    if overlaps_itself(tensor):
        raise ValueError(f"{name} is expanded: its elements share memory; clone it first")


def check_apart(tensors: Sequence[Tensor], views: Sequence[Any], labels: Sequence[str]) -> None:
    """Raise ValueError, naming them, where two tensors or elements of one share memory.

    Args:
        tensors: what is stepped together, all from the values before.
        views: what `lent` gave for each.
        labels: what errors call them.
    """
    for tensor, label in zip(tensors, labels, strict=True):
        check_memory(tensor, label)
    near = sharing_memory(tensors)
    some = [i for i, tensor in enumerate(tensors) if id(tensor) in near]
    for i, j in itertools.combinations(some, 2):
        # Only NumPy tells interleaved ones from ones that overlap.
        both = isinstance(views[i], np.ndarray) and isinstance(views[j], np.ndarray)
        if not both or np.shares_memory(views[i], views[j]):
            raise ValueError(
                f"{labels[i]} and {labels[j]} share memory, and would be stepped from the same "
                "values: give one of them, or put them into different groups"
            )


def kept(lent_array: np.ndarray | jax.Array) -> jax.Array:
    """Copy of a lent argument that JAX may keep: torch's writes do not reach it."""
    return jnp.array(lent_array, copy=True)


def returned(outputs: Any) -> Any:
    """Wait for a computation: from here on torch may write to what was lent to it."""
    return jax.block_until_ready(outputs)


@torch.no_grad()
def write(
    tensors: Sequence[Tensor], views: Sequence[np.ndarray | jax.Array], values: Sequence[jax.Array]
) -> None:
    """Write results into tensors, in place and in any layout, as torch's ``copy_`` does.

    Args:
        tensors: where to; each one's version counter moves, as autograd needs.
        views: what `lent` gave for each.
        values: results of the same shapes and dtypes, of a computation that has `returned`.
    """
    moved = []
    for tensor, view, value in zip(tensors, views, values, strict=True):
        if isinstance(view, np.ndarray) and view.nbytes < _SMALL and _is_view(tensor):
            np.copyto(view, np.asarray(value))
            moved.append(tensor)
        else:
            tensor.copy_(torch.from_dlpack(value))
    if moved:
        torch.autograd.graph.increment_version(moved)
    for device in {t.device for t in tensors if not t.is_cpu}:
        # JAX may use the memory of a result again before torch's queue has read it.
        torch.accelerator.synchronize(device)


def _is_view(tensor: Tensor) -> bool:
    return not (tensor.is_conj() or tensor.is_neg())


def to_tensor(array: jax.Array) -> Tensor:
    """Copy an array of any dtype, keys of random numbers as their integers, to a CPU tensor."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    copy = np.array(array)
    if copy.dtype not in _FROM_BITS:
        return torch.from_numpy(copy)
    bits, dtype = _FROM_BITS[copy.dtype]
    return torch.from_numpy(copy.view(str(bits).removeprefix("torch."))).view(dtype)


def to_array(tensor: Tensor, like: Any, name: str) -> jax.Array:
    """Undo `to_tensor`: a copy with the dtype of `like`, whose shape and dtype must be the same.

    Raises:
        ValueError: another shape or dtype; the message names the tensor and both.
    """
    is_key = jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
    data = jax.eval_shape(jax.random.key_data, like) if is_key else like
    array = kept(lent(tensor, name))
    if array.shape != data.shape or array.dtype != data.dtype:
        raise ValueError(
            f"{name} is {array.dtype}{list(array.shape)}, here it is {data.dtype}{list(data.shape)}"
        )
    return jax.random.wrap_key_data(array, impl=_implementation(like)) if is_key else array


def _implementation(like: Any) -> Any:
    """Which generator a key is of; `like` may be no more than its shape and dtype."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), like)
    return found[0]


def device_of(p: Tensor) -> Any:
    """JAX's CPU for tensors on the CPU, also where JAX would rather use a GPU."""
    if not p.is_cpu or jax.default_backend() == "cpu":
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def x64_enabled() -> bool:
    """Whether JAX has 64-bit types here."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64
