"""`functional-adam doctor`: a sound file passes, and each fault is named."""

from __future__ import annotations

import json
import re

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


def of_two_groups(path, names, fault, model=()):
    """A checkpoint of a network in two groups, with a fault in the first parameter's entry."""
    torch.manual_seed(0)
    ps = [torch.nn.Parameter(torch.randn(3, 4)) for _ in names]
    pairs = list(zip(names, ps, strict=True))
    optimizer = torch.optim.AdamW([{"params": pairs[:1]}, {"params": pairs[1:]}])
    for p in ps:
        p.grad = torch.randn_like(p)
    optimizer.step()
    held = optimizer.state_dict()
    fault(held["state"][0], held["param_groups"][0])
    torch.save({"model": dict(model), "optimizer": held}, path)


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
    (lambda _, g: g.update(betas=0.9), "group 0: betas is 0.9: not a pair of numbers"),
    (lambda _, g: g.update(betas=(0.9,)), "betas is (0.9,): not a pair of numbers"),
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
    (tmp_path / "a.safetensors").write_text("x")
    assert "says itself" in run(tmp_path / "a.safetensors", 2, "--model-key", "model")
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


def test_parameters_of_one_name_are_told_apart(tmp_path):
    """Generator and discriminator, each with a weight: the last one must not hide the others."""
    of_two_groups(tmp_path / "a.pt", ["weight", "weight"], put("exp_avg", float("nan")))
    output = run(tmp_path / "a.pt", 1)
    assert "2 parameters" in output
    assert "weight (parameter 0): 1 of 12 of mu are NaN" in output
    assert "parameter 1" not in output


def test_nan_is_not_told_twice(tmp_path):
    def fault(entry, _):
        entry["exp_avg"].fill_(float("nan"))
        entry["exp_avg_sq"].zero_()

    saved(tmp_path / "a.pt", fault)
    assert "1 thing is wrong" in run(tmp_path / "a.pt", 1)


def test_a_buffer_may_be_a_mask_with_infinities(tmp_path):
    mask = torch.triu(torch.full((4, 4), float("-inf")), 1)
    model = {"a": torch.ones(3, 4), "b": torch.ones(3, 4)}
    of_two_groups(tmp_path / "a.pt", ["a", "b"], lambda *_: None, model | {"mask": mask})
    assert "note   file: 6 of 16 of mask are infinite" in run(tmp_path / "a.pt", 0)
    for buffer, parameter in ((mask * float("nan"), 1.0), (mask, float("inf"))):
        held = model | {"mask": buffer, "b": torch.full((3, 4), parameter)}
        of_two_groups(tmp_path / "a.pt", ["a", "b"], lambda *_: None, held)
        run(tmp_path / "a.pt", 1)
    # Of two networks with the same names it is not known which are parameters.
    of_two_groups(tmp_path / "a.pt", ["b", "b"], lambda *_: None, held)
    assert "12 of 12 of parameter b are infinite" in run(tmp_path / "a.pt", 1)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_optimizer_of_another_family_is_refused(tmp_path, make):
    saved(tmp_path / "a.pt", make=make)
    output = run(tmp_path / "a.pt", 1)
    assert re.search(r"group 0 is of no optimizer of Adam's family: it has .*\blr\b", output)


def test_torch_s_adamax_is_recognised(tmp_path):
    saved(tmp_path / "a.pt", make=torch.optim.Adamax)
    assert "torch.optim" in run(tmp_path / "a.pt", 0)


@pytest.mark.parametrize("keys", [False, True])
def test_a_checkpoint_of_lightning(tmp_path, keys):
    """It keeps optimizers in a list; of two, the option says which."""
    saved(tmp_path / "a.pt", put("exp_avg", float("nan")))
    held = torch.load(tmp_path / "a.pt")["optimizer"]
    model = {"w": torch.tensor([float("nan")])}
    optimizers = [{"state": {}, "param_groups": []}, held] if keys else [held]
    torch.save({"net": model, "optimizer_states": optimizers}, tmp_path / "b.ckpt")
    if keys:
        assert "pass --optimizer-key; there are net, optimizer_states" in run(
            tmp_path / "b.ckpt", 1
        )
    options = ["--optimizer-key", "optimizer_states.1", "--model-key", "net"] if keys else []
    output = run(tmp_path / "b.ckpt", 1, *options)
    assert "1 of 12 of mu are NaN" in output
    assert ("1 of 1 of parameter w are NaN" in output) == keys


def test_hyperparameters_that_optax_keeps_beside_the_state(tmp_path):
    params = {"a": jnp.ones(3)}
    tx = optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.adam)(learning_rate=1e-3))
    _, state = tx.update(params, tx.init(params), params)
    state[1].hyperparams.update(learning_rate=jnp.nan, b2=1.0, eps=-1.0)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = {"params": params, "opt_state": state}
        checkpointer.save((tmp_path / "a").absolute(), ocp.args.PyTreeSave(tree))
    output = run(tmp_path / "a", 1)
    for words in ("lr is nan", "b2 is 1.0", "eps is -1.0", "3 things are wrong"):
        assert words in output
    assert "holds no hyperparameters" not in output


def test_a_rate_that_a_scheduler_rounded_to_below_zero_is_zero(tmp_path):
    saved(tmp_path / "a.pt", lambda _, g: g.update(lr=-1.9e-20, initial_lr=1e-3))
    run(tmp_path / "a.pt", 0)
    saved(tmp_path / "a.pt", lambda _, g: g.update(lr=-1.9e-3, initial_lr=1e-3))
    assert "lr is -0.0019" in run(tmp_path / "a.pt", 1)
