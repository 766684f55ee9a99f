"""Making one: signature, defaults, checks and messages, groups of parameters."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn import Parameter

from ._support import Options, outcome, parameters, seen, train


def signature(cls: type, options: Options) -> Any:
    """Names, order, kinds and defaults of the constructor's arguments, and of step's.

    Ours may take more, by keyword only, after torch's and with a default.
    """
    del options
    known = inspect.signature(getattr(torch.optim, cls.__name__)).parameters
    rows = list(inspect.signature(cls).parameters.values())
    while rows[-1].name not in known:
        assert rows[-1].kind is inspect.Parameter.KEYWORD_ONLY
        assert rows[-1].default is not inspect.Parameter.empty
        rows.pop()
    return (
        [(row.name, str(row.kind), repr(row.default)) for row in rows],
        list(inspect.signature(cls.step).parameters),
        cls.__name__,
    )


def defaults(cls: type, options: Options) -> Any:
    """`defaults` and the groups: their keys, order and values."""
    plain, chosen = cls(parameters()), cls(parameters(), **options)
    amp = [getattr(o, "_step_supports_amp_scaling", None) for o in (plain, chosen)]
    groups = [
        {k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (plain, chosen)
    ]
    return plain.defaults, chosen.defaults, groups, amp


def positional_arguments(cls: type, options: Options) -> Any:
    """What torch takes by position."""
    del options
    arguments = (0.01, (0.8, 0.9), 1e-6, 0.1)
    return cls(parameters(), *arguments).defaults, outcome(lambda: cls(parameters(), *[0.1] * 9))


def rejected_values(cls: type, options: Options) -> Any:
    """Exception and message for every value out of range."""
    bad = [
        {"lr": -1.0},
        {"lr": torch.tensor([0.1, 0.1])},
        {"lr": torch.tensor(0.1), "foreach": True},
        {"eps": -1e-8},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, 1.0)},
        {"betas": (-0.1, 0.9)},
        {"betas": (0.9, 1.2)},
        {"betas": (0.9,)},
        {"weight_decay": -0.1},
        {"momentum_decay": -0.1},
        {"amsgrad": True},
        {"nonsense": 1},
        {"differentiable": True, "foreach": True},
    ]
    return [outcome(lambda kw=kw: _groups(cls(parameters(), **{**options, **kw}))) for kw in bad]


def rejected_parameters(cls: type, options: Options) -> Any:
    """Exception, message and warnings for what cannot be optimized."""
    p, q = parameters()[:2]
    bad = [
        p,
        [],
        [1.0],
        {p, q},
        [{"params": {p, q}}],
        [p, p],
        [{"params": [p]}, {"params": [p]}],
        [p * 2],
        [{"params": [p], "lr": -1.0}],
        [{"lr": 0.1}],
        [("p", p), q],
        [{"params": [("p", p)]}, {"params": [q]}],
        [("p", p), ("p", q)],
        "ab",
    ]
    return [outcome(lambda given=given: len(cls(given, **options).param_groups)) for given in bad]


def accepted_parameters(cls: type, options: Options) -> Any:
    """Every form torch takes: lists, tuples, generators, groups, modules, named ones."""
    results = []
    forms = [
        lambda ps: ps,
        tuple,
        iter,
        lambda ps: (p for p in ps),
        lambda ps: {str(i): p for i, p in enumerate(ps)}.values(),
        lambda ps: [("a", ps[0]), ("b", ps[1])],
        lambda ps: torch.nn.ParameterList(ps).parameters(),
        lambda ps: torch.nn.ParameterDict({"w": ps[0], "v": ps[1]}).named_parameters(),
        lambda ps: [{"params": ps[0]}, {"params": ps[1:], "lr": 0.5}],
        lambda ps: iter([{"params": (p for p in ps), "weight_decay": 0.2, "own": "kept"}]),
        lambda ps: [{"params": [("a", ps[0])]}, {"params": [("b", ps[1])], "eps": 1e-3}],
    ]
    for form in forms:
        params = parameters()
        optimizer = cls(form(params), **options)
        same = all(any(p is q for q in params) for g in optimizer.param_groups for p in g["params"])
        train(optimizer, params, steps=range(2))
        results.append((same, seen(optimizer)))
    return results


def added_groups(cls: type, options: Options) -> Any:
    """`add_param_group` in the middle of training, and what it refuses."""
    params = parameters()
    optimizer = cls(params[:2], **options)
    train(optimizer, params, steps=range(2))
    optimizer.add_param_group({"params": params[2]})
    optimizer.add_param_group({"params": params[3:], "lr": 0.3, "betas": (0.5, 0.6)})
    train(optimizer, params, steps=range(2, 5))
    refused = [
        outcome(lambda given=given: optimizer.add_param_group(given))
        for given in ([params[0]], {"params": params[0]}, {"params": {Parameter(torch.ones(2))}})
    ]
    return seen(optimizer), refused


def representation(cls: type, options: Options) -> Any:
    """`repr`."""
    return repr(cls([{"params": parameters()[:1]}, {"params": parameters()[1:]}], **options))


def _groups(optimizer: torch.optim.Optimizer) -> Any:
    return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]


SCENARIOS = (
    signature,
    defaults,
    positional_arguments,
    rejected_values,
    rejected_parameters,
    accepted_parameters,
    added_groups,
    representation,
)
