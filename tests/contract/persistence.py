"""Leaving and coming back: state_dicts of both sides, old ones, files, copies, pickles."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import torch

from ._support import Options, copied, outcome, parameters, seen, train

# Keys of groups that torch added over the years: older checkpoints lack them.
_ADDED = (
    "amsgrad",
    "maximize",
    "foreach",
    "capturable",
    "differentiable",
    "fused",
    "decoupled_weight_decay",
)


def state_dict_bytes(cls: type, options: Options) -> Any:
    """The file torch.save writes, byte for byte."""
    params = parameters()
    optimizer = cls([{"params": params[:2]}, {"params": params[2:], "lr": 0.1}], **options)
    train(optimizer, params, steps=range(3), some_missing=True)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    return buffer.getvalue(), pickle.dumps(optimizer.state_dict()["param_groups"])


def checkpoints_of_torch(cls: type, options: Options) -> Any:
    """A file written by torch.optim loads, weights only, and training goes on."""
    theirs = getattr(torch.optim, cls.__name__)
    params = parameters()
    source = theirs(params, **options)
    train(source, params, steps=range(4), some_missing=True)
    target = cls(params, **{**options, "lr": 7.0})
    target.load_state_dict(_through_a_file(source.state_dict()))
    loaded = seen(target)
    train(target, params, steps=range(4, 8), some_missing=True)
    return loaded, seen(target)


def checkpoints_for_torch(cls: type, options: Options) -> Any:
    """A file written here loads in torch.optim, and training goes on."""
    theirs = getattr(torch.optim, cls.__name__)
    params = parameters()
    source = cls(params, **options)
    train(source, params, steps=range(4), some_missing=True)
    target = theirs(params, **{**options, "lr": 7.0})
    target.load_state_dict(_through_a_file(source.state_dict()))
    loaded = seen(target)
    train(target, params, steps=range(4, 8), some_missing=True)
    return loaded, seen(target)


def older_checkpoints(cls: type, options: Options) -> Any:
    """Steps as numbers, keys that did not exist yet: all are filled in."""
    results = []
    for number in (float, int, None):
        params = parameters()
        optimizer = cls(params, **options)
        train(optimizer, params, steps=range(3))
        saved = copy.deepcopy(optimizer.state_dict())
        for group in saved["param_groups"]:
            for key in _ADDED:
                # What the options chose is kept: the default would be another algorithm.
                if key not in options:
                    group.pop(key, None)
        if number is not None:
            for state in saved["state"].values():
                for key in {"step", "mu_product"} & set(state):
                    state[key] = float(state[key]) if key == "mu_product" else number(state[key])
        optimizer.load_state_dict(saved)
        loaded = seen(optimizer)
        train(optimizer, params, steps=range(3, 5))
        results.append((loaded, seen(optimizer)))
    return results


def rejected_checkpoints(cls: type, options: Options) -> Any:
    """Exception and message where a checkpoint does not fit; nothing is loaded then."""
    optimizer = cls(parameters(), **options)
    other = cls([{"params": parameters()[:1]}, {"params": parameters()[1:]}], **options)
    fewer = cls(parameters()[:2], **options)
    refused = [
        outcome(lambda given=given: optimizer.load_state_dict(given))
        for given in (other.state_dict(), fewer.state_dict(), {})
    ]
    return refused, seen(optimizer)


def loaded_values(cls: type, options: Options) -> Any:
    """What is cast to the parameter's dtype, what is kept, and what is shared with the source."""
    results = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        params = parameters(dtype=dtype)
        source = cls(params, **options)
        train(source, params, steps=range(2))
        saved = source.state_dict()
        target = cls(parameters(), **options)
        target.load_state_dict(saved)
        shared = [
            {k: v.data_ptr() == saved["state"][i][k].data_ptr() and v.numel() > 0
             for k, v in target.state[p].items()}
            for i, p in enumerate(target.param_groups[0]["params"])
        ]  # fmt: skip
        live = [
            {k: v is source.state[p][k] for k, v in saved["state"][i].items()}
            for i, p in enumerate(params)
        ]
        train(target, target.param_groups[0]["params"], steps=range(2, 4))
        results.append((shared, live, seen(target), copied(saved)))
    return results


def state_dict_hooks(cls: type, options: Options) -> Any:
    """Order and effect of the hooks around saving and loading."""
    params = parameters()
    optimizer = cls(params, **options)
    train(optimizer, params, steps=range(1))
    log = []

    def replace(opt, saved):
        log.append(("replace", opt is optimizer, list(saved)))
        return {**saved, "note": 1}

    def look(name):
        return lambda opt, *more: log.append((name, opt is optimizer, [list(x) for x in more]))

    optimizer.register_state_dict_pre_hook(look("pre"))
    optimizer.register_state_dict_pre_hook(look("pre first"), prepend=True)
    optimizer.register_state_dict_post_hook(replace)
    optimizer.register_state_dict_post_hook(look("post"))
    optimizer.register_load_state_dict_pre_hook(look("load pre"))
    optimizer.register_load_state_dict_pre_hook(replace, prepend=True)
    optimizer.register_load_state_dict_post_hook(look("load post"))
    optimizer.register_load_state_dict_post_hook(look("load post first"), prepend=True)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    return log, copied(saved), seen(optimizer)


def copies(cls: type, options: Options) -> Any:
    """deepcopy and pickle: of the same class, apart from the original, and they train on."""
    params = parameters()
    optimizer = cls(params, **options)
    train(optimizer, params, steps=range(3))
    clones = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), copy.copy(optimizer)
    results = []
    for clone in clones:
        held = clone.param_groups[0]["params"]
        apart = [p is not q for p, q in zip(held, params, strict=True)]
        public = sorted(key for key in vars(clone) if not key.startswith("_"))
        train(clone, held, steps=range(3, 5))
        calls = []
        clone.register_step_post_hook(lambda *_, calls=calls: calls.append("post"))
        clone.step()
        results.append((type(clone) is cls, apart, public, calls, seen(clone)))
    kept = sorted(key for key in optimizer.__getstate__() if not key.startswith("_"))
    return results, kept, seen(optimizer)


def named_parameters(cls: type, options: Options) -> Any:
    """Names are saved, and loading keeps or replaces them as torch does."""
    names = ("first", "second", "third", "fourth", "fifth")
    params = parameters()
    optimizer = cls(list(zip(names, params, strict=True)), **options)
    train(optimizer, params, steps=range(2))
    saved = _through_a_file(optimizer.state_dict())
    plain, other = (
        cls(parameters(), **options),
        cls([(name.upper(), p) for name, p in zip(names, parameters(), strict=True)], **options),
    )
    results = []
    for target in (plain, other):
        target.load_state_dict(saved)
        results.append(seen(target))
    without = copy.deepcopy(saved)
    del without["param_groups"][0]["param_names"]
    other.load_state_dict(without)
    return list(optimizer.param_groups[0]), results, seen(other)


def _through_a_file(saved: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


SCENARIOS = (
    state_dict_bytes,
    checkpoints_of_torch,
    checkpoints_for_torch,
    older_checkpoints,
    rejected_checkpoints,
    loaded_values,
    state_dict_hooks,
    copies,
    named_parameters,
)
