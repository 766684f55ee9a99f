"""`functional-adam convert`: round trips of every format, refusals, and no half-written file."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import safetensors.torch
import torch
from test_convert import KINDS, _bits, _groups, _held_up, _parameters, _train
from typer.testing import CliRunner

import functional_adam as fa
from functional_adam.cli.app import app

ROOT = Path(__file__).parent.parent
# orbax keeps no array without elements.
FULL = ("a.weight", "a.bias", "scale")


def run(*arguments, status=0):
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def checkpoint(path, name="AdamW", options=(), dtype=torch.float32, named=True, **more):
    parameters = {key: p for key, p in _parameters(dtype).items() if key in FULL}
    optimizer = getattr(torch.optim, name)(
        _groups(parameters), lr=torch.tensor(1e-2), foreach=False, **dict(options)
    )
    if named:
        first, *others = parameters
        for group, own in zip(optimizer.param_groups, ([first], others), strict=True):
            group["param_names"] = own
    _train(optimizer, parameters, range(4), _held_up)
    model = {key: p.detach() for key, p in parameters.items()} | {"buffer": torch.arange(3.0)}
    held = {"model": model, "optimizer": optimizer.state_dict()} | more
    torch.save(held, path)
    return held


def same(a, b):
    """Checkpoints: keys, types and every bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert _bits(a) == _bits(b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_torch_to_safetensors_to_orbax_to_torch(tmp_path, dtype):
    (tmp_path / "names").write_text("\n".join(FULL))
    for algorithm, name, options in KINDS:
        if dtype != torch.float32 and algorithm not in ("amsgradw", "nadam"):
            continue
        a, b, c, d = (tmp_path / f"{algorithm}{end}" for end in (".pt", ".safetensors", "", ".pth"))
        named = algorithm != "nadam"
        held = checkpoint(a, name, options, dtype, named)
        names = () if named else ("--names", tmp_path / "names")
        run(a, b, "--transpose", "a.*", *names)
        turned = safetensors.torch.load_file(b)["state/a.weight/mu"]
        assert _bits(turned.T) == _bits(held["optimizer"]["state"][0]["exp_avg"])
        run(b, c)
        run(c, d)
        same(torch.load(d, weights_only=True), held)


def test_an_orbax_directory_resumes_under_functional_adam(tmp_path):
    """What is written is the state that `to_jax`'s transformation makes."""
    held = checkpoint(tmp_path / "a.pt", "NAdam", named=True, epoch=3)
    output = run(tmp_path / "a.pt", tmp_path / "b")
    assert "not carried over: epoch" in output
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore((tmp_path / "b").absolute())
    parts = tree["state"]["inner_states"]
    assert sorted(parts) == ["frozen", "group0", "group1_0", "group1_1"]
    own = parts["group1_1"]["inner_state"]
    theirs = held["optimizer"]["state"][1]
    assert int(own["count"]) == int(theirs["step"]) == 3
    assert float(own["mu_product"]) == float(theirs["mu_product"])
    np.testing.assert_array_equal(own["nu"]["a"]["bias"], theirs["exp_avg_sq"])
    np.testing.assert_array_equal(tree["params"]["buffer"], np.arange(3.0))


@pytest.mark.parametrize("algorithm", ["adam", "adamw", "radam", "adamax"])
def test_an_optax_checkpoint_goes_on_in_torch_and_back(tmp_path, algorithm):
    """A chain of optax, saved by orbax alone, becomes a torch checkpoint and then itself again."""
    params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
    own = {"weight_decay": 0.1} if algorithm == "adamw" else {}
    tx = getattr(optax, algorithm)(1e-2, **own)
    state = tx.init(params)
    for i in range(3):
        g = jax.tree.map(lambda p, i=i: jnp.sin(p + i), params)
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((tmp_path / "a").absolute(), {"params": params, "opt_state": state})
    (tmp_path / "names").write_text(
        json.dumps({"dense.kernel": "0.weight", "dense.bias": "0.bias"})
    )
    options = ["--option", "lr=0.01", "--option", "betas=[0.9, 0.999]"]
    options += ["--option", "weight_decay=0.1"] if own else []
    run(tmp_path / "a", tmp_path / "b.pt", "--algorithm", algorithm, "--transpose", "*.kernel",
        "--names", tmp_path / "names", *options)  # fmt: skip
    held = torch.load(tmp_path / "b.pt", weights_only=True)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    model.load_state_dict(held["model"])
    optimizer = getattr(torch.optim, fa.ALGORITHMS[algorithm].torch.name)(
        model.named_parameters(), lr=1.0
    )
    optimizer.load_state_dict(held["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    entry = optimizer.state[model[0].weight]
    assert int(entry["step"]) == 3
    np.testing.assert_array_equal(
        entry["exp_avg"].T, optax.tree.get(state, "mu")["dense"]["kernel"]
    )
    back = {new: old for old, new in json.loads((tmp_path / "names").read_text()).items()}
    (tmp_path / "back").write_text(json.dumps(back))
    run(tmp_path / "b.pt", tmp_path / "c", "--structure", "optax", "--transpose", "*.weight",
        "--names", tmp_path / "back")  # fmt: skip
    with ocp.StandardCheckpointer() as checkpointer:
        again = checkpointer.restore(
            (tmp_path / "c").absolute(), {"params": params, "state": tx.init(params)}
        )
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves((params, state)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert jax.tree.structure(again["state"]) == jax.tree.structure(state)
