"""Every notebook runs in a fresh kernel, without a warning, and says what its saved outputs say."""

from __future__ import annotations

import copy

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_checks import VARIES, differences, faults
from run_notebooks import execute, notebooks, read


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook(path):
    saved = read(path)
    assert faults(saved) == []
    assert any("image/png" in o.get("data", {}) for c in saved.cells for o in c.get("outputs", []))
    fresh = execute(saved)
    assert faults(fresh) == []
    assert differences(saved, fresh) == []
    assert fresh.metadata == saved.metadata


def book(*sources, tags=()):
    metadata = {"tags": [*tags]}
    return new_notebook(cells=[new_code_cell(x, metadata=metadata) for x in sources])


def test_the_checks_see_a_kernel():
    """A warning, a path and an address are found; an error ends the run."""
    talk = "import warnings; warnings.warn('careful'); print('/tmp/x', 'at 0x7f00deadbeef')"
    fresh = execute(book("1 + 1", talk, "import os; print(os.environ.get('XLA_FLAGS'), 2.5)"))
    about = " ".join(faults(fresh))
    assert "cell 1 writes to stderr" in about
    assert "careful" in about
    assert "a path of a machine: /tmp/" in about
    assert "an address: 0x7f00deadbeef" in about
    assert "cell 0" not in about
    assert "cell 2" not in about
    assert fresh.cells[2].outputs[0].text == "None 2.5\n"
    assert differences(fresh, fresh) == []
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(book("1 / 0"))


def _said(text, tags=()):
    notebook = book("print()", tags=tags)
    notebook.cells[0].outputs = [new_output("stream", name="stdout", text=text)]
    notebook.cells[0].execution_count = 1
    notebook.metadata["kernelspec"] = {"name": "python3"}
    return notebook


@pytest.mark.parametrize(
    ("saved", "fresh", "seen"),
    [
        ("loss 0.1234", "loss 0.1235", "nothing"),
        ("loss 0.1234", "loss  0.1271", "number"),
        ("loss 1.2e-07", "loss 2.4e-07", "number"),
        ("b1 0.9", "b2 0.9", "word"),
        ("equal: True", "equal: False", "word"),
        ("loss 1.0", "loss nan", "word"),
        ("up -3", "up 3", "number"),
        ("1,000 steps | ---- |", "1000 steps | ------ |", "nothing"),
    ],
)
def test_differences(saved, fresh, seen):
    assert bool(differences(_said(saved), _said(fresh))) == (seen != "nothing")
    varies = differences(_said(saved, [VARIES]), _said(fresh, [VARIES]))
    assert bool(varies) == (seen == "word")


def test_missing_outputs_and_old_counts():
    notebook = _said("loss 1")
    assert faults(notebook) == []
    empty = copy.deepcopy(notebook)
    empty.cells[0].outputs = []
    assert "has outputs []" in differences(empty, notebook)[0]
    empty.cells[0].execution_count = None
    assert "not executed once" in faults(empty)[0]
    empty.cells.append(new_markdown_cell("x" * 500_000))
    assert "bytes are more than" in faults(empty)[-1]
