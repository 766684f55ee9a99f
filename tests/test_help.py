"""Help keeps the names of options whole, also in a narrow terminal and in one without boxes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("terminal", [{"COLUMNS": "50"}, {"COLUMNS": "100", "TERM": "dumb"}])
def test_help_is_whole(terminal):
    done = subprocess.run(
        [sys.executable, "-m", "functional_adam.cli", "convert", "--help"],
        capture_output=True, text=True, check=True, timeout=120, env=os.environ | terminal,
    )  # fmt: skip
    assert "--optimizer-key" in done.stdout
    assert "\x1b" not in done.stdout
    assert not set("╭│…") & set(done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= int(terminal["COLUMNS"])
