"""What a step would do to some coordinates of a parameter, without taking it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from functional_adam import Algorithm
from functional_adam._halves import join
from functional_adam._leaf import shrink_of
from functional_adam._numerics import one_minus_power
from functional_adam.bounds import on_host as limit_on_host
from functional_adam.diagnostics._figures import Columns, Scalars
from functional_adam.diagnostics._sample import strides, take

from .engines import _coefficients, _step
from .engines._formula import Batch
from .few_bits._storage import LOW, Storage, form_of
from .few_bits._stored_group import _number, check_entry
from .few_bits._stored_state import decoded_code
from .primitives import _functional, _words


class Sample(NamedTuple):
    """Some coordinates of one parameter: flat, real."""

    p: Tensor  # as stored
    weight: Tensor  # float32 or wider, with what is kept beside a half
    g: Tensor
    moments: tuple[Tensor, ...]  # as stored; decoded where they are 8-bit codes
    before: float  # updates made so far
    scalars: dict[str, Tensor]  # the rule's own
    stands_for: float  # coordinates of the parameter, for each that is looked at


def sample(
    p: Tensor,
    entry: Mapping[str, Any],
    algorithm: Algorithm,
    storage: Storage | None,
    every: int | None,
    name: str,
) -> Sample:
    """Take coordinates of a parameter with a gradient, and of its state; none yet is zeros.

    Raises:
        TypeError: it is sharded over processes, or its gradient is sparse.
        ValueError: its state is that of another algorithm, or stored otherwise than asked for.
    """
    g = p.grad
    assert g is not None
    if hasattr(p, "full_tensor"):
        raise TypeError(f"{name} is sharded over processes (DTensor): its shards are no sample")
    if g.is_sparse:
        raise TypeError(f"the gradient of {name} is sparse, which no Adam here supports")
    steps = strides(tuple(p.shape), every)

    def part(x: Tensor) -> Tensor:
        x = take(x.detach(), steps)
        return (torch.view_as_real(x) if torch.is_complex(x) else x).reshape(-1)

    own = part(p)
    stands_for = p.numel() / take(p.detach(), steps).numel()
    weight = own.to(torch.promote_types(own.dtype, torch.float32))
    form = None if storage is None else form_of(storage, algorithm, p)
    scalars = {
        field: torch.as_tensor(entry.get(algorithm.torch_state[field], value)).clone()
        for field, value in algorithm.rule.scalars
    }
    if not entry:
        kept = own.dtype if form is None else getattr(torch, form.kinds[0].replace("int8", "float"))
        zero = torch.zeros_like(own, dtype=kept)
        zeros = (zero,) * len(algorithm.rule.moments)
        return Sample(own, weight, part(g), zeros, 0.0, scalars, stands_for)
    if form is not None:
        check_entry(entry, p, form, algorithm)
        if form.extra is not None:
            weight = join(own, part(entry[LOW]) if form.extra else None, _words)
    moments = []
    for i, field in enumerate(algorithm.rule.moments):
        key = algorithm.torch_state[field]
        if form is not None and form.kinds[i] == "int8":
            moments.append(part(decoded_code(entry, key, field)))
        elif key in entry:
            moments.append(part(entry[key]))
        else:
            raise ValueError(
                f"the state of {name} has no {key}: it is not that of {algorithm.name}"
            )
    count = float(entry["step"])
    return Sample(own, weight, part(g), tuple(moments), count, scalars, stands_for)


def stepped(
    samples: list[Sample], algorithm: Algorithm, group: Mapping[str, Any], storage: Storage | None
) -> tuple[Columns, Scalars]:
    """The next step of parameters of one group that share count, scalars and dtypes, side by side.

    In float32 or wider; moments are rounded to nearest to the dtype that they are stored in, and
    those stored in fewer bits, which are rounded at random, not at all.
    """
    first = samples[0]
    p, weight, g = map(torch.cat, zip(*((x.p, x.weight, x.g) for x in samples), strict=True))
    kept = [torch.cat(x) for x in zip(*(s.moments for s in samples), strict=True)]
    batch = _batch(algorithm, group, first)
    k = _coefficients.rows(batch, [first.before + 1])[0]
    coded = storage is not None and storage.coded
    limit = None
    if coded and algorithm.rule.limit is not None:
        limit = limit_on_host(algorithm.rule.limit, k, first.before + 1)
    shrink = batch.shrink
    if batch.formula.decay == "decoupled":
        shrink = shrink_of(batch.h, "decoupled", "in_update")
    wide = weight.dtype
    moments = [x.to(wide) for x in kept]
    u, *new = batch.formula.update(_functional, weight, g.to(wide), moments, k, shrink, limit)
    stored = new if coded else [x.to(old.dtype) for x, old in zip(new, kept, strict=True)]
    rule, after = batch.formula.algorithm.rule, [x.to(wide) for x in stored]
    m, v = (after[rule.moments.index(field)] for field in ("mu", "nu"))
    kept_v = stored[rule.moments.index("nu")]
    decayed = batch.h.b2 * v
    columns = Columns(
        u=u,
        p=weight,
        landed=weight + u if storage and storage.master_bits else (weight + u).to(p.dtype).to(wide),
        m=m,
        v=v,
        kept=decayed if coded else decayed.to(kept_v.dtype).to(wide),
        last=after[-1],
        g=g.to(wide),
    )
    h, t = batch.h, first.before + 1
    c1, c2 = (float(one_minus_power(b, t)) for b in (h.b1, h.b2))
    assert rule.eps_cut is not None
    cut = float(rule.eps_cut(k))
    return columns, Scalars(float(h.b1), float(h.b2), c1, c2, cut, float(h.learning_rate))


def _batch(algorithm: Algorithm, group: Mapping[str, Any], first: Sample) -> Batch:
    """The group's numbers in the core's terms; no tensors are stepped by it."""
    given = {
        name: tuple(map(_number, x)) if name == "betas" else _number(x)
        for name, x in group.items()
        if name not in ("params", "param_names")
    }
    fields = {field: [] for field in ("params", "grads", "steps", *algorithm.rule.moments)}
    scalars = {field: [x] for field, x in first.scalars.items()}
    batch = _step.batch_of(algorithm, given, {**fields, **scalars}, decays_complex=False)
    return dataclasses.replace(batch, scalars=scalars)
