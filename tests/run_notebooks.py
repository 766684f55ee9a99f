"""Executes the notebooks in fresh kernels; `python tests/run_notebooks.py [FILE ...]` saves them.

Whoever saves and whoever checks execute alike: the same environment, an empty working directory.
"""

from __future__ import annotations

import argparse
import base64
import copy
import io
import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
CELL_SECONDS = 300  # against a cell that hangs, on any machine

# What would make a reader's outputs others than ours, or is set by the tests for themselves.
_PERSONAL = ("JAX_", "XLA_", "MPL", "PYTHON", "JUPYTER", "IPYTHON", "COLUMNS", "FORCE_COLOR")
_SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",  # the order of torch's sums
    "FUNCTIONAL_ADAM_CACHE": "off",
    "HF_HUB_OFFLINE": "1",
}


def notebooks() -> list[Path]:
    """All notebooks, in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Read a notebook, which must be valid."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook with the outputs of a fresh kernel; the first error ends it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
        nbclient.exceptions.CellTimeoutError: a cell took longer than `CELL_SECONDS`.
    """
    _fill_font_cache()
    fresh = _tidy(notebook)
    with tempfile.TemporaryDirectory(prefix="nb") as scratch:
        # Files in place of ports: two kernels at once cannot take each other's.
        connection = {
            "transport": "ipc" if os.name == "posix" else "tcp",
            "connection_file": str(Path(scratch) / "kernel.json"),
        }
        client = nbclient.NotebookClient(
            fresh,
            config=Config({"AsyncKernelManager": connection}),
            kernel_name="python3",
            timeout=CELL_SECONDS,
            startup_timeout=CELL_SECONDS,
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": scratch}},
        )
        client.execute(env=_environment(scratch))
    return _tidy(fresh, keep_outputs=True)


def save(path: Path, notebook: NotebookNode) -> None:
    """Write a notebook at once: who is interrupted keeps the old one."""
    new = path.with_suffix(".ipynb.new")
    nbformat.write(notebook, new)
    os.replace(new, path)


def _environment(scratch: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_PERSONAL)}
    sources = os.pathsep.join([str(ROOT), str(ROOT / "bridges")])
    return kept | _SETTINGS | {"PYTHONPATH": sources, "IPYTHONDIR": str(Path(scratch) / "ipython")}


def _fill_font_cache() -> None:
    """On a new machine matplotlib says, in the first notebook's output, that it does this."""
    import matplotlib.font_manager  # noqa: F401


def _tidy(notebook: NotebookNode, keep_outputs: bool = False) -> NotebookNode:
    """A copy without what depends on the day, the machine or the editor."""
    tidy = copy.deepcopy(notebook)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    tidy.metadata = NotebookNode(
        kernelspec=NotebookNode(kernel), language_info=NotebookNode(name="python")
    )
    for cell in tidy.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "code" and not keep_outputs:
            cell.outputs, cell.execution_count = [], None
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _in_few_colours(output.data["image/png"])
    return tidy


def _in_few_colours(png: str) -> str:
    """The same picture with a palette, a third of the bytes; one that has a palette is kept."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    small = io.BytesIO()
    picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def main() -> int:
    """Execute and save; the exit status is 1 if a notebook has a fault."""
    from notebook_checks import faults

    parser = argparse.ArgumentParser(description="Execute notebooks and save them in place.")
    parser.add_argument("files", nargs="*", type=Path, help="default: all of notebooks/")
    bad = 0
    for path in parser.parse_args().files or notebooks():
        print(path.name, flush=True)
        fresh = execute(read(path))
        save(path, fresh)
        for fault in faults(fresh):
            bad = 1
            print(f"  {fault}", file=sys.stderr)
    return bad


if __name__ == "__main__":
    sys.exit(main())
