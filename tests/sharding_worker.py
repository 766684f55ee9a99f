"""One of two processes with four devices each: train on the mesh of both, and save the state.

Arguments: rank, port of the coordinator, folder. The test reads what was saved.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import jax

PROCESSES, DEVICES = 2, 4


def main(rank: int, port: int, folder: Path) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", PROCESSES, rank)
    import jax.numpy as jnp
    import orbax.checkpoint as ocp
    import sharding_cases as cases

    import functional_adam as fa

    report = {}
    mesh = cases.mesh(cases.TYPES["auto"])
    for name, specs in (("fsdp", cases.SPECS), ("zero1", cases.WHOLE)):
        put = functools.partial(cases.put, mesh=mesh, specs=specs)
        p, tx = put(cases.start(jnp.bfloat16)), cases.master("int8", 24)
        if name == "zero1":
            tx = fa.zero1(tx, mesh)
        state = jax.jit(tx.init)(p)
        step = cases.step(tx).lower(p, state, p).compile()
        end = cases.train(step, p, state, put)
        moments = end[1].inner.nu["w"].code
        report[name] = {
            "collectives": fa.collectives(step),
            "addressable": len(moments.addressable_shards),
            "own": moments.addressable_shards[0].data.shape,
            "eager init": _alike(tx.init(p), state),
        }
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / name, end)
    (folder / f"report-{rank}.json").write_text(json.dumps(report))
    jax.distributed.shutdown()


def _alike(a, b):
    """Whether what belongs to a parameter is at the same place; scalars of `init` may be local."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.sharding.is_equivalent_to(y.sharding, x.ndim) for x, y in pairs if x.ndim)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
