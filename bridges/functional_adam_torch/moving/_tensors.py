"""Tensors as NumPy arrays and back: copies, bit for bit, of every dtype both sides have."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def to_array(tensor: Tensor, name: str) -> np.ndarray:
    """A copy of a tensor, in C order.

    Raises:
        TypeError: it is sharded over processes, sparse, or of a dtype that NumPy does not have.
    """
    if hasattr(tensor, "full_tensor"):
        raise TypeError(
            f"{name} is sharded over processes (DTensor): gather it first, for example with "
            "torch.distributed.checkpoint.state_dict.get_optimizer_state_dict"
        )
    dense = tensor.detach().cpu().resolve_conj().resolve_neg()
    try:
        if dense.dtype == torch.bfloat16:
            return dense.contiguous().view(torch.int16).numpy().view(_BFLOAT16).copy()
        return dense.contiguous().numpy().copy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} ({tensor.layout}, {tensor.dtype}): {error}") from error


def to_tensor(array: Any) -> Tensor:
    """A copy of an array on the CPU."""
    array = np.array(array, order="C")
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def dtype_name(x: Any) -> str:
    """``float32`` of a tensor or an array."""
    return str(x.dtype).removeprefix("torch.")
