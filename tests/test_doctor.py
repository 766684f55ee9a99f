"""`functional-adam doctor`: a sound file passes, and each fault is named."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import torch
from typer.testing import CliRunner

import functional_adam_torch as ft
from functional_adam import ALGORITHMS
from functional_adam.cli.app import app


def run(path, status, *options):
    done = CliRunner().invoke(app, ["doctor", str(path), *options])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def saved(path, fault=None, dtype=torch.float32, make=torch.optim.AdamW, **options):
    """A checkpoint of two steps, with a fault in its state_dict."""
    torch.manual_seed(0)
    ps = [torch.nn.Parameter(torch.randn(3, 4).to(dtype)), torch.nn.Parameter(torch.randn(4))]
    optimizer = make(ps, **{"lr": 1e-3, **options})
    for _ in range(2):
        for p in ps:
            p.grad = torch.randn_like(p)
        optimizer.step()
    held = optimizer.state_dict()
    if fault is not None:
        fault(held["state"][0], held["param_groups"][0])
    torch.save({"optimizer": held}, path)


def put(key, value):
    return lambda entry, _: entry[key].view(-1)[:1].fill_(value)


FAULTS = [
    (put("exp_avg", float("nan")), "1 of 12 of mu are NaN"),
    (put("exp_avg_sq", float("inf")), "1 of 12 of nu are infinite"),
    (put("exp_avg_sq", -1.0), "1 of v are negative"),
    (put("exp_avg_sq", 0.0), "1 of v are 0 where m is not"),
    (lambda e, _: e["step"].fill_(0), "the correction divides by 0"),
    (lambda e, _: e["step"].fill_(2.5), "must be a whole number"),
    (lambda e, _: e.update(exp_avg_sq=torch.ones(2)), "nu has shape (2,), not (3, 4)"),
    (lambda e, _: e.pop("exp_avg"), "has no mu"),
    (lambda _, g: g.update(betas=(0.9, 1.0)), "b2 is 1.0, not in [0, 1): it became 1"),
    (lambda _, g: g.update(eps=0.0), "eps is 0: a zero gradient divides 0 by 0"),
    (lambda _, g: g.update(lr=float("nan")), "lr is nan"),
    (lambda _, g: g.update(betas=None), "group 0: betas is None: not a number"),
    (lambda _, g: g.update(betas=0.9), "group 0: betas is 0.9: not numbers"),
    (lambda _, g: g.update(lr="x"), "group 0: lr is 'x': not a number"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_a_fault_is_named(tmp_path, fault, words):
    saved(tmp_path / "a.pt", fault)
    assert words in run(tmp_path / "a.pt", 1)


def test_a_sound_file_passes_and_says_whose_it_is(tmp_path):
    saved(tmp_path / "a.pt")
    output = run(tmp_path / "a.pt", 0)
    assert "torch.optim" in output
    assert "nothing is wrong" in output
    found = json.loads(run(tmp_path / "a.pt", 0, "--json", "-"))
    assert (found["parameters"], found["findings"]) == (2, [])


def test_a_moment_in_half_precision_cannot_forget(tmp_path):
    saved(tmp_path / "a.pt", dtype=torch.bfloat16)
    assert "100% of v in bfloat16 cannot forget" in run(tmp_path / "a.pt", 1)
    saved(tmp_path / "a.pt", dtype=torch.bfloat16, betas=(0.9, 0.95))
    run(tmp_path / "a.pt", 0)
    saved(tmp_path / "a.pt", dtype=torch.float16, betas=(0.9, 0.95), eps=1e-8,
          fault=lambda e, _: e["exp_avg_sq"].fill_(1))  # fmt: skip
    assert "eps 1e-08 is 0 in float16" in run(tmp_path / "a.pt", 1)


@pytest.mark.parametrize("name", sorted({row.torch_class for row in ALGORITHMS.values()}))
def test_the_state_of_every_algorithm_is_one(tmp_path, name):
    make = getattr(ft, name)
    saved(tmp_path / "a.pt", make=make)
    assert "nothing is wrong" in run(tmp_path / "a.pt", 0)
    keys = [k for k in torch.load(tmp_path / "a.pt")["optimizer"]["state"][0] if k != "step"]
    for key in keys:
        saved(tmp_path / "b.pt", put(key, float("nan")), make=make)
        assert "are NaN" in run(tmp_path / "b.pt", 1)


def test_moments_have_the_sign_of_their_names(tmp_path):
    for make, key, status in (
        (ft.Lion, "exp_avg", 0),
        (ft.AdEMAMix, "exp_avg_slow", 0),
        (ft.AdEMAMix, "exp_avg_sq", 1),
        (ft.AdaBelief, "exp_avg_var", 1),
    ):
        saved(tmp_path / "a.pt", put(key, -1.0), make=make)
        assert ("1 of v are negative" in run(tmp_path / "a.pt", status)) == bool(status)
    saved(tmp_path / "a.pt", put("max_exp_avg_sq", -1.0), amsgrad=True)
    assert "1 of nu_max are negative" in run(tmp_path / "a.pt", 1)


def test_counts_that_differ_are_no_fault(tmp_path):
    saved(tmp_path / "a.pt", lambda e, _: e["step"].fill_(7))
    assert "note   file: counts differ" in run(tmp_path / "a.pt", 0)


def test_a_safetensors_file(tmp_path):
    (tmp_path / "names").write_text("a\nb\n")
    for fault, words, status in (
        (lambda e, _: e["step"].fill_(7), "counts differ", 0),
        (put("exp_avg_sq", -1.0), "1 of v are negative", 1),
    ):
        saved(tmp_path / "a.pt", fault)
        files = [str(tmp_path / f"{status}{end}") for end in (".pt", ".safetensors")]
        (tmp_path / "a.pt").rename(files[0])
        done = CliRunner().invoke(app, ["convert", *files, "--names", str(tmp_path / "names")])
        assert done.exit_code == 0, done.output
        assert words in run(files[1], status)


def test_hugging_face_is_recognised(tmp_path):
    saved(tmp_path / "a.pt", lambda _, g: g.update(correct_bias=True))
    assert "dialect HF" in run(tmp_path / "a.pt", 0)


def test_an_orbax_directory(tmp_path):
    params = {"a": jnp.ones(3)}
    tx = optax.adam(1e-3)
    _, state = tx.update(params, tx.init(params), params)
    for name, nu, status in (("good", state[0].nu, 0), ("bad", {"a": -jnp.ones(3)}, 1)):
        tree = {"params": params, "state": (state[0]._replace(nu=nu), *state[1:])}
        tree = {"params": params, "state": {"0": tree["state"][0]._asdict()}}
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            checkpointer.save((tmp_path / name).absolute(), ocp.args.PyTreeSave(tree))
        assert ("3 of v are negative" in run(tmp_path / name, status)) == bool(status)


def test_wrong_usage_and_files_that_are_none(tmp_path):
    run(tmp_path / "none.pt", 2)
    (tmp_path / "a.txt").write_text("x")
    run(tmp_path / "a.txt", 2)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "b.pt")
    assert "no optimizer" in run(tmp_path / "b.pt", 1)
    np.save(tmp_path / "c.npy", np.zeros(2))


def test_entries_of_nobody_and_models_with_more_than_tensors(tmp_path):
    saved(tmp_path / "a.pt")
    held = torch.load(tmp_path / "a.pt")
    held["optimizer"]["state"][9] = held["optimizer"]["state"].pop(1)
    torch.save(held, tmp_path / "b.pt")
    assert "belong to no parameter of any group: 9" in run(tmp_path / "b.pt", 1)
    saved(tmp_path / "a.pt")
    held = torch.load(tmp_path / "a.pt")
    held["model"] = {"w": torch.tensor([1.0, float("nan")]), "_extra_state": {"a": 1}}
    torch.save(held, tmp_path / "c.pt")
    assert "1 of 2 of parameter w are NaN" in run(tmp_path / "c.pt", 1)
    (tmp_path / "d.pt").write_bytes(b"hello" * 99)
    assert "is not a torch checkpoint: 101 (KeyError)" in run(tmp_path / "d.pt", 1)
