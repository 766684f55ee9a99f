"""Every Python block of the README runs as shown, in order, in one session."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import functional_adam as fa
from functional_adam.cli._parity import forgetting_rows
from functional_adam.cli._parity.report import as_markdown
from functional_adam.cli._schedules import report as schedules
from functional_adam.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 12
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["losses"].shape == (8,)
    assert (names["losses"][:-1] > names["losses"][1:]).all()
    assert (names["weights"] < 1).any()  # rounded at random
    assert names["weights_in_float32"][0].dtype == torch.float32
    assert names["best"].validation < 2.3


def _section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_table_names_every_algorithm():
    for name, algorithm in fa.ALGORITHMS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", _section("Algorithms"), re.MULTILINE)
        assert f" {algorithm.decay} " in row
        assert f"`{algorithm.torch_class}" in row


def test_the_parity_table_is_that_of_the_command():
    head = as_markdown({}).splitlines()[0]
    table = _section("Parity")
    assert head in table
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(fa.ALGORITHMS)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ((ROOT / ".docs/pages/schedules.md").read_text(), schedules.as_markdown([])),
        (_section("Half precision"), forgetting_rows.as_markdown([])),
    ],
    ids=["schedules", "forgetting"],
)
def test_tables_have_the_columns_of_their_commands(text, table):
    assert table.splitlines()[0] in text


def test_every_command_is_named():
    for command in app.registered_commands:
        assert f"functional-adam {command.callback.__name__}" in README
