"""The harness for PyTorch's own tests: what it counts, and that it notices a faulty class."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_suite

# In the form of PyTorch's: made from the table of optimizers, for each device.
SUITE = """
import torch
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_optimizers import optim_db, optims
from torch.testing._internal.common_utils import TestCase


class TestSmall(TestCase):
    @optims(optim_db)
    def test_sparse(self, device, dtype, optim_info):
        p = torch.ones(2, requires_grad=True)
        p.grad = torch.ones(2).to_sparse()
        with self.assertRaisesRegex(RuntimeError, "sparse"):
            optim_info.optim_cls([p]).step()

    @optims(optim_db)
    def test_it_is_torchs(self, device, dtype, optim_info):
        if optim_info.optim_cls.__module__ != "torch.optim.adam":
            self.skipTest("only torch's")

    @optims(optim_db)
    def test_everywhere(self, device, dtype, optim_info):
        assert torch.optim.Adam is optim_info.optim_cls


instantiate_device_type_tests(TestSmall, globals())
"""

CLASSES = "from contract_faults import SparseAccepted\n\nAdam = SparseAccepted.Adam\n"


def test_a_class_that_fails_or_is_skipped_is_noticed(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_optim.py").write_text(SUITE)
    (tmp_path / "faulty.py").write_text(CLASSES)
    here = Path(__file__).parent
    folders = [str(tmp_path), *map(str, (here, here.parent, here.parent / "bridges"))]
    command = [sys.executable, here / "pytorch_suite.py", tmp_path, "--class", "Adam"]
    done = subprocess.run(
        [*command, "--module", "faulty"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    first, second, *worse, last = done.stdout.splitlines()
    assert first.split() == ["torch.optim.Adam", "3", "passed", "0", "failed", "0", "skipped"]
    assert second.split() == ["faulty.Adam", "1", "passed", "1", "failed", "1", "skipped"]
    assert [line.split(":")[0].split(".")[-1] for line in worse] == [
        "test_it_is_torchs_Adam_cpu_float32",
        "test_sparse_Adam_cpu_float32",
    ]
    assert last.startswith("2 of the tests")


def test_what_counts_as_worse():
    theirs = {"a": ("passed", ""), "b": ("failed", ""), "c": ("skipped", ""), "d": ("passed", "")}
    assert pytorch_suite.regressions(theirs, {"a": ("passed", ""), "d": ("passed", "")}) == []
    ours = {"a": ("skipped", "no"), "b": ("failed", "")}
    assert pytorch_suite.regressions(theirs, ours) == [
        ("a", "passed", "skipped", "no"),
        ("d", "passed", "missing", ""),
    ]


def test_a_folder_that_is_no_pytorch(tmp_path, capsys):
    with pytest.raises(SystemExit):
        pytorch_suite.main([str(tmp_path)])
    assert "SOURCE must have test/test_optim.py" in capsys.readouterr().err
