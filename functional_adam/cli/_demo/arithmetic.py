"""The arithmetic of a run, in both frameworks and for its duration only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import threadpoolctl
import torch


@contextlib.contextmanager
def arithmetic(dtype: str) -> Iterator[None]:
    """Compute in a dtype, on the CPU, in torch with one thread; what was set before comes back.

    Both on the CPU, because the claim is about two frameworks and not about two devices; one
    thread, because the order of a sum, and so its rounding, may depend on their number.
    """
    default, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    try:
        with (
            threadpoolctl.threadpool_limits(1),
            jax.default_device(jax.devices("cpu")[0]),
            jax.enable_x64(dtype == "float64"),
        ):
            yield
    finally:
        torch.set_default_dtype(default)
        torch.set_num_threads(threads)
