"""Ctrl-C is not lost where Python forgets exceptions, and ends a command at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Whoever runs the tests in the background has them ignore interrupts; so would the child.
START = """
import atexit, gc, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from functional_adam.cli._interrupt import interruptible

def interrupt(phase, info, done=[]):
    if not done:
        done.append(phase)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

atexit.register(print, "ended as interpreters do")
"""


def _run(body: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", START + body]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_an_interrupt_within_garbage_collection_is_heard():
    done = _run("""
gc.callbacks.append(interrupt)
with interruptible():
    gc.collect()
    time.sleep(20)
    print("went on")
""")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_command_that_was_interrupted_ends_at_once():
    """XLA's threads may still compute, and crash an interpreter that ends under them."""
    done = _run("""
with interruptible():
    print("what was written", end="")
    sys.exit(130)
""")
    assert (done.returncode, done.stdout, done.stderr) == (130, "what was written", "")


@pytest.mark.parametrize("code", [0, 2])
def test_another_end_is_the_usual_one(code):
    done = _run(f"""
with interruptible():
    sys.exit({code})
""")
    assert done.returncode == code
    assert done.stdout == "ended as interpreters do\n"


def test_interrupts_that_are_ignored_stay_ignored():
    done = _run("""
signal.signal(signal.SIGINT, signal.SIG_IGN)
with interruptible():
    os.kill(os.getpid(), signal.SIGINT)
    print("went on")
""")
    assert done.returncode == 0
    assert done.stdout == "went on\nended as interpreters do\n"
