"""State in few bits through checkpoints: loaded as it is stored, decoded for torch.optim."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from functional_adam import Algorithm
from functional_adam._bits import hashed, of_moment
from functional_adam._halves import join, split
from functional_adam._leaf import is_signed

from ..primitives import _words
from . import _storage
from ._storage import LOW, OPTIONS, Form, Storage, fits, form_of, keys_of, number, storage_of, zeros
from ._stored import decode, encode, indices, random_keys
from ._stored_group import entry_of


@contextlib.contextmanager
def stored(optimizer: Any) -> Iterator[None]:
    """While `load_state_dict` of torch runs: it casts all to the parameters' dtype; undo that.

    Its hooks see the state before and after as if it did not.
    """
    given: dict[str, Any] = {}

    def before(_: Any, state_dict: dict[str, Any]) -> None:
        given.update(state_dict)
        _check(optimizer, given)

    def after(_: Any) -> None:
        _restore(optimizer, given)

    first = optimizer.register_load_state_dict_pre_hook(before)
    last = optimizer.register_load_state_dict_post_hook(after, prepend=True)
    try:
        yield
    finally:
        first.remove()
        last.remove()


def _check(optimizer: Any, given: Mapping[str, Any]) -> None:
    """Raise where groups ask for what cannot be, before anything changes."""
    # Other numbers of groups are torch's to refuse.
    for group, saved in zip(optimizer.param_groups, given["param_groups"], strict=False):
        asked = {**saved, "params": group["params"]}
        _storage.complete(asked, optimizer.defaults)
        _storage.check_group(asked, optimizer.engine)
        if storage_of(asked) is None:
            _refuse_codes(given, saved)


def _restore(optimizer: Any, given: Mapping[str, Any]) -> None:
    place = 0
    for group, saved in zip(optimizer.param_groups, given["param_groups"], strict=True):
        _storage.complete(group, optimizer.defaults)
        storage, algorithm = storage_of(group), optimizer._algorithm(group)
        names = group.get("param_names") or range(place, place + len(group["params"]))
        place += len(group["params"])
        if storage is None:
            continue
        for p, key, name in zip(group["params"], saved["params"], names, strict=True):
            if key in given["state"]:
                optimizer.state[p] = adopted(given["state"][key], p, storage, algorithm, name)


def _refuse_codes(given: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    for key in saved["params"]:
        codes = sorted(x for x in given["state"].get(key, {}) if x.endswith(("_code", LOW)))
        if codes:
            raise ValueError(
                f"state_dict holds {', '.join(codes)}, but its param_groups have no moments or "
                "master_bits: they belong together"
            )


def adopted(
    entry: Mapping[str, Any], p: Tensor, storage: Storage, algorithm: Algorithm, name: str | int
) -> dict[str, Any]:
    """A saved entry in memory of its own, stored as asked for."""
    form = form_of(storage, algorithm, p)
    if not entry:
        return {}
    entry = {
        key: x.to(p.device, copy=True) if isinstance(x, Tensor) else torch.tensor(float(x))
        for key, x in entry.items()
    }
    scalars = ["step", *(algorithm.torch_state[field] for field, _ in algorithm.rule.scalars)]
    if lacking := [key for key in scalars if key not in entry]:
        raise ValueError(f"a parameter's state has no {lacking[0]}: {', '.join(entry)}")
    for key in scalars:
        entry[key] = entry[key].cpu()
    if fits(entry, p, form, algorithm):
        return entry
    found = {key: entry[key] for key in scalars} | zeros(form, algorithm, p)
    if LOW in entry and form.extra and entry[LOW].dtype == found[LOW].dtype:
        found[LOW] = entry[LOW]
    count = int(entry["step"].item())
    # Other bits than those of any step.
    key = random_keys(storage.seed, [count], [number(name, "load")])[0]
    bits = hashed(indices(0, p.numel(), p.device), *key, ops=_words)
    kept = zip(algorithm.rule.moments, form.kinds, _moments(entry, algorithm), strict=True)
    for i, (field, kind, x) in enumerate(kept):
        own_bits = of_moment(bits, i, _words)
        code = encode(kind, x.reshape(-1), own_bits, is_signed(field), form.block)
        own = [k for k in keys_of(form, algorithm) if k != LOW]
        for target, value in zip(own[i * len(code) :], code, strict=False):
            found[target] = value.view(found[target].shape)
    return found


def _moments(entry: Mapping[str, Tensor], algorithm: Algorithm) -> list[Tensor]:
    """Moments of an entry, however it is stored, in float32 or wider."""
    found = []
    for field in algorithm.rule.moments:
        key = algorithm.torch_state[field]
        if key in entry:
            x = entry[key]
            found.append(x if x.dtype == torch.float64 else x.float())
            continue
        if f"{key}_code" not in entry:
            raise ValueError(f"a parameter's state has no {key}: {', '.join(entry)}")
        found.append(decoded_code(entry, key, field))
    return found


def decoded_code(entry: Mapping[str, Tensor], key: str, field: str) -> Tensor:
    """The moment of our field that an entry keeps as an 8-bit code under torch's key, float32."""
    code, exponent = entry[f"{key}_code"], entry[f"{key}_exponent"]
    block = code.shape[-1] // exponent.shape[-1]
    columns = [code.reshape(-1), exponent.reshape(-1)]
    return decode("int8", columns, is_signed(field), block).view(code.shape)


