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
from client_cases import DISTRIBUTED, assert_moved, assert_same, is_exact, label, ours, theirs
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
    with warnings.catch_warnings():
        # torch's own module compiles with its own deprecated compiler.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
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
    """Parameters and state are DTensors; checkpoints of either side are resumed by the other."""
    runs, checkpoints = [], []
    for side, make in (("theirs", theirs(kind)), ("ours", ours(kind))):
        model, optimizer = _sharded(make)
        start = {name: p.full_tensor() for name, p in model.named_parameters()}
        seen = train(model, optimizer, range(HALF), rows=share(rank))
        checkpoints.append(folder / f"{side}-{label(kind)}")
        dcp.save(snapshot(model, optimizer), checkpoint_id=checkpoints[-1])
        seen += train(model, optimizer, range(HALF, STEPS), rows=share(rank))
        for p in model.parameters():
            moments = [s for s in optimizer.state[p].values() if s.ndim]
            assert all(s.placements == p.placements for s in moments)
        assert_moved(start, {name: p.full_tensor() for name, p in model.named_parameters()})
        runs.append((seen, _weights(model), optimizer.state_dict()))
    assert_same(*runs, is_exact(kind))
    end = {name: p.full_tensor().detach() for name, p in model.named_parameters()}
    torch.save(end, folder / f"fsdp2-{label(kind)}-{rank}.pt")
    for saved, make in ((checkpoints[0], ours), (checkpoints[1], ours), (checkpoints[1], theirs)):
        model, optimizer = _sharded(make(kind))
        restore(model, optimizer, saved)
        seen = train(model, optimizer, range(HALF, STEPS), rows=share(rank))
        assert_same(runs[0][0][-len(seen) :], seen, is_exact(kind))
        assert_same(runs[0][1], _weights(model), is_exact(kind))
        assert_same(runs[0][2], optimizer.state_dict(), is_exact(kind))


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


SCENARIOS = {"ddp": _ddp, "zero": _zero, "fsdp2": _fsdp2}


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
    report = {}
    for scenario, run in SCENARIOS.items():
        for kind in DISTRIBUTED:
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
