"""`functional-adam plan`: every figure against what arrays on eight devices really take."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from typer.testing import CliRunner

import functional_adam as fa
from functional_adam.cli._plan.memory import SHARDINGS, per_device, per_parameter
from functional_adam.cli._precision.subjects import SUBJECTS
from functional_adam.cli.app import app

# Uneven blocks, 16 elements each, would not do: as in large models they are 128.
SHAPE = (64, 1024)
SCALARS = 4 * 4  # counts and seeds


def run(*arguments, status=0):
    done = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def _held(tree):
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight (virtual) devices")
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_figures_are_what_arrays_take(sharding):
    """Weights and state are made; the gradient's dtype is that of a real gradient."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data") if sharding == "fsdp" else PartitionSpec()
    for subject in SUBJECTS:
        p = jax.device_put(jnp.ones(SHAPE, subject.dtype), NamedSharding(mesh, spec))
        tx = subject.make(1e-3)
        state = (fa.zero1(tx, mesh) if sharding == "zero1" else tx).init(p)
        g = jax.eval_shape(jax.grad(lambda p: jnp.sum(p, dtype=jnp.float32)), p)
        found = per_device(subject, p.size, 8, sharding)
        assert _held(p) == found.weights, subject.name
        whole = g.size * g.dtype.itemsize
        assert (whole / 8 if sharding == "fsdp" else whole) == found.gradients, subject.name
        assert 0 < _held(state) - found.state <= SCALARS, subject.name


def test_what_everybody_knows():
    """Float32 Adam: 16 bytes a parameter, half of them state."""
    found = per_parameter(SUBJECTS[0])
    assert (found.weights, found.gradients, found.state, found.total) == (4, 4, 8, 16)
    # Tensor parallel cuts everything, the other devices what the sharding says.
    found = per_device(SUBJECTS[0], 70e9, 256, "zero1", tensor_parallel=8)
    assert found.weights == found.gradients == 4 * 70e9 / 8
    assert found.state == 8 * 70e9 / 256


def test_outputs_agree():
    options = ("--params", "70e9", "--params", "1T", "--devices", "256", "--memory", "80")
    found = json.loads(run(*options, "--json", "-"))
    rows = {(row["name"], row["parameters"]): row for row in found["rows"]}
    assert len(rows) == 2 * len(SUBJECTS)
    row = rows["32 bits + int8", 70e9]
    total = row["per_device"]["fsdp"]["total"]
    assert total == pytest.approx(70e9 * sum(row["per_parameter"].values()) / 256)
    markdown = run(*options, "--markdown", "-")
    (line,) = re.findall(r"^\| 32 bits \+ int8 \|.*\*\*2.19\*\* \|$", markdown, re.MULTILINE)
    assert "| 2 + 2 + 4.02 | 561 / 281 / **2.19** |" in line
    assert "1T on 256: GB per device" in markdown
    text = run(*options, "--only", "32 bits + int8", "--sharding", "fsdp")
    assert re.search(r"^32 bits \+ int8 +2.000 +2.000 +4.016 +2.19\*$", text, re.MULTILINE)
    assert "float32 + float32" not in text


def test_default_sizes_and_files(tmp_path):
    out = tmp_path / "plan.json"
    assert "1T parameters on 4096 devices" in run("--json", out)
    found = json.loads(out.read_text())["rows"]
    assert {row["parameters"] for row in found} == {1e9, 70e9, 1e12}
    assert {row["devices"] for row in found} == {8, 256, 4096}


def test_what_is_asked_for_twice_is_told_once():
    twice = ("--params", "70e9", "--params", "70B", "--devices", "256", "--devices", "256")
    once = ("--params", "70B", "--devices", "256")
    for form in ("--json", "--markdown"):
        assert run(*twice, form, "-") == run(*once, form, "-")


def test_errors():
    for arguments, match in (
        (["--params", "many"], "--params many: a number from 1 to 1e18 such as 70e9, 70B or 350M"),
        (["--params", "nan"], "--params nan: a number"),
        (["--params", "1e308"], "--params 1e308: a number"),
        (["--params", "0"], "--params 0: a number from 1"),
        (["--sharding", "zero9"], "--sharding zero9: there are replicated, zero1, fsdp"),
        (["--tensor-parallel", "3"], "--tensor-parallel 3 does not divide --devices 8"),
        (["--only", "int3"], "--only int3: there are"),
        (["--memory", "inf"], "--memory inf: must be a finite number"),
        (["--devices", str(10**12)], "Invalid value"),
        (["--json", "no/such/folder/x"], "cannot write no/such/folder/x"),
    ):
        assert match in run(*arguments, status=2)
