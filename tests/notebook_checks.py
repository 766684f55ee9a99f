"""What may be in a notebook's outputs, and whether saved outputs are those of a fresh run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from nbformat import NotebookNode

VARIES = "varies"  # tag of a cell whose numbers are rounding or time: only its words are compared
RELATIVE = 0.01  # of all other numbers: another processor rounds a whole training otherwise
LARGEST = 400_000  # bytes of a notebook

_NUMBER = re.compile(r"(?<![A-Za-z_\d.])[-+−]?\d[\d,_]*\.?\d*(?:e[-+]?\d+)?(?![A-Za-z_])")
_PRIVATE = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|work|usr|var|opt|mnt|Users)/|site-packages|ipykernel_\d"
)
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")


def faults(notebook: NotebookNode) -> list[str]:
    """What no reader should see, a line for each."""
    found = []
    cells = list(_code(notebook))
    counts = [cell.execution_count for _, cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"not executed once, from top to bottom: {counts}")
    for number, cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number} raises {output.ename}")
            if output.get("name") == "stderr":
                found.append(f"cell {number} writes to stderr: {output.text.strip()}")
        text = _text(cell)
        for what, pattern in (("a path of a machine", _PRIVATE), ("an address", _ADDRESS)):
            if match := pattern.search(text):
                found.append(f"cell {number} shows {what}: {match.group()}")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    size = len(json.dumps(notebook, ensure_ascii=False).encode())
    if size > LARGEST:
        found.append(f"{size:,} bytes are more than {LARGEST:,}")
    return found


def differences(saved: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Where saved outputs are not those of a fresh run, a line for each."""
    found = []
    for (number, old), (_, new) in zip(_code(saved), _code(fresh), strict=True):
        if _shape(old) != _shape(new):
            found.append(f"cell {number} has outputs {_shape(old)}, now {_shape(new)}")
            continue
        words, now = _words(_text(old)), _words(_text(new))
        if words != now:
            found.append(f"cell {number} says {words!r}, now {now!r}")
        elif VARIES not in cell_tags(new):
            pairs = zip(_numbers(_text(old)), _numbers(_text(new)), strict=True)
            found += [f"cell {number} says {a}, now {b}" for a, b in pairs if not _near(a, b)]
    return found


def cell_tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def _code(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    return ((i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")


def _shape(cell: NotebookNode) -> list[str]:
    """What kinds of output a cell has."""
    return [o.get("name") or " ".join(sorted(o.get("data", [o.output_type]))) for o in cell.outputs]


def _text(cell: NotebookNode) -> str:
    texts = []
    for output in cell.outputs:
        texts.append(output.get("text", ""))
        data = output.get("data", {})
        texts += [str(data[kind]) for kind in sorted(data) if kind.startswith("text/")]
    return "\n".join(texts)


def _words(text: str) -> str:
    """All but numbers, and what the width of a number moves: spaces and ruled lines."""
    return re.sub(r"\s+|-{2,}|[─━═]+", "", _NUMBER.sub("#", text))


def _numbers(text: str) -> list[float]:
    return [float(re.sub("[,_]", "", x.replace("−", "-"))) for x in _NUMBER.findall(text)]


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b))
