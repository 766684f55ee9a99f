"""The torch classes are drop-ins: a program sees the same with them as with torch.optim's."""

from __future__ import annotations

import pytest
import torch
from contract import IMPLEMENTATIONS, KINDS, SCENARIOS, breaches, stepping, surroundings

import functional_adam_torch as ft


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    ("name", "options"), KINDS, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "plain"
)
def test_a_program_sees_the_same(scenario, name, options):
    # Files, copies and clients are the same for every implementation: one of them has its turn.
    turn = (list(SCENARIOS).index(scenario) + KINDS.index((name, options))) % len(IMPLEMENTATIONS)
    every = SCENARIOS[scenario] in (*stepping.SCENARIOS, *surroundings.SCENARIOS)
    for implementation in IMPLEMENTATIONS if every else IMPLEMENTATIONS[turn : turn + 1]:
        found = list(
            breaches(
                SCENARIOS[scenario],
                getattr(torch.optim, name),
                getattr(ft, name),
                {**options, **implementation},
            )
        )
        assert not found, (implementation, found)
