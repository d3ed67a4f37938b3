# `make demo` and `make test` set everything up themselves; a second call reuses .venv.
# PYTHON is the newest that everything can be installed on and that can make environments; PYTHON=... names another.
PYTHONS := 3.13 3.12 3.11
FITS := import sys, venv, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())
PYTHON ?= $(shell for each in $(PYTHONS:%=python%) python3; do $$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: demo test check docs clean

demo: $(STAMP)
	$(VENV)/bin/deploy-prune demo

test: $(STAMP)
	PYTHON=$(VENV)/bin/python tools/ci

check: $(STAMP)
	PYTHON=$(VENV)/bin/python tools/check

# The site of docs/, in site/; a dead link fails it.
docs: $(STAMP)
	$(VENV)/bin/python tools/reference.py
	$(VENV)/bin/zensical build --strict --clean

# Installed again when a dependency or a pinned version changes.
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { printf '%s\n' \
	  'deploy-prune needs Python 3.11, 3.12 or 3.13 with its module venv, and finds none (PYTHON="$(PYTHON)").' \
	  'Debian 12 or 13, Ubuntu 24.04: apt install python3 python3-venv;  macOS: brew install python@3.13;' \
	  'anywhere: uv python install 3.13. Then the same again, or: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .cache demo-run .coverage .mypy_cache .ruff_cache .hypothesis .pytest_cache
