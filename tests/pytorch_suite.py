"""PyTorch's own optimizer tests, run against our classes in place of torch's.

    python tests/pytorch_suite.py SOURCE [--class Adam ...] [--engine foreach] [-k WORDS ...]

SOURCE is a PyTorch source tree of the installed version: `test/test_optim.py` and
`test/optim/test_*.py` are loaded from it. Every class is run twice, each time in a process of its
own: torch's, then ours put in its place in `torch.optim` and in the table of optimizers of
`torch.testing._internal.common_optimizers`, from which the tests are made. Exit status 1: a test
that torch's class passes fails or is skipped here; 2: there is nothing to compare.

Needs `expecttest`, as all of torch.testing._internal does.
"""

from __future__ import annotations

import argparse
import collections
import functools
import importlib
import inspect
import json
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any

CLASSES = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")

# Test -> (status, last line of the message)
Outcomes = dict[str, tuple[str, str]]


def main(argv: list[str] | None = None) -> int:
    """Run, compare, print; the exit status."""
    options = _arguments(argv)
    if options.worker:
        _write_outcomes(options)
        return 0
    rows, worse = [], []
    for name in options.classes:
        theirs, ours = (_run(options, name, worker) for worker in ("theirs", "ours"))
        rows += [(f"torch.optim.{name}", theirs), (f"{options.module}.{name}", ours)]
        print(_row(*rows[-2]), _row(*rows[-1]), sep="\n")
        worse += (found := regressions(theirs, ours))
        for test, before, now, message in found:
            print(f"  {test}: torch {before}, here {now}: {message}")
        sys.stdout.flush()
    if not all(any(status == "passed" for status, _ in outcomes.values()) for _, outcomes in rows):
        print("No test passed for a class: is SOURCE a PyTorch tree?")
        return 1 if worse else 2
    print(f"{len(worse)} of the tests that torch's classes pass do not pass here")
    return 1 if worse else 0


def regressions(theirs: Outcomes, ours: Outcomes) -> list[tuple[str, str, str, str]]:
    """Tests that torch's class passes and ours does not: test, status there, here, message."""
    return [
        (test, status, *ours.get(test, ("missing", "")))
        for test, (status, _) in theirs.items()
        if status == "passed" and ours.get(test, ("missing", ""))[0] != "passed"
    ]


def _row(name: str, outcomes: Outcomes) -> str:
    counts = collections.Counter(status for status, _ in outcomes.values())
    words = (f"{counts[status]:5d} {status}" for status in ("passed", "failed", "skipped"))
    return f"{name:32s}" + "  ".join(words)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="PyTorch source tree")
    parser.add_argument("--class", dest="classes", nargs="+", choices=CLASSES, default=CLASSES)
    parser.add_argument("--engine", help="engine of our classes")
    parser.add_argument("--module", default="functional_adam_torch", help="where our classes are")
    parser.add_argument("-k", dest="words", nargs="+", default=[], help="only tests naming one")
    parser.add_argument("--worker", choices=("theirs", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not (options.source / "test" / "test_optim.py").is_file():
        parser.error(f"SOURCE must have test/test_optim.py, got {options.source}")
    return options


def _run(options: argparse.Namespace, name: str, worker: str) -> Outcomes:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcomes.json"
        command = [sys.executable, __file__, str(options.source.resolve()), "--class", name]
        command += ["--module", options.module, "--worker", worker, "--out", str(out)]
        command += ["--engine", options.engine] if options.engine else []
        command += ["-k", *options.words] if options.words else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not out.exists():
            raise SystemExit(
                f"{worker} {name} ended with {done.returncode}:\n{done.stderr[-4000:]}"
            )
        return {test: tuple(outcome) for test, outcome in json.loads(out.read_text()).items()}


def _write_outcomes(options: argparse.Namespace) -> None:
    """In a process of its own: put the class in place, load the tests, run them."""
    # The test modules read the command line when they are imported.
    sys.argv = [str(options.source / "test" / "test_optim.py")]
    warnings.simplefilter("ignore")
    _put_in_place(options)
    result = _Recorder()
    _load(options.source, options.words).run(result)
    options.out.write_text(json.dumps(result.outcomes))


def _put_in_place(options: argparse.Namespace) -> None:
    """Leave one class in the table of optimizers; ours everywhere instead of torch's."""
    import torch
    from torch.testing._internal import common_optimizers

    (name,) = options.classes
    theirs = getattr(torch.optim, name)
    (info,) = (row for row in common_optimizers.optim_db if row.optim_cls is theirs)
    common_optimizers.optim_db[:] = [info]
    if options.worker == "ours":
        ours = getattr(importlib.import_module(options.module), name)
        if options.engine:
            ours = _with_engine(ours, options.engine)
        info.optim_cls = ours
        setattr(torch.optim, name, ours)
        setattr(common_optimizers, name, ours)


def _with_engine(cls: Any, engine: str) -> Any:
    """The class with another default engine."""
    if "engine" not in inspect.signature(cls).parameters:
        raise SystemExit(f"{cls.__module__}.{cls.__name__} takes no engine, got {engine}")

    @functools.wraps(cls.__init__)
    def init(self, *args, **keywords):
        cls.__init__(self, *args, **{"engine": engine, **keywords})

    chosen = type(cls.__name__, (cls,), {"__init__": init, "__module__": __name__})
    # Where pickle looks for it.
    globals()[cls.__name__] = chosen
    return chosen


def _load(source: Path, words: list[str]) -> unittest.TestSuite:
    """Every test of test/test_optim.py and test/optim, once."""
    sys.path.insert(0, str(source / "test"))
    files = sorted(path.stem for path in (source / "test" / "optim").glob("test_*.py"))
    modules = [
        importlib.import_module(name) for name in ("test_optim", *(f"optim.{f}" for f in files))
    ]
    cases = {
        value: None
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, unittest.TestCase)
    }
    tests = (
        test for case in cases for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
    )
    return unittest.TestSuite(t for t in tests if not words or any(w in t.id() for w in words))


class _Recorder(unittest.TestResult):
    """How each test ended; of several endings (subtests, cleanup) the worst."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: Outcomes = {}

    def _end(self, test: Any, status: str, message: str = "") -> None:
        rank = ("passed", "skipped", "failed")
        if rank.index(status) >= rank.index(self.outcomes.get(test.id(), ("passed", ""))[0]):
            self.outcomes[test.id()] = status, message

    def addSuccess(self, test):
        self._end(test, "passed")

    def addExpectedFailure(self, test, err):
        self._end(test, "passed")

    def addUnexpectedSuccess(self, test):
        self._end(test, "failed", "unexpected success")

    def addSkip(self, test, reason):
        self._end(test, "skipped", reason)

    def addFailure(self, test, err):
        self._end(test, "failed", f"{err[0].__name__}: {err[1]}".strip().splitlines()[0])

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addFailure(test, err)


if __name__ == "__main__":
    sys.exit(main())
