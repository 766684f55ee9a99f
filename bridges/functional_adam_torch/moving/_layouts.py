"""Where JAX has the axes of a weight in another order than torch: permutations by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import nn

Layout = Mapping[str, tuple[int, ...]] | Callable[[str, tuple[int, ...]], Any] | None
"""torch name -> axes of torch's tensor in JAX's order, or a function of name and shape to such."""

_CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


def jax_layout(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Permutations that give the weights of a torch model the axes that Flax and Haiku have.

    `Linear` [out, in] -> [in, out]; convolutions [out, in, *space] -> [*space, in, out];
    transposed ones [in, out, *space] -> [*space, out, in], as `flax.linen.ConvTranspose` with
    `transpose_kernel=True`. Everything else, embeddings and attention's `in_proj_weight` among it,
    keeps its axes.

    Args:
        model: its modules decide, not the names or shapes of its parameters.

    Returns:
        Name, as in ``model.named_parameters()``, -> permutation, for `to_jax` and `to_torch`.

    Examples:
        >>> ft.jax_layout(torch.nn.Linear(3, 2))
        {'weight': (1, 0)}
    """
    layout = {}
    parameters = dict(model.named_parameters())
    for prefix, module in model.named_modules():
        name = f"{prefix}.weight".lstrip(".")
        # A parametrized weight is computed, and no parameter; a shared one has its first name.
        if name not in parameters:
            continue
        if isinstance(module, nn.Linear):
            layout[name] = (1, 0)
        elif isinstance(module, _CONVOLUTIONS):
            layout[name] = (*range(2, parameters[name].ndim), 1, 0)
    return layout


def permutations(
    layout: Layout, shapes: Mapping[str, tuple[int, ...]], aliases: Iterable[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Permutation of every parameter whose axes change.

    Args:
        layout: as given by the user.
        shapes: torch's, by torch's name.
        aliases: other names of shared parameters, which may stand in a layout.

    Raises:
        ValueError: a name is unknown, or what belongs to it is no permutation of its axes.
    """
    if layout is None:
        return {}
    if callable(layout):
        found = {name: layout(name, shape) for name, shape in shapes.items()}
    else:
        if unknown := sorted(layout.keys() - shapes.keys() - {*aliases}):
            raise ValueError(f"layout names parameters that are not there: {', '.join(unknown)}")
        found = {name: layout.get(name) for name in shapes}
    wanted = {name: tuple(axes) for name, axes in found.items() if axes is not None}
    for name, axes in wanted.items():
        if sorted(axes) != list(range(len(shapes[name]))):
            raise ValueError(
                f"layout of {name} must be a permutation of the axes of shape {shapes[name]}, "
                f"got {axes}"
            )
    return wanted


def permute(array: Any, axes: tuple[int, ...] | None) -> np.ndarray:
    """An array with its axes in another order, in C order; unchanged where `axes` is None."""
    return np.asarray(array) if axes is None else np.array(np.transpose(array, axes), order="C")


def inverse(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The permutation that undoes this one."""
    return None if axes is None else tuple(int(i) for i in np.argsort(axes))
