"""Every subject and peer by its name in a row, and the surroundings they are run in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import jax
import torch

import functional_adam_torch
from functional_adam import ALGORITHMS

from . import in_jax
from .in_keras import InKeras
from .in_numpy import InNumpy
from .in_source import InSource
from .in_torch import InTorch
from .in_torch_peers import InTorchPeer
from .inputs import Leaves, State
from .peers import Peer
from .rows import Variant, torch_modes


class Implementation(Protocol):
    """An algorithm in a framework."""

    def load(self, state: State) -> None:
        """Continue from a state."""
        ...

    def step(self, gradients: Leaves) -> None:
        """Take one step."""
        ...

    def state(self) -> State:
        """Copy the state."""
        ...


def make(name: str, algorithm: str, variant: Variant, moments: str = "") -> Implementation:
    """Make the subject or peer of a row; `moments` is the dtype in which `jax-half` keeps them."""
    if isinstance(variant, Peer):
        return _of_peer(name, variant)
    makers: dict[str, Callable[[], Implementation]] = {
        "jax": lambda: in_jax.ours(algorithm, variant),
        "jax-half": lambda: in_jax.ours(algorithm, variant, moments=moments),
        "optax": lambda: in_jax.theirs(algorithm, variant),
        "reference": lambda: InNumpy(algorithm, variant),
    }
    for mode in ("single", "foreach", "fused"):
        for prefix, module in (("torch", torch.optim), ("bridge", functional_adam_torch)):
            makers[f"{prefix}-{mode}"] = lambda module=module, mode=mode: InTorch(
                module, algorithm, variant, mode
            )
    return makers[name]()


def _of_peer(name: str, peer: Peer) -> Implementation:
    if name == peer.subject:
        return in_jax.in_dialect(peer)
    if name == "optax":
        return in_jax.peer_in_optax(peer)
    if name == "keras":
        return InKeras(peer)
    return InSource(peer) if name.endswith("-source") else InTorchPeer(peer)


def leader_of(algorithm: str, variant: Variant) -> str:
    """Whose states are stepped from: torch's fused mode has numbers where its float16 has NaN."""
    if isinstance(variant, Peer):
        return variant.subject
    if variant.nesterov:
        return "jax"
    modes = torch_modes(ALGORITHMS[algorithm])
    if not modes:
        return "jax"
    return "torch-fused" if "fused" in modes else "torch-single"


@contextlib.contextmanager
def on_the_host() -> Iterator[None]:
    """JAX on the CPU, as torch is, and torch on one thread: the arrays are small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def double_precision(wanted: bool) -> Iterator[None]:
    """float64 in JAX, and in torch's step counts and products; afterwards both as before."""
    if not wanted:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        torch.set_default_dtype(before)
