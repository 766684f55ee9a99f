"""Every Python block of the README runs as shown, in order, in one session."""

from __future__ import annotations

import re
from pathlib import Path

import functional_adam as fa
from functional_adam.cli._parity.report import as_markdown

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["losses"].shape == (8,)
    assert (names["losses"][:-1] > names["losses"][1:]).all()
    assert (names["weights"] < 1).all()


def _section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_table_names_every_algorithm():
    for name, algorithm in fa.ALGORITHMS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", _section("Algorithms"), re.MULTILINE)
        assert f" {algorithm.decay} " in row
        assert f"`{algorithm.torch.name}" in row


def test_the_parity_table_is_that_of_the_command():
    head = as_markdown({}).splitlines()[0]
    table = _section("Parity")
    assert head in table
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(fa.ALGORITHMS)
