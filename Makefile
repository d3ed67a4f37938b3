# `make demo` and `make test` set everything up themselves; a second call reuses .venv.
PYTHON ?= python3
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
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .cache demo-run .coverage .mypy_cache .ruff_cache .hypothesis .pytest_cache
