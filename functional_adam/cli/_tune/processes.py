"""Worker processes of one study: this command again, with a storage to share it through."""

from __future__ import annotations

import os
import subprocess
import sys

STORAGE = "FUNCTIONAL_ADAM_STORAGE"
"""Variable of the environment that gives the storage: its URL may hold a password."""


def run_all(arguments: list[str], count: int, storage: str) -> list[int]:
    """Run `functional-adam tune` so often at once; returns exit statuses, a signal's negative.

    The first tells of the course, which all of them take.
    """
    command = [sys.executable, "-m", "functional_adam.cli", "tune", *arguments]
    environment = os.environ | {STORAGE: storage}
    running = [
        subprocess.Popen([*command, *(["--quiet"] if number else [])], env=environment)
        for number in range(count)
    ]
    try:
        return [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise
