"""A step of a torch optimizer, on the accelerator where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .workloads import Shapes


class InTorch:
    """Steps of one optimizer; attributes as of `InJax`, NaN where torch does not say."""

    compile_seconds = float("nan")
    temporary = float("nan")

    def __init__(
        self, make: Callable[[list[Any]], Any], shapes: Shapes, *, compiled: bool = False
    ) -> None:
        import torch

        self._torch = torch
        device = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        )
        self._device = device or torch.device("cpu")
        generator = torch.Generator(self._device).manual_seed(0)
        params = [torch.ones(shape, device=self._device, requires_grad=True) for shape in shapes]
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, device=self._device)
        self._gradients = [p.grad for p in params]
        self._optimizer = make(params)
        self._params = params
        self._step = torch.compile(self._optimizer.step) if compiled else self._optimizer.step

    def __call__(self) -> None:
        """One step, finished when it returns."""
        if self._params[0].grad is None:  # heavyball takes the gradients away after a step
            for p, gradient in zip(self._params, self._gradients, strict=True):
                p.grad = gradient
        self._step()
        if self._device.type != "cpu":
            self._torch.accelerator.synchronize(self._device)

    @property
    def state_bytes(self) -> int:
        """Of the state's arrays; there are none before the first step."""
        tensors = [x for s in self._optimizer.state.values() for x in _tensors(s)]
        return sum(x.numel() * x.element_size() for x in tensors if x.dim())

    @property
    def moved(self) -> int:
        """Bytes that a step cannot help moving."""
        own = sum(p.numel() * p.element_size() for p in self._params)
        return 3 * own + 2 * self.state_bytes

    @property
    def peak(self) -> float:
        """Most bytes that were in use, where the device counts them."""
        if self._device.type != "cuda":
            return float("nan")
        return float(self._torch.cuda.max_memory_allocated(self._device))


def _tensors(node: Any) -> list[Any]:
    """Tensors of a state, which some optimizers nest."""
    import torch

    if isinstance(node, torch.Tensor):
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [x for child in children for x in _tensors(child)] if _is_nest(node) else []


def _is_nest(node: Any) -> bool:
    return isinstance(node, dict | list | tuple)
