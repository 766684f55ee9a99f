"""What a drop-in class owes: scenarios whose observations must equal those of torch's class.

A scenario is a function `scenario(cls, options) -> observation` that uses an optimizer class as a
program would and returns what the program would see: numbers, state, messages, order of calls.
`breaches` runs it with torch's class and with another and says where they differ, so the oracle
is always torch itself, and any class can be put under test: ours, or one with a fault.
"""

from __future__ import annotations

from . import clients, construction, persistence, stepping, surroundings
from ._support import IMPLEMENTATIONS as IMPLEMENTATIONS
from ._support import KINDS as KINDS
from ._support import breaches as breaches

SCENARIOS = {
    scenario.__name__: scenario
    for room in (construction, stepping, surroundings, persistence, clients)
    for scenario in room.SCENARIOS
}
