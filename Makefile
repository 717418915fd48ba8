# make demo    a first video, from nothing but Python 3.11+ and a package registry
# make test    the whole test suite
# make check   the gate: format, lint, types, imports, duplication, docs
#
# Everything lives in .venv; a second call installs nothing unless pyproject.toml changed.
# PYTHON=python3.12 picks another interpreter. TORCH=torch==2.9.1 picks another torch: it is installed first, by itself,
# so that one build serves all the rest.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
PROMPT ?= a red ball rolls to the right past a blue cube, sunset
DEMO ?= out/demo.mp4

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
say = @printf '\n\033[1m%s\033[0m\n' '$(1)'

.PHONY: help demo test check clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,3s/^# //p' Makefile

demo: $(STAMPS)/run
	$(call say,Painting: $(PROMPT))
	@mkdir -p $(dir $(DEMO))
	@$(BIN)/filmgate generate "$(PROMPT)" --output "$(DEMO)" --sheet --overwrite

test: $(STAMPS)/test
	$(call say,Running the test suite)
	@$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 $(ARGS)

check: $(STAMPS)/dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

clean:
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  printf 'Filmgate needs Python 3.11 or newer, and "$(PYTHON)" is %s.\nTry: make %s PYTHON=python3.11\n' \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing)" "$(or $(MAKECMDGOALS),demo)" >&2; exit 1; }
	$(call say,Creating $(VENV))
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'This Python cannot create virtual environments (on Debian: apt install python3-venv).' >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: $(STAMPS)/venv
	$(call say,Installing $(TORCH) (the largest download; once))
	@$(BIN)/python -m pip install --disable-pip-version-check '$(TORCH)'
	@touch $@

$(STAMPS)/run: $(STAMPS)/torch pyproject.toml
	$(call say,Installing Filmgate)
	@$(BIN)/python -m pip install --disable-pip-version-check -q --editable .
	@touch $@

$(STAMPS)/test: $(STAMPS)/run
	$(call say,Installing what the tests need)
	@$(BIN)/python -m pip install --disable-pip-version-check -q --editable '.[test]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/test
	$(call say,Installing what the gate needs)
	@$(BIN)/python -m pip install --disable-pip-version-check -q --editable '.[test,dev]'
	@touch $@
