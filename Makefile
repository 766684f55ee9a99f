# `make demo` and `make test` do all their own set-up, in .venv. Paths are relative: the checkout
# may live in a directory whose name holds spaces.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
INSTALLED := .venv/.installed
CONSTRAINTS ?= .ci/constraints.txt
# What is never imported need not be compiled: half the time.
INSTALL = $(PY) -m pip install --quiet --no-compile --disable-pip-version-check --constraint $(CONSTRAINTS) --editable

.PHONY: demo test notebooks docs lint setup clean

demo: $(INSTALLED)
	$(PY) -m functional_adam.cli demo --out build/demo

test: $(INSTALLED)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyright
	$(PY) -m pytest -n 2

# Executes the notebooks and saves their outputs in place; the tests compare with these.
notebooks: $(INSTALLED)
	$(PY) tests/run_notebooks.py

lint: $(INSTALLED)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
	$(PY) -m pyright

docs: $(INSTALLED) .venv/.docs
	$(PY) -m mkdocs build --quiet --strict --config-file .docs/mkdocs.yml
	@echo build/docs/index.html

.venv/.docs: $(INSTALLED)
	$(INSTALL) '.[docs]'
	touch .venv/.docs

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CONSTRAINTS) Makefile
	"$(PYTHON)" -m venv .venv
	$(INSTALL) '.[test]'
	touch $(INSTALLED)

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
