"""The torch classes are drop-ins: a program sees the same with them as with torch.optim's."""

from __future__ import annotations

import pytest
import torch
from contract import IMPLEMENTATIONS, KINDS, SCENARIOS, breaches

import functional_adam_torch as ft


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    ("name", "options"), KINDS, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "plain"
)
def test_a_program_sees_the_same(scenario, name, options):
    for implementation in IMPLEMENTATIONS:
        found = list(
            breaches(
                SCENARIOS[scenario],
                getattr(torch.optim, name),
                getattr(ft, name),
                {**options, **implementation},
            )
        )
        assert not found, (implementation, found)
