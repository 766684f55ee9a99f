"""What the documentation takes from elsewhere: the tables, the README, the commands, notebooks.

A page may hold `<!-- readme: Section -->`, a section of the README; `<!-- api: module -->`, every
name that a module exports; and `<!-- commands -->`, the help of the command line.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
REPOSITORY_FILES = {".github/CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_config(config):
    """Fill in the parts of the navigation that grow by themselves."""
    grown = {"algorithms/": _algorithm_nav(), "notebooks/": _notebook_nav()}
    nav = []
    for entry in config.nav:
        ((title, target),) = entry.items()
        target = grown.get(target, target)
        if target:
            nav.append({title: target})
    config.nav = nav
    return config


@event_priority(100)  # before mkdocs-jupyter, which turns notebooks into pages
def on_files(files, config):
    """Add the pages that are made, and those that lie elsewhere in the repository."""
    for name in _algorithms():
        text = algorithm_page(name)
        files.append(File.generated(config, f"algorithms/{name}.md", content=text))
    files.append(File.generated(config, "algorithms/index.md", content=algorithm_table()))
    for path, page in REPOSITORY_FILES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    picture = (ROOT / ".github" / "demo.png").resolve()
    files.append(File.generated(config, "demo.png", abs_src_path=str(picture)))
    for path in _notebooks():
        # Not File.generated: mkdocs-jupyter passes on only what a file derives from its folder.
        files.append(
            File(
                f"notebooks/{path.name}",
                str(ROOT.resolve()),
                config.site_dir,
                use_directory_urls=False,
            )
        )
    return files


def on_page_markdown(markdown, page, config, files):
    """Put in what a page asks for."""
    markdown = re.sub(r"<!-- readme: (.+?) -->", lambda m: readme(m[1]), markdown)
    markdown = re.sub(r"<!-- api: ([\w.]+) -->", lambda m: api(m[1]), markdown)
    return re.sub("<!-- commands -->", lambda _: commands(), markdown)


def algorithm_page(name: str) -> str:
    """One algorithm: its names elsewhere, its docstring, its direction and its state."""
    row = _algorithms()[name]
    scale, state = row.scale, row.rule.state
    torch = ", ".join([f"`{_torch_module(row)}.{row.torch_class}`", *_options(row.torch_options)])
    lines = [
        f"# {name}",
        _linked(row.paper),
        "| | |\n|---|---|",
    ]
    lines[-1] += f"\n| decay | {row.decay} |\n| torch | {torch} |"
    for label, package, twin in (("optax", "optax", row.optax), ("Keras", "keras", row.keras)):
        if twin is not None:
            spelled = ", ".join(
                [f"`{package}.{_place(package)}{twin.name}`", *_options(twin.options)]
            )
            dialect = "" if twin.same else f", in the dialect `{label.upper()}`"
            lines[-1] += f"\n| {label} | {spelled}{dialect} |"
    hyperparameters = ", ".join(f"`{x}`" for x in row.hyperparameters)
    lines[-1] += f"\n| hyperparameters | {hyperparameters} |"
    members = [row.make, scale, state]
    for x in members:
        path = f"{x.__module__}.{x.__qualname__}"
        lines.append(_directive(path, again=name != first_of(x)))
    return "\n\n".join(lines) + "\n"


def first_of(member) -> str:
    """The algorithm on whose page a shared direction or state is documented."""
    return next(
        name
        for name, row in _algorithms().items()
        if member in (row.make, row.scale, row.rule.state)
    )


def algorithm_table() -> str:
    """The list of algorithms, each with a link to its page, and what a row of the table is."""
    head = "# Algorithms\n\n| algorithm | decay | torch | paper |\n|---|---|---|---|\n"
    rows = []
    for name, row in _algorithms().items():
        torch = " ".join([f"`{row.torch_class}`", *_options(row.torch_options)])
        torch += "" if row.torch_twin else " of the bridge"
        paper = _linked(row.paper)
        rows.append(f"| [`{name}`]({name}.md) | {row.decay} | {torch} | {paper} |\n")
    rows += [
        "\n",
        *(f"\n{_directive(f'functional_adam.rules.{x}')}\n" for x in ("Algorithm", "Twin")),
    ]
    return head + "".join(rows)


def readme(title: str) -> str:
    """A section of the README, without its heading; the title `Start` is what stands before all."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if title == "Start":
        text = text.partition("\n## ")[0].partition("\n")[2]
    elif f"## {title}\n" not in text:
        raise ValueError(f"README.md has no section {title!r}")
    else:
        text = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.sub(r"\]\((?:\.github/)", "](", text).strip() + "\n"


def api(module_name: str) -> str:
    """Directives for all that a module exports and defines, in its order."""
    module = importlib.import_module(module_name)
    members = [
        value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and _own(value)
    ]
    return "\n\n".join(_directive(f"{x.__module__}.{x.__qualname__}") for x in members) + "\n"


def commands() -> str:
    """The help of every command, from typer."""
    import click
    import typer

    from functional_adam.cli.app import app

    group = typer.main.get_command(app)
    context = click.Context(group, info_name="functional-adam")
    parts = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        lines = [f"## {name}", inspect.cleandoc(command.help or ""), "| option | |\n|---|---|"]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            spelled = ", ".join((*parameter.opts, *parameter.secondary_opts))
            spelled = spelled if spelled.startswith("-") else spelled.upper()
            text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
            lines[-1] += f"\n| `{spelled}` | {text} |"
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _directive(path: str, again: bool = False) -> str:
    """A directive of mkdocstrings, or a link where the object is documented already."""
    short = path.rpartition(".")[2]
    return f"See also [`{short}`][{path}]." if again else f"::: {path}"


def _own(value) -> bool:
    module = getattr(value, "__module__", None) or ""
    return module.startswith("functional_adam") and hasattr(value, "__qualname__")


def _torch_module(row) -> str:
    return "torch.optim" if row.torch_twin else "functional_adam_torch"


def _algorithms():
    from functional_adam import ALGORITHMS

    return ALGORITHMS


def _linked(paper: str) -> str:
    who, _, url = paper.partition(", http")
    return f"[{who}](http{url})" if url else who


def _options(options) -> list[str]:
    return [f"`{name}={value}`" for name, value in options.items()]


def _place(package: str) -> str:
    return "optimizers." if package == "keras" else ""


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def _algorithm_nav() -> list:
    return ["algorithms/index.md", *(f"algorithms/{name}.md" for name in _algorithms())]


def _notebook_nav() -> list:
    return [f"notebooks/{path.name}" for path in _notebooks()]
