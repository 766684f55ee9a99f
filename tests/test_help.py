"""Help keeps the names of options whole, also in a narrow terminal and in one without boxes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from functional_adam.cli.app import app


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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a stream that is always full")
def test_a_full_disk_behind_stdout_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "functional_adam.cli", "plan", "--params", "1B"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "functional-adam ended early: [Errno 28] No space left on device\n"


def test_two_outputs_to_one_file_are_refused(tmp_path):
    for out in ("-", str(tmp_path / "a")):
        done = CliRunner().invoke(app, ["plan", "--json", out, "--markdown", out])
        assert done.exit_code == 2
        assert f"cannot write two outputs to {out}" in done.output
    assert not list(tmp_path.iterdir())
