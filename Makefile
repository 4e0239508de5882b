# `make run` and `make test` do all their set-up themselves, on a fresh machine with Python >= 3.11, make, git and npm.
.PHONY: run test test-units test-console test-thorough test-steps test-pages test-long lint rules connect focus-check bench assets lock install install-dev browser clean
.DEFAULT_GOAL := run
SHELL := /bin/bash

# The system's own Python where it will do, since distributions compile it with optimization and version managers do not
# unasked (docs/decisions/0024); else that of the PATH. `make PYTHON=...` takes another.
WILL_DO := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(WILL_DO)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
# Where it is set, every process compiles every module of Headroom again.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

run: install assets
	@exec $(BIN)/python manage.py stack

install: $(STAMPS)/run
install-dev: $(STAMPS)/dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headroom needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/run: requirements.lock | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: requirements-dev.lock | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/run

# Front-end files, each checked against static/vendor.sha256; nothing happens when they are all there.
assets: | $(VENV)/bin/python
	@$(BIN)/python -m console.stack.assets

# Chromium for the browser tests: an installed one, else Debian's package as root, else one clear sentence.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	  else echo "The browser tests need Chromium: install the package chromium and run make test again."; exit 1; fi; }

# Side by side, since whole stacks, browsers and databases are waited for. A file stays on one process: what it starts, it
# starts once. (Groups of xdist 3.8 are ignored under pytest 9.)
UNITS := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
BROWSER := DJANGO_ALLOW_ASYNC_UNSAFE=true $(BIN)/python -m pytest -q -m "browser and not long"
BESIDE := $(MAKE) --no-print-directory --jobs=2 --output-sync=target

test: install-dev assets browser
	+@$(BESIDE) test-units test-console

test-units: install-dev assets
	$(UNITS)

test-console: install-dev assets browser
	$(BROWSER) tests/browser

# What takes as long again: every page on every screen, and what is made sure of once more at every step, at size or in a
# whole stack (docs/decisions/0025).
test-thorough: install-dev assets browser
	+@$(BESIDE) test-steps test-pages

test-steps: install-dev assets
	$(UNITS) -m "thorough and not long"

test-pages: install-dev assets browser
	$(BROWSER) tests/pages/browser

test-long: install-dev assets browser
	$(BIN)/python -m pytest -q -m "long and not browser"
	DJANGO_ALLOW_ASYNC_UNSAFE=true $(BIN)/python -m pytest -q -m "long and browser"
	HEADROOM_SEARCH=1 $(BIN)/python -m pytest -q -m "not long and not browser" tests/core tests/sim tests/money tests/impact

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/djlint templates --check --lint --quiet
	$(BIN)/lint-imports
	HEADROOM_SECRET_KEY=lint $(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m tests.rules --check

# Which test proves which rule: docs/rules.md, from the names of the tests.
rules: install-dev
	$(BIN)/python -m tests.rules

# The Python classes of console/connect/proto; tests/connect/test_generated.py compares them.
connect: install-dev
	$(BIN)/python -m console.connect.generate

# The public FOCUS validator on an export; it needs a Python 3.12 or newer of its own: make focus-check FOCUS_PYTHON=...
FOCUS_PYTHON ?= python3.12
focus-check: install-dev
	@$(FOCUS_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	  echo "The FOCUS validator needs Python >= 3.12: make focus-check FOCUS_PYTHON=/path/to/python3.12"; exit 1; }
	test -x .venv-focus/bin/focus-validator || { $(FOCUS_PYTHON) -m venv .venv-focus && \
	  .venv-focus/bin/python -m pip install --quiet --disable-pip-version-check "focus-validator==2.2.1" "pyarrow<24"; }
	HEADROOM_FOCUS_VALIDATOR=$(CURDIR)/.venv-focus $(BIN)/python -m pytest -q tests/money/test_focus_check.py

bench: install-dev assets
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

# The lock files hold hashes of all platforms and no address.
lock: | $(VENV)/bin/python
	$(PIP) install --quiet uv
	UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.lock
	UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-focus node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis
