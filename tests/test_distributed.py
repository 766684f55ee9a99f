"""Data parallel, sharded parameters and their checkpoints, on two processes over gloo."""

from __future__ import annotations

import sys
import warnings

import distributed_worker as worker
import torch
from client_cases import assert_same, is_exact, label, ours, theirs
from processes import reports


def _run_pair(folder):
    # Else gloo looks for the machine's name on the network.
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return reports(worker, folder=folder, OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME=loopback)


def _restored(make, saved):
    """One process reads what two wrote, without a process group."""
    cls, options = make
    model = worker.network()
    optimizer = cls(model.named_parameters(), **options)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore",
            # It says so to those who did not mean it.
            "torch.distributed is disabled, unavailable or uninitialized",
            UserWarning,
        )
        worker.restore(model, optimizer, saved)
    return model, optimizer


def test_two_processes(tmp_path):
    """Bit for bit torch's class in the same place; one process within rounding.

    Under DDP, ZeRO and FSDP2, and through checkpoints of torch.distributed from either side.
    """
    expected = [
        f"{scenario}: {label(kind)}"
        for scenario, (_, kinds) in worker.SCENARIOS.items()
        for kind in kinds
    ]
    for report in _run_pair(tmp_path):
        failures = [f"{name}: {outcome}" for name, outcome in report.items() if outcome != "equal"]
        assert not failures, "\n".join(failures)
        assert list(report) == expected
    for scenario in ("ddp", "fsdp2"):
        for kind in worker.SCENARIOS[scenario][1]:
            _compare_with_one_process(tmp_path, scenario, kind)
    for kind in worker.SCENARIOS["checkpoint"][1]:
        _go_on_with_one_process(tmp_path, kind)


def _compare_with_one_process(folder, scenario, kind):
    ends = [torch.load(folder / f"{scenario}-{label(kind)}-{rank}.pt") for rank in range(2)]
    assert_same(*ends)
    cls, options = ours(kind)
    model = worker.network()
    worker.train(model, cls(model.parameters(), **options), range(worker.STEPS))
    assert_same(_weights(model), ends[0], exact=False)


def _go_on_with_one_process(folder, kind):
    """From the checkpoint that either side wrote on two processes."""
    cls, options = ours(kind)
    whole = worker.network()
    worker.train(whole, cls(whole.parameters(), **options), range(worker.STEPS))
    for side in ("theirs", "ours"):
        runs = []
        for make in (theirs, ours):
            model, optimizer = _restored(make(kind), folder / f"{side}-{label(kind)}")
            seen = worker.train(model, optimizer, range(worker.HALF, worker.STEPS))
            runs.append((seen, _weights(model), optimizer.state_dict()))
            assert_same(_weights(whole), _weights(model), exact=False)
        assert_same(*runs, is_exact(kind))


def _weights(model):
    return {name: p.detach() for name, p in model.named_parameters()}
