# Everything starts here: `make` lists the targets. Nothing is needed but Python 3.11 or newer and a package index.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help up demo test test-harness test-servers test-browser test-cluster check chaos cluster bench scale mutants mutants-py docs pictures format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/runtime ## Sync boards until Ctrl-C: DATABASE_URL, else an embedded PostgreSQL
	@$(BIN)/pgleaderboard up $(ARGS)

demo: $(VENV)/runtime ## Show the whole of it with invented boards, in a throwaway database
	@$(BIN)/pgleaderboard demo

# Without bytecode each of a hundred commands that the tests run would compile the package anew.
test: $(VENV)/dev ## Run the test suite (TEST_DATABASE_URL: on your own PostgreSQL)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest $(ARGS)

test-harness: $(VENV)/dev ## Test that chaos, bench, scale and mutants run, and count right
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests/chaos tests/bench tests/scale tests/mutants $(ARGS)

test-servers: $(VENV)/dev ## Test fail-over, standbys, and what an administrator may set, on PostgreSQL 15 (Debian's) and 18
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests/servers $(ARGS)

test-browser: $(VENV)/dev ## Test the live page, over HTTP and in Chromium (Debian: apt install chromium)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests/browser $(ARGS)

# One process: there is one cluster.
test-cluster: $(VENV)/dev ## Test fail-over on a cluster with Patroni and HAProxy, in three minutes (needs root)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests/cluster -n 0 $(ARGS)

check: $(VENV)/dev ## Check format, lint, types, and which folder imports which
	@$(BIN)/ruff format --check --quiet . || { echo 'make format would change files'; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache > $(VENV)/imports || { sed -n '/^Broken contracts/,$$p' $(VENV)/imports; exit 1; }

chaos: $(VENV)/dev ## Kill, freeze and starve everything for some minutes, and count what is wrong afterwards
	@$(BIN)/python -m tests.chaos $(ARGS)

cluster: $(VENV)/dev ## Fail over on a real cluster in every way, in under 20 minutes (ARGS="--only switchover")
	@$(BIN)/python -m tests.cluster $(ARGS)

bench: $(VENV)/dev ## Measure everything beside its floor or rival, in under 20 minutes (ARGS="--quick --only dlt")
	@$(BIN)/python -m tests.bench $(ARGS)

scale: $(VENV)/dev ## Measure what one server holds, and what follows, in under 15 minutes (ARGS="--quick")
	@$(BIN)/python -m tests.scale $(ARGS)

mutants: $(VENV)/dev ## Change one thing at a time in sql/, and show what no test notices (ARGS="--n 60 --file sql/060")
	@$(BIN)/python -m tests.mutants $(ARGS)

# In a copy, where worker/ has the only name that mutmut takes.
mutants-py: $(VENV)/dev ## The same in what worker/ decides without a database (ARGS="pgleaderboard.sync.retry*")
	@rm -rf .mutants/py && mkdir -p .mutants/py
	@git ls-files -z | tar --null -T - -cf - | tar -xf - -C .mutants/py && mv .mutants/py/worker .mutants/py/src
	@cd .mutants/py && $(abspath $(BIN))/python -m mutmut run $(ARGS) && $(abspath $(BIN))/python -m mutmut results

docs: $(VENV)/dev ## Write docs/reference.md and docs/settings.md anew, out of the database and the settings
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tools.settings_page > docs/settings.md

pictures: $(VENV)/dev ## Draw the pictures of the README anew
	@$(BIN)/python -m tools.pictures

format: $(VENV)/dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/dev ## Resolve the dependencies anew, for every Python at once
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra build -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra build --extra dev --extra plot -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## Remove what make made here; the embedded database stays
	rm -rf $(VENV) .mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis dist

# The two states of the virtual environment, each marked by a file in it.

$(VENV)/runtime: requirements.lock pyproject.toml | $(BIN)/pip
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/dev: requirements-dev.lock pyproject.toml | $(BIN)/pip
	@$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/runtime

define install
	echo 'installing the packages of $(1) into $(VENV), once (about half a minute) …'; \
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'pgleaderboard needs Python 3.11 or newer: make PYTHON=python3.13 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'Python lacks its venv module: apt install python3-venv (Debian, Ubuntu)' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
