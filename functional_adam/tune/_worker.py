"""Who a worker is, and whether it is still there."""

from __future__ import annotations

import os
import socket
import uuid


def identity() -> str:
    """This process: machine (and namespace of process numbers), number, and a random part."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}{namespace}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def same_machine(a: str, b: str) -> bool:
    return a.rsplit("/", 2)[0] == b.rsplit("/", 2)[0]


def runs(worker: str) -> bool:
    try:
        os.kill(int(worker.rsplit("/", 2)[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
