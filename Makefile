# Two commands matter: `make setup` and `make run`. `make help` lists all.
PORT ?= 8000
BIN := .venv/bin
# Without bytecode every start compiles its libraries anew: seconds for `kefu serve`, fifteen for a training.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-postgres e2e check bench conformance faults lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv with the locked packages (again: at once; PYTHON=/path/to/python3.12 chooses the interpreter)
	@for python in $(or $(PYTHON),$(BIN)/python python3 python3.13 python3.12 python3.11 python); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
	  then exec "$$python" .ci/environment.py setup; fi; \
	done; \
	echo "kefu: no Python 3.11, 3.12 or 3.13 found as: $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)." >&2; \
	echo "kefu: install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1

run: setup ## Serve the starter shop on http://127.0.0.1:8000/demo/, trained first where needed (PORT=8077 for another port)
	@exec $(BIN)/kefu serve --debug --port $(PORT)

test: setup ## Run every test, two files at a time (ARGS="-k widget -x" goes to pytest, -n 0: one after the other)
	@$(BIN)/python .ci/environment.py browser
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-postgres: setup ## The tests of storage and of whole servers, all of them on PostgreSQL (ARGS go to pytest)
	KEFU_TEST_DATABASE=postgresql $(BIN)/python -m pytest tests/contract tests/integration $(ARGS)

e2e: setup ## Run the browser tests alone
	@$(BIN)/python .ci/environment.py browser
	$(BIN)/python -m pytest -m e2e $(ARGS)

check: setup ## Lint, formatting, strict types, directions of imports, texts that repeat each other
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.data_quality

bench: setup ## Measure; writes results/*.json (minutes)
	@set -e; for file in tests/bench/bench_*.py; do echo "== $$file"; $(BIN)/python -m tests.bench.$$(basename $$file .py); done

conformance: setup ## Replay what Rasa did; with KEFU_RASA_PYTHON also thousands of random walks beside a live one (an hour)
	$(BIN)/python -m pytest tests/integration/test_traces.py tests/conformance -v $(ARGS)
	$(BIN)/python -m tests.bench.bench_conformance

faults: setup ## Kill, stop, restart under three channels; count what was lost (an hour); results/faults_*.json
	$(BIN)/python -m pytest -m fault -v $(ARGS)
	@set -e; for backend in sqlite postgresql slack-bolt; do $(BIN)/python -m tests.bench.bench_faults $$backend; done
	$(BIN)/python -m tests.bench.bench_jitter

lock: setup ## Write requirements.lock anew from pyproject.toml
	$(BIN)/python .ci/environment.py lock

clean: ## Remove .venv, builds and caches; never .kefu, where models and conversations live
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
