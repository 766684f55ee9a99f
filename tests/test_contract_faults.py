"""The contract notices deliberate faults, each in the scenario meant for it."""

from __future__ import annotations

import pytest
import torch
from contract import SCENARIOS, breaches
from contract_faults import FAULTS, Sound

OPTIONS = ({}, {"weight_decay": 0.1, "maximize": True})


def _noticed(scenario, cls):
    return any(
        list(breaches(SCENARIOS[scenario], torch.optim.Adam, cls, options)) for options in OPTIONS
    )


@pytest.mark.parametrize(
    ("fault", "scenario"),
    [(fault, scenario) for fault, scenarios in FAULTS.items() for scenario in scenarios],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_fault_is_noticed(fault, scenario):
    assert _noticed(scenario, fault.Adam)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_class_without_a_fault_is_not(scenario):
    """The way the faults are made is not what is noticed."""
    assert not _noticed(scenario, Sound.Adam)
