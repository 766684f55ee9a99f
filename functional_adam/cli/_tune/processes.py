"""Worker processes of one study: this command again, with a storage to share it through."""

from __future__ import annotations

import subprocess
import sys


def run_all(arguments: list[str], count: int) -> list[int]:
    """Run `functional-adam tune` so often at once; returns exit statuses, a signal's negative."""
    command = [sys.executable, "-m", "functional_adam.cli", "tune", *arguments]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        return [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise
