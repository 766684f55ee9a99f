"""What the documentation is made of is there, seen without the programs that build it."""

from __future__ import annotations

import importlib.util
import inspect
import pathlib
import pkgutil
import re
import sys
import types

import pytest

import functional_adam as fa

DOCS = pathlib.Path(__file__).parent.parent / ".docs"
PAGES = sorted((DOCS / "pages").glob("*.md"))


@pytest.fixture
def hooks(monkeypatch):
    plugins, files = types.ModuleType("mkdocs.plugins"), types.ModuleType("mkdocs.structure.files")
    plugins.__dict__["event_priority"] = lambda priority: lambda function: function
    files.__dict__["File"] = None
    monkeypatch.setitem(sys.modules, "mkdocs", types.ModuleType("mkdocs"))
    monkeypatch.setitem(sys.modules, "mkdocs.plugins", plugins)
    monkeypatch.setitem(sys.modules, "mkdocs.structure", types.ModuleType("mkdocs.structure"))
    monkeypatch.setitem(sys.modules, "mkdocs.structure.files", files)
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", fa.ALGORITHMS)
def test_an_algorithm_has_its_page(hooks, name):
    row, page = fa.ALGORITHMS[name], hooks.algorithm_page(name)
    theirs = "torch.optim" if row.torch_twin else "functional_adam_torch"
    assert f"`{theirs}.{row.torch_class}`" in page
    assert all(f"`{key}={value}`" in page for key, value in row.torch_options.items())
    assert f"`{name}`]({name}.md)" in hooks.algorithm_table()
    assert_named(page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_names_what_there_is(hooks, path):
    page = hooks.on_page_markdown(path.read_text(encoding="utf-8"), None, None, None)
    assert not re.search("<!-- (readme|api|commands)", page)
    assert_named(page)


def test_every_name_of_the_package_is_on_a_page(hooks):
    pages = [path.read_text(encoding="utf-8") for path in PAGES]
    pages = [hooks.on_page_markdown(page, None, None, None) for page in pages]
    pages += [hooks.algorithm_table(), *(hooks.algorithm_page(name) for name in fa.ALGORITHMS)]
    named = {id(pkgutil.resolve_name(name)) for page in pages for name in directives(page)}
    public = {
        name: x
        for name, x in vars(fa).items()
        if not name.startswith("_") and (isinstance(x, type) or inspect.isfunction(x))
    }
    assert "apply_update" in public
    assert [name for name, x in public.items() if id(x) not in named] == []


def directives(page):
    return re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)


def assert_named(page):
    for name in directives(page):
        assert pkgutil.resolve_name(name).__doc__, name
