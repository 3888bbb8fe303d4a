# Signoff. `make demo` shows it, `make test` proves it; both set up what they need, from the locks.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up check test lint conformance dist bench bench-pair soak screenshots setup setup-node setup-browser clean

UV_VERSION := 0.13.9
PYTHON ?= python3
UV := .tools/bin/uv
RUN := .venv/bin
# Most tests wait for servers and databases: twice the cores keeps two of them busy.
WORKERS ?= 4
ARGS ?=
# Byte code is kept, whatever the environment says: a start without it takes 3.5 s instead of 1.4 s,
# and the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.ready  ## gateway, a real MCP server and the page; ARGS=--auto approves by itself, ARGS=--busy never stops calling
	@$(RUN)/signoff demo $(ARGS)

up: .venv/.ready  ## run the gateway on ./servers.json and ./policy.json
	@$(RUN)/signoff up $(ARGS)

test: setup lint  ## everything: types, style, contracts and all tests but the slow extremes
	@$(RUN)/pytest -n $(WORKERS) -m "not slow and not figure" $(ARGS)

check: lint  ## before a commit, in a minute: style, types, contracts and the tests without processes
	@$(RUN)/pytest -q -n $(WORKERS) -m "not slow and not figure" tests/policy tests/gateway tests/protocol tests/enforcement tests/hosting tests/risk $(ARGS)

lint: .venv/.ready  ## style, types, import contracts
	@$(RUN)/ruff format --check --quiet . || { echo "Run: .venv/bin/ruff format ."; exit 1; }
	@$(RUN)/ruff check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-cache | tail -n 3

conformance: .venv/.ready setup-node  ## the official MCP suite: a server alone, and behind the gateway
	@$(RUN)/pytest tests/conformance $(ARGS)

dist: $(UV)  ## dist/: the wheel, the sdist, and an SBOM (CycloneDX) of what the wheel installs
	@rm -rf dist
	@$(UV) build --quiet
	@$(UV) export --quiet --frozen --no-dev --all-extras --format cyclonedx1.5 --output-file dist/signoff.cdx.json >/dev/null
	@ls dist

bench: .venv/.ready .venv-peers/.ready setup-browser  ## the figures of the README; takes a quiet machine and 15 minutes
	@$(RUN)/python tests/bench/bench.py $(or $(ARGS),--peers --loaded)
	@$(RUN)/pytest -m figure -s -q

bench-pair: .venv/.ready  ## what an allowed call costs here and in another checkout: OTHER=../before
	@$(RUN)/python tests/bench/pair.py $(OTHER) $(ARGS)

soak: .venv/.ready  ## the slow extremes: a thousand kills, ten thousand pending, ten million rows
	@$(RUN)/pytest -m slow -s $(ARGS)

screenshots: .venv/.ready setup-browser  ## the README's pictures
	@$(RUN)/python tests/browser/screenshots.py $(ARGS)

setup: .venv/.ready .venv-mcp1/.ready setup-node setup-browser

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Signoff needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .tools || \
	  { echo "Python cannot make a virtual environment here (Debian: apt install python3-venv)"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --quiet --frozen --python $(PYTHON)
	@touch $@

# A client of the SDK's first generation, in an environment of its own.
.venv-mcp1/.ready: uv.lock | $(UV)
	@UV_PROJECT_ENVIRONMENT=.venv-mcp1 $(UV) sync --quiet --frozen --only-group mcp1 --python $(PYTHON)
	@touch $@

# Gateways of others, which the bench measures beside ours.
.venv-peers/.ready: uv.lock | $(UV)
	@UV_PROJECT_ENVIRONMENT=.venv-peers $(UV) sync --quiet --frozen --only-group peers --python $(PYTHON)
	@touch $@

# Clients of the TypeScript SDK and the conformance suite. Without npm their tests say that they
# were skipped.
setup-node:
	@if command -v npm >/dev/null; then for folder in tests/clients tests/conformance tests/slack; do \
	  ( cd $$folder && { [ node_modules/.package-lock.json -nt package-lock.json ] || \
	  npm ci --silent --no-audit --no-fund; } ) || exit 1; done; \
	else echo "npm is not installed: the tests that need Node will be skipped"; fi

# Debian's Chromium, best without a window of its own. Without any the browser tests say that they
# were skipped.
setup-browser:
	@if command -v chromium-headless-shell >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium-headless-shell fonts-dejavu-core; } >/dev/null 2>&1 || \
	  command -v chromium >/dev/null || \
	  echo "Chromium could not be installed: the browser tests will be skipped"; \
	elif command -v chromium >/dev/null; then :; \
	else echo "Chromium is not installed (apt install chromium-headless-shell): the browser tests will be skipped"; fi

clean:  ## remove everything that was set up or generated
	@rm -rf .venv .venv-mcp1 .venv-peers .tools .demo tests/clients/node_modules tests/conformance/node_modules tests/slack/node_modules
