# Every target sets up what it needs; a Python 3.11 or newer is all that must be there.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-mcp test-scale faults soak lint format docs tables bench bench-quick bench-guard build real-model clean

VENV ?= .venv
WORKERS ?= 4
REAL_VENV := .venv-real-model
MCP_VENV := .venv-mcp
SCALE_VENV := .venv-scale
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Files compiled once start faster the second time.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@sed -n 's/^\([a-z-]*\): .*## /\1	/p' Makefile | while IFS='	' read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## Stream an answer, look at an image, draw one (no key needed)
	@$(BIN)/python examples/demo.py

test: $(VENV)/.test ## Run all tests with branch coverage, or without it: make test TEST_FILE=tests/…
	@$(BIN)/python -m pytest -q $(if $(TEST_FILE),$(TEST_FILE),-n $(WORKERS) --dist worksteal --cov)

test-mcp: ## Run the MCP server with a real client (an environment of its own)
	@$(MAKE) --no-print-directory VENV=$(MCP_VENV) $(MCP_VENV)/.mcp
	@$(MCP_VENV)/bin/python -m pytest -q tests/mcp_tests

test-scale: ## Run a batch on a local Ray, whose processes are killed (an environment of its own)
	@$(MAKE) --no-print-directory VENV=$(SCALE_VENV) $(SCALE_VENV)/.scale
	@$(SCALE_VENV)/bin/python -m pytest -q -o faulthandler_timeout=600 tests/scale_tests

faults: $(VENV)/.test ## Play every fault of the wire, and print what became of each
	@$(BIN)/python -m pytest -q --tb=no -rN tests/faults --target '$(or $(TARGET),ours)' --only '$(ONLY)'

soak: $(VENV)/.test ## Many callers at once for a minute, one request in twenty at fault
	@$(BIN)/python -m benchmarks.soak --seconds 60

lint: $(VENV)/.test $(VENV)/.lint ## Check style, types, spelling and the layers of imports
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary .
	@$(BIN)/python tests/typing/check.py
	@$(BIN)/codespell
	@$(BIN)/zizmor --offline --quiet .github
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/validate-pyproject pyproject.toml > /dev/null
	@PYTHONPATH=. $(BIN)/lint-imports > $(VENV)/layers.txt || { cat $(VENV)/layers.txt; exit 1; }

format: $(VENV)/.lint ## Sort imports, fix what can be fixed, format
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: $(VENV)/.docs ## Build the documentation's site into site/, with llms.txt
	@rm -rf site
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --fresh-env -d $(VENV)/doctrees docs site
	@rm -rf jupyter_execute
	@echo site/index.html

tables: $(VENV)/.test ## Write the generated tables of the documentation anew
	@$(BIN)/python docs/generate.py

bench: $(VENV)/.bench ## Measure beside other chat models: make bench, or ONLY='stream invoke'
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(PAGE),--page $(PAGE))

bench-quick: $(VENV)/.bench ## Measure the same with less care, in half a minute
	@$(BIN)/python -m benchmarks --quick $(if $(ONLY),--only $(ONLY))

bench-guard: $(VENV)/.test ## Fail where the chat model costs more against floors measured beside it
	@$(BIN)/python -m benchmarks.guard

build: $(VENV)/.build ## Build the sdist and the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist . > $(VENV)/build.txt 2>&1 || { cat $(VENV)/build.txt; exit 1; }
	@$(BIN)/twine check --strict dist/* > $(VENV)/build.txt 2>&1 || { cat $(VENV)/build.txt; exit 1; }
	@ls dist/*

real-model: ## Stream from a small real model (the first time it compiles for ten minutes)
	@$(MAKE) --no-print-directory VENV=$(REAL_VENV) $(REAL_VENV)/.real
	@$(REAL_VENV)/bin/python scripts/real_model.py

clean: ## Remove the environment and everything built
	rm -rf $(VENV) $(MCP_VENV) $(REAL_VENV) $(SCALE_VENV) build dist site .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache demo-output

# --- Set-up: one stamp a group, anew whenever pyproject.toml changes ----------------

$(VENV)/.made:
	@python=''; \
	for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
			> /dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'make: no Python 3.11 or newer with venv found; install one, or name it: make PYTHON=/path/to/python' >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version) ..." >&2; \
	"$$python" -m venv --clear $(VENV)
	@$(INSTALL) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[sandbox]' --group demo
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[sandbox,aiohttp]' --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.made pyproject.toml
	@$(INSTALL) --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[sandbox]' --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[aiohttp]' --group bench
	@touch $@

# Apart from the others: Ray is large.
$(VENV)/.mcp: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[sandbox]' --group mcp
	@touch $@

$(VENV)/.scale: $(VENV)/.made pyproject.toml
	@$(INSTALL) -e '.[sandbox]' --group scale
	@touch $@

# Apart from the others: it compiles llama.cpp.
$(VENV)/.real: $(VENV)/.made pyproject.toml
	@echo 'Compiling llama.cpp: about ten minutes on two cores ...' >&2
	@$(INSTALL) -e '.[sandbox]' --group real-model
	@touch $@

$(VENV)/.build: $(VENV)/.made pyproject.toml
	@$(INSTALL) --group build
	@touch $@
