"""Every example of a docstring runs as shown, and every public function that should has one."""

from __future__ import annotations

import doctest
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import functional_adam as fa
import functional_adam_torch as ft
from functional_adam import schedules, tune

# What an example may presume: the documentation says so on its first page.
NAMES = dict(fa=fa, ft=ft, jax=jax, jnp=jnp, np=np, optax=optax, torch=torch, tune=tune)


def _public(module):
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType | type)
        and not name.startswith("_")
        and value.__module__.startswith("functional_adam")
    ]


OBJECTS = {f"{x.__module__}.{x.__name__}": x for m in (fa, schedules, tune, ft) for x in _public(m)}
FINDER = doctest.DocTestFinder(recurse=False)
EXAMPLES = {
    name: test
    for name, x in OBJECTS.items()
    for test in FINDER.find(x, name, globs=dict(NAMES))
    if test.examples
}
# Their examples would be long: modules of Flax, Equinox and Keras, searches.
WITHOUT = {
    "bfloat16_codec", "choose_execution", "compilation_cache", "float32_codec", "from_equinox",
    "from_keras", "to_keras", "tune",
    "from_nnx", "held_out", "int8_codec", "learning_rate_fan", "learning_rate_test",
    "optuna_sampler", "precision_probe", "rich_progress", "traces",
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_gives_what_it_shows(name):
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    result = runner.run(EXAMPLES[name], out=said.append)
    assert result.failed == 0, "".join(said)


def test_every_function_has_an_example():
    functions = {n for n, x in OBJECTS.items() if isinstance(x, types.FunctionType)}
    missing = {name.rpartition(".")[2] for name in functions - EXAMPLES.keys()}
    assert missing == WITHOUT


def test_every_class_of_the_bridge_has_an_example():
    for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "OptaxOptimizer"):
        assert getattr(ft, name).__module__ + "." + name in EXAMPLES