def decoded_state_dict(optimizer: Any) -> dict[str, Any]:
    """A state_dict without what torch.optim does not know."""
    saved = optimizer.state_dict()
    state: dict[Any, Any] = dict(saved["state"])
    for group, own in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        if storage_of(group) is None:
            continue
        algorithm = optimizer._algorithm(group)
        for key in own["params"]:
            if state.get(key):
                entry = state[key]
                names = [algorithm.torch_state[field] for field in algorithm.rule.moments]
                scalars = [algorithm.torch_state[field] for field, _ in algorithm.rule.scalars]
                moments = dict(zip(names, _moments(entry, algorithm), strict=True))
                state[key] = {k: entry[k] for k in ("step", *scalars)} | moments
    groups = [
        {key: x for key, x in group.items() if key not in OPTIONS}
        for group in saved["param_groups"]
    ]
    return {**saved, "state": state, "param_groups": groups}


def _forms(optimizer: Any) -> Iterator[tuple[Tensor, Form | None, Algorithm]]:
    for group in optimizer.param_groups:
        storage, algorithm = storage_of(group), optimizer._algorithm(group)
        for p in group["params"]:
            yield p, None if storage is None else form_of(storage, algorithm, p), algorithm


def master_params(optimizer: Any) -> list[Tensor]:
    """Float32 weights of half-precision parameters, copies of the others."""
    found = []
    for p, form, _ in _forms(optimizer):
        if form is None or form.extra is None:
            found.append(p.detach().float() if p.dtype in _storage.HALF else p.detach().clone())
        else:
            found.append(join(p.detach(), optimizer.state[p].get(LOW), _words))
    return found


def load_master_params(optimizer: Any, values: list[Tensor]) -> None:
    """Set parameters, and what is kept beside them, to the nearest of these values."""
    forms = list(_forms(optimizer))
    if len(forms) != len(values):
        raise ValueError(f"values must be {len(forms)} tensors, one a parameter, got {len(values)}")
    for i, ((p, _, _), x) in enumerate(zip(forms, values, strict=True)):
        if p.shape != x.shape:
            raise ValueError(f"values[{i}] must have shape {tuple(p.shape)}, got {tuple(x.shape)}")
    for (p, form, algorithm), x in zip(forms, values, strict=True):
        if form is None or not form.extra:
            p.copy_(x)
            continue
        entry = entry_of(optimizer.state, p, form, algorithm)
        wide = x.detach().to(p.device, torch.float32).contiguous()
        half = torch.full(p.shape, 0x80 if form.extra == 8 else 0, dtype=torch.int32)
        leaf, low = split(wide, p.dtype, form.extra, half.to(p.device), _words)
        p.copy_(leaf)
        entry[LOW].copy_(low)
