"""Workers that run beside each other, each a process with a rank, and what they report."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

# Far beyond what workers need on a busy machine; it is there so that nothing waits for ever.
PATIENCE = 300


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def reports(worker, *arguments, folder, **environment):
    """Start `worker rank *arguments folder` for each rank, wait, and return what each reports.

    A worker is a module beside this one with PROCESSES; it writes `report-{rank}.json`.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "JAX_PLATFORMS": "cpu",
        **environment,
    }
    ranks = range(worker.PROCESSES)
    processes = []
    try:
        for rank in ranks:
            command = [worker.__file__, str(rank), *map(str, arguments), str(folder)]
            with (folder / f"log-{rank}").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
                    )
                )  # fmt: skip
        codes = [process.wait(timeout=PATIENCE) for process in processes]
    except subprocess.TimeoutExpired:
        codes = [f"no end within {PATIENCE} s"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    logs = [(folder / f"log-{rank}").read_text()[-3000:] for rank in ranks]
    assert codes == [0] * worker.PROCESSES, "\n".join([f"exit codes {codes}", *logs])
    return [json.loads((folder / f"report-{rank}.json").read_text()) for rank in ranks]
