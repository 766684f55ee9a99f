"""Health of a torch optimizer: the figures that JAX has of the same numbers."""

from __future__ import annotations

import copy

import pytest
import torch

import functional_adam_torch as ft
from functional_adam.diagnostics import flatten, health, summarize

NEAR = dict(rel=1e-4, abs=1e-6)
ROUNDED = dict(rel=5e-3, abs=1e-3)  # what the step adds to moments is rounded at random in JAX
CASES = {
    "adamw": (torch.optim.AdamW, {}, NEAR),
    "amsgrad": (ft.Adam, dict(amsgrad=True, weight_decay=0.1), NEAR),
    "radam": (torch.optim.RAdam, {}, NEAR),
    "adamax": (ft.Adamax, {}, NEAR),
    "bfloat16": (ft.AdamW, dict(moments="bfloat16"), ROUNDED),
    "int8": (ft.AdamW, dict(moments="int8"), ROUNDED),
}


def ready(make, dtype=torch.float32, **options):
    """Two steps, and the gradients of a third; `a` is large enough for 8-bit moments."""
    torch.manual_seed(0)
    shapes = {"a": (48, 96), "b": (64,)}
    pairs = [(n, torch.nn.Parameter(torch.randn(s).to(dtype))) for n, s in shapes.items()]
    optimizer = make([dict(params=[pairs[0]]), dict(params=[pairs[1]], lr=1e-2)], **options)
    for i in range(3):
        for _, p in pairs:
            p.grad = 1e-3 * torch.randn(p.shape).to(dtype)
        if i < 2:
            optimizer.step()
    return optimizer, dict(pairs)


@pytest.mark.parametrize("case", CASES)
def test_figures_are_those_of_jax(case):
    make, options, tolerance = CASES[case]
    optimizer, params = ready(make, **options)
    before = copy.deepcopy(optimizer.state_dict()["state"])
    found = flatten(ft.health(optimizer, every=1))
    torch.testing.assert_close(optimizer.state_dict()["state"], before, rtol=0, atol=0)
    moved = ft.to_jax(optimizer)
    gradients = {n: p.grad.numpy() for n, p in params.items()}
    updates, state = moved.transformation.update(gradients, moved.state, moved.params)
    there = flatten(health(updates, state, moved.params, gradients, every=1))
    known = {name for name in there if name in found}
    assert len(known) > 30
    for name in known:
        assert found[name] == pytest.approx(there[name], **tolerance), name
    assert {"group/0/spike", "group/1/step_size"} <= found.keys()


def test_half_precision_and_8_bit_moments():
    optimizer, _ = ready(torch.optim.Adam, torch.bfloat16, lr=1e-6)
    text = "\n".join(summarize(ft.health(optimizer)))
    assert "with_master" in text
    assert "stuck" in text
    kept, _ = ready(ft.Adam, torch.bfloat16, lr=1e-6, moments="int8", master_bits=32)
    figures = flatten(ft.health(kept))
    assert figures["total/stuck"] == 0
    assert figures["leaf/a/lost"] < 0.1


def test_errors():
    optimizer, params = ready(torch.optim.Adam)
    with pytest.raises(ValueError, match="every must be None or an integer of at least 1, got 0"):
        ft.health(optimizer, every=0)
    params["a"].grad = None
    assert ft.health(optimizer).leaves.keys() == {"b"}
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="no parameter has a gradient"):
        ft.health(optimizer)
    with pytest.raises(
        ValueError, match="health does not know lion: its figures are those of adam"
    ):
        ft.health(ready(ft.Lion, lr=1e-3)[0])
    with pytest.raises(TypeError, match="optimizer must be Adam"):
        ft.health(torch.optim.SGD(params.values()))


def test_parameters_of_which_a_share_is_looked_at_count_as_a_whole():
    big, small = (torch.nn.Parameter(torch.ones(shape)) for shape in ((1000, 1000), (64, 64)))
    optimizer = ft.Adam([big, small], lr=1e-3)
    big.grad, small.grad = torch.ones_like(big), torch.full_like(small, 1e-23)
    for every in (None, 7, 1):
        found = ft.health(optimizer, every=every)
        for total in (found.total, found.groups["0"]):
            assert total.dead == pytest.approx(4096 / (1e6 + 4096), rel=1e-2)
        assert found.leaves["1"].dead == 1
