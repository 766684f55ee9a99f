"""One of two processes over gloo: runs torch's class and ours side by side and compares.

``python distributed_worker.py RANK FOLDER`` writes FOLDER/report-RANK.json: for each scenario and
kind "equal", or the traceback of what differs.
"""

from __future__ import annotations

import datetime
import json
import sys
import traceback
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from client_cases import (
    KINDS,
    OURS_ALONE,
    SHARDED,
    TORCH_WARNS,
    assert_moved,
    assert_same,
    is_exact,
    label,
    ours,
    theirs,
)
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

PROCESSES, ROWS, STEPS, HALF = 2, 8, 10, 5


def network():
    """Sizes that two processes cannot share evenly, and one of a single row."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Linear(3, 1)
    )


def train(model, optimizer, steps, *, rows=slice(None), clip=1.0):
    """Step on some rows of each step's batch; returns the losses and the norms of gradients."""
    seen = []
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(ROWS, 5, generator=generator)[rows]
        y = torch.randn(ROWS, 1, generator=generator)[rows]
        optimizer.zero_grad()
        loss = 10 * torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        seen += [loss.detach(), norm]
    return seen


def share(rank):
    """The rows of a process."""
    return slice(rank, None, PROCESSES)


def _weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def _ddp(kind, rank, folder):
    """Equal to torch under DDP, whose buckets the gradients are views of."""
    runs = []
    for cls, options in (theirs(kind), ours(kind)):
        start = _weights(network())
        model = network()
        replica = DistributedDataParallel(model, gradient_as_bucket_view=True)
        optimizer = cls(model.named_parameters(), **options)
        seen = train(replica, optimizer, range(STEPS), rows=share(rank))
        assert_moved(start, _weights(model))
        runs.append((seen, _weights(model), optimizer.state_dict()))
    assert_same(*runs, is_exact(kind))
    torch.save(runs[1][1], folder / f"ddp-{label(kind)}-{rank}.pt")


def _zero(kind, rank, folder):
    """Each process steps its part of the parameters and sends them round."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    runs = []
    for cls, options in (theirs(kind), ours(kind)):
        start = _weights(network())
        model = network()
        replica = DistributedDataParallel(model)
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=cls, **options)
        seen = train(replica, optimizer, range(STEPS), rows=share(rank))
        optimizer.consolidate_state_dict(to=0)
        state = optimizer.state_dict() if rank == 0 else optimizer.optim.state_dict()
        for group in state["param_groups"]:
            for argument in OURS_ALONE:
                # ZeRO writes whatever the class is called with into its groups.
                group.pop(argument, None)
        assert_moved(start, _weights(model))
        runs.append((seen, _weights(model), state))
    assert_same(*runs, is_exact(kind))


def _sharded(make):
    cls, options = make
    mesh = init_device_mesh("cpu", (PROCESSES,))
    model = network()
    for layer in model:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, cls(model.named_parameters(), **options)


def _fsdp2(kind, rank, folder):
    """Parameters, gradients and state are DTensors."""
    runs = []
    for make in (theirs(kind), ours(kind)):
        model, optimizer = _sharded(make)
        start = _full(model)
        seen = train(model, optimizer, range(STEPS), rows=share(rank))
        for p in model.parameters():
            moments = [s for s in optimizer.state[p].values() if s.ndim]
            assert moments
            assert all(s.placements == p.placements for s in moments)
        assert_moved(start, _full(model))
        runs.append((seen, _weights(model), optimizer.state_dict()))
    assert_same(*runs, is_exact(kind))
    torch.save(_full(model), folder / f"fsdp2-{label(kind)}-{rank}.pt")


def _checkpoint(kind, rank, folder):
    """Saved by either side at half way, resumed by either: as if it had gone on."""
    results, saved = [], {}
    for side, make in (("theirs", theirs(kind)), ("ours", ours(kind))):
        model, optimizer = _sharded(make)
        train(model, optimizer, range(HALF), rows=share(rank))
        saved[side] = folder / f"{side}-{label(kind)}"
        dcp.save(snapshot(model, optimizer), checkpoint_id=saved[side])
        seen = train(model, optimizer, range(HALF, STEPS), rows=share(rank))
        results.append((seen, _weights(model), optimizer.state_dict()))
    for side, make in (("theirs", ours), ("ours", ours), ("ours", theirs)):
        model, optimizer = _sharded(make(kind))
        restore(model, optimizer, saved[side])
        seen = train(model, optimizer, range(HALF, STEPS), rows=share(rank))
        results.append((seen, _weights(model), optimizer.state_dict()))
    for result in results[1:]:
        assert_same(results[0], result, is_exact(kind))


def _full(model):
    return {name: p.full_tensor().detach().clone() for name, p in model.named_parameters()}


def snapshot(model, optimizer):
    """What is written: named by the parameters, so that any number of processes may read it."""
    return {
        "model": dcp_state.get_model_state_dict(model),
        "optimizer": dcp_state.get_optimizer_state_dict(model, optimizer),
    }


def restore(model, optimizer, folder):
    """Read a snapshot into a model and an optimizer that have not been trained."""
    state = snapshot(model, optimizer)
    dcp.load(state, checkpoint_id=folder)
    dcp_state.set_model_state_dict(model, state["model"])
    dcp_state.set_optimizer_state_dict(model, optimizer, state["optimizer"])


SCENARIOS = {
    "ddp": (_ddp, KINDS),
    "zero": (_zero, KINDS),
    "fsdp2": (_fsdp2, SHARDED),
    "checkpoint": (_checkpoint, [kind for kind in KINDS if kind[1].get("engine") != "jax"]),
}


def main(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    warnings.simplefilter("error")
    message, category = TORCH_WARNS
    warnings.filterwarnings("ignore", message, category)
    report = {}
    for scenario, (run, kinds) in SCENARIOS.items():
        for kind in kinds:
            try:
                run(kind, rank, folder)
                report[f"{scenario}: {label(kind)}"] = "equal"
            except Exception:
                report[f"{scenario}: {label(kind)}"] = traceback.format_exc()
            dist.barrier()
    (folder / f"report-{rank}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
