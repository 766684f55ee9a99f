"""What is stepped: lists of shapes of float32 parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

Shapes = tuple[tuple[int, ...], ...]


def _gpt2() -> Shapes:
    """The 148 tensors of GPT-2 small, 124M parameters (Radford et al. 2019)."""
    d = 768
    norm = ((d,), (d,))
    attention = ((d, 3 * d), (3 * d,), (d, d), (d,))
    feed_forward = ((d, 4 * d), (4 * d,), (4 * d, d), (d,))
    return ((50257, d), (1024, d), *(norm + attention + norm + feed_forward) * 12, *norm)


def _resnet50() -> Shapes:
    """The 161 tensors of ResNet-50, 25.6M parameters (He et al. 2016)."""

    def convolution(inputs: int, outputs: int, size: int) -> Shapes:
        return ((outputs, inputs, size, size), (outputs,), (outputs,))

    shapes, inputs = convolution(3, 64, 7), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(inputs, width, 1) + convolution(width, width, 3)
            shapes += convolution(width, 4 * width, 1)
            if block == 0:
                shapes += convolution(inputs, 4 * width, 1)
            inputs = 4 * width
    return (*shapes, (1000, 2048), (1000,))


WORKLOADS: Mapping[str, Shapes] = {
    "1 x 50M": ((50_000_000,),),
    "GPT-2 small": _gpt2(),
    "ResNet-50": _resnet50(),
    "1000 x 64": ((64,),) * 1000,
    "3000 x 64": ((64,),) * 3000,
    "1 large, 500 small": ((20_000, 1000), *(((32,), (48,), (64,), (80,), (96,)) * 100)),
    "1 x 20,000,123": ((20_000_123,),),
}
"""Name -> shapes. None but the small ones has a size that is a power of two."""


def scaled(shapes: Shapes, factor: float) -> Shapes:
    """The same number of tensors, the first axes of the large ones times this, at least 1."""
    if factor == 1:
        return shapes
    return tuple(
        (max(1, round(shape[0] * factor)), *shape[1:]) if math.prod(shape) > 4096 else shape
        for shape in shapes
    )


def size(shapes: Shapes) -> int:
    """Number of parameters."""
    return sum(math.prod(shape) for shape in shapes)
