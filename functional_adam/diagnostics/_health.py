"""`health`: from updates, state and parameters to figures, for JAX."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from .. import _check
from .._codecs import Codec
from .._hyperparameters import Hyperparameter
from .._leaf import is_signed
from .._masks import spread, tree_of
from .._numerics import promoting
from ..convert import moments as adam_moments
from ..convert import names
from ..dialects import Dialect
from ._figures import Columns, Figures, Scalars, Sums, added, figures, sums
from ._find import Found, State, algorithm_of, described, leaves_of, states_of
from ._sample import as_real, strides, take

WIDTH = 256  # of a row of coordinates


class Health(NamedTuple):
    """What `health` found.

    Attributes:
        total: `Figures` over everything.
        groups: label -> `Figures`.
        leaves: the tree of the parameters, `Figures` of each; None where Adam does nothing.
    """

    total: Figures
    groups: dict[str, Figures]
    leaves: Any


_OPS = SimpleNamespace(
    abs=jnp.abs,
    sqrt=jnp.sqrt,
    where=jnp.where,
    total=lambda x: jnp.sum(x, axis=-1),
    count=lambda x: jnp.sum(x, axis=-1, dtype=jnp.float32),
)


@promoting
def health(
    updates: Any,
    state: Any,
    params: Any,
    gradients: Any = None,
    *,
    algorithm: str | None = None,
    dialect: Dialect | None = None,
    learning_rate: Hyperparameter | None = None,
    b1: Hyperparameter | None = None,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    groups: Any = None,
    every: int | None = None,
    moments: tuple[Codec, Codec] | None = None,
) -> Health:
    """Measure a step that was just made: a pytree of scalars, to be logged or summarized.

        updates, state = tx.update(gradients, state, params)
        found = jax.jit(health)(updates, state, params, gradients)
        params = optax.apply_updates(params, updates)

    For TensorBoard ``for name, x in flatten(found).items(): writer.add_scalar(name, x, step)``, for
    Weights & Biases ``wandb.log(flatten(found), step=step)``.

    Shares are of coordinates on a grid, at most 4096 of a leaf unless `every` says otherwise: a
    share of 5% is then off by 0.3%. It is not free: call it in a jit of its own, as above, every so
    many steps. Within a donated train step it makes XLA keep the updates and the old parameters,
    which costs more than the figures do; of a small model it costs as much as the step itself.
    Packed parameters are measured by buffer, the zeros at the end not counted.

    Args:
        updates: what is about to be added to the parameters.
        state: after the update, with a state of Adam anywhere in it: ours or optax's, in chains,
            masks, partitions, `inject_hyperparams`, `with_master`.
        params: before the update.
        gradients: those of this step, for `spike` and `agreement`; None: left out.
        algorithm: name, where the state does not say it. optax's Adam, Adamax and RAdam keep a
            state of one type; without a name `spike` and `eps_dominates`, which they mean
            differently, are None. Ours have types of their own.
        dialect: where eps sits, and defaults; None: OPTAX for optax's states, else TORCH.
        learning_rate, b1, b2, eps, eps_root: as given to the transformation; None: what
            `inject_hyperparams` keeps, else 0.9 and the dialect's. Without a rate there is no
            `step_size`.
        groups: a tree of labels, a prefix of one, or params -> such a tree.
        every: look at about one coordinate in so many; 1: at all of them.
        moments: the pair of `Codec` that moments are stored with, where they are your own.

    Returns:
        `Health`.

    Raises:
        ValueError: there is no state of Adam, it is one of an algorithm whose figures are not
            defined (its rule has no `eps_cut`, as Lion's), trees or shapes do not match, two states
            hold one parameter, or an argument is out of range.
    """
    check_every(every)
    paths, treedef = jax.tree_util.tree_flatten_with_path(params)
    by_name = names.named_leaves(params, "params")
    us = _check.flatten_like(treedef, params, updates, "updates")
    gs = [None] * len(us)
    if gradients is not None:
        gs = _check.flatten_like(treedef, params, gradients, "gradients")
    given = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    given = {name: x for name, x in given.items() if x is not None}
    nodes = states_of(state)
    rows = [algorithm_of(node, algorithm) for node, _ in nodes]
    states = [
        described(node, row, dialect, known | given)
        for (node, known), row in zip(nodes, rows, strict=True)
    ]
    found = leaves_of([node for node, _ in nodes], [row for row, _ in rows], by_name)
    some = gradients is not None
    made: list[tuple[int, int, Columns]] = []
    for i, ((path, p), u, g) in enumerate(zip(paths, us, gs, strict=True)):
        name = names.dotted(path)
        empty = u is None or isinstance(u, optax.MaskedNode) or (some and g is None)
        if name in found and not empty and np.prod(jnp.shape(p)) > 0:
            own = found[name]
            made.append(
                (i, own.state, _columns(path, u, p, g, own, states[own.state], every, moments))
            )
    own_sums = _summed(made, states)
    weights = [_real_size(paths[i][1]) / x.u.size for i, _, x in made]
    labels = _labels(groups, params, treedef)
    leaves: list[Any] = [None] * len(paths)
    members: dict[str, list[int]] = {}
    for j, (i, index, _) in enumerate(made):
        at = states[index].scalars
        leaves[i] = figures(own_sums[j], at.b1, at.c1, at.c2)
        if labels[i] is not None:
            members.setdefault(str(labels[i]), []).append(j)

    def over(chosen: list[int]) -> Figures:
        used = [states[k].scalars for k in sorted({made[j][1] for j in chosen})]
        b1, c1, c2 = (jnp.min(jnp.stack([getattr(s, k) for s in used])) for k in ("b1", "c1", "c2"))
        sums_of_all = added([own_sums[j] for j in chosen], [weights[j] for j in chosen])
        return figures(sums_of_all, b1, c1, c2)

    if not made:
        raise ValueError("no parameter has both an update and moments: there is nothing to measure")
    total = over(list(range(len(made))))
    return Health(total, {k: over(v) for k, v in members.items()}, treedef.unflatten(leaves))


def _real_size(p: Any) -> int:
    return math.prod(jnp.shape(p)) * (2 if jnp.iscomplexobj(p) else 1)


def check_every(every: Any) -> None:
    """Raise ValueError where every is neither None nor a whole number of at least 1."""
    whole = isinstance(every, int | np.integer) and not isinstance(every, bool)
    if every is not None and not (whole and every >= 1):
        raise ValueError(f"every must be None or an integer of at least 1, got {every!r}")


def _columns(
    path: Any, u: Any, p: Any, g: Any, own: Found, state: State, every: Any, moments: Any
) -> Columns:
    shape = jnp.shape(p)
    for what, x in (("updates", u), ("gradients", g)):
        if x is not None:
            _check.same_kind(path, p, x, what)
    fields = list(state.row.rule.moments)
    kept = {}
    for field in fields:
        x = own.moments[field]
        if moments is not None:
            kept[field] = moments[not is_signed(field)].decode(x, shape)
        else:
            kept[field] = adam_moments.decoded(x, field)
        if jnp.shape(kept[field]) != shape:
            raise ValueError(
                f"state.{field}{jax.tree_util.keystr(path)} has shape {jnp.shape(kept[field])}, "
                f"but params has shape {shape}"
            )
    steps = strides(shape, every)
    modulus = state.dialect.complex_mode == "modulus"
    wide = jnp.promote_types(jnp.float32, jnp.finfo(jnp.result_type(p)).dtype)

    def part(x: Any, *, twice: bool = False) -> Any:
        return as_real(take(jnp.asarray(x), steps), twice=twice)

    stored = kept["nu"].dtype
    p, u, m, v = part(p), part(u), part(kept["mu"]), part(kept["nu"], twice=modulus)
    last = part(kept[fields[-1]], twice=modulus).astype(wide)
    half = p.dtype
    # What `apply_updates` makes of them; fractions of half precision are not to be elided.
    landed = lax.optimization_barrier((p + u).astype(half)).astype(wide)
    decayed = state.scalars.b2.astype(wide) * v.astype(wide)
    if not state.random and stored != wide:
        decayed = lax.optimization_barrier(decayed.astype(v.dtype)).astype(wide)
    p, u, m, v = (x.astype(wide) for x in (p, u, m, v))
    return Columns(u, p, landed, m, v, decayed, last, None if g is None else part(g).astype(wide))


def _summed(made: list[tuple[int, int, Columns]], states: list[State]) -> list[Sums]:
    """Sums of each leaf, by one program of all leaves: a loop for each leaf takes longer."""
    found: list[Any] = [None] * len(made)
    kinds: dict[Any, list[int]] = {}
    for j, (_, index, x) in enumerate(made):
        state = states[index]
        known = state.scalars.cut is None, state.scalars.rate is None
        key = x.u.dtype, known, state.row.rule.linear
        kinds.setdefault(key, []).append(j)
    for (_, _, linear), members in kinds.items():
        counts = [-(-made[j][2].u.size // WIDTH) for j in members]
        columns = Columns(
            *(_rows([made[j][2][k] for j in members]) for k in range(len(Columns._fields)))
        )
        each = np.repeat([made[j][1] for j in members], counts)
        at = Scalars(
            *(
                None
                if states[each[0]].scalars[k] is None
                else jnp.stack(
                    [s.scalars[k] if s.scalars[k] is not None else jnp.float32(0) for s in states]
                )[each][:, None]
                for k in range(len(Scalars._fields))
            )
        )
        by_row = sums(_OPS, columns, at, linear)
        edges = np.cumsum([0, *counts])
        for place, j in enumerate(members):
            piece = slice(edges[place], edges[place + 1])
            own = Sums(*(None if x is None else x[piece].sum().astype(jnp.float32) for x in by_row))
            own = own._replace(seen=jnp.float32(made[j][2].u.size))
            known = states[made[j][1]].certain
            found[j] = own if known else own._replace(spike=None, spiked=None)
    return found


def _rows(many: list[Any]) -> Any:
    """Columns in rows, zeros at their ends: a zero is not live."""
    if many[0] is None:
        return None
    padded = [jnp.pad(x, (0, -x.size % WIDTH)) for x in many]
    return jnp.concatenate(padded).reshape(-1, WIDTH)


def _labels(groups: Any, params: Any, treedef: Any) -> list[Any]:
    if groups is None:
        return [None] * treedef.num_leaves
    tree = spread(tree_of(groups, params), params, "groups")
    return _check.flatten_like(treedef, params, tree, "groups")
