# Two commands are enough to begin: `make run` and `make test`. Both make .venv first if it is not there.
.DEFAULT_GOAL := help
.PHONY: help run test check bench gpu wheel clean
BIN := .venv/bin
ENVIRONMENT := .venv/.made

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

$(ENVIRONMENT): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" .ci/environment

run: $(ENVIRONMENT) ## start the service, see the bundled model answer, twice the same
	@$(BIN)/aphrodite tour

test: $(ENVIRONMENT) ## everything continuous integration runs
	@$(BIN)/python -m pytest -m "not gpu"

# Starting services takes the time: of their tests, `check` runs those of chat only.
check: $(ENVIRONMENT) ## style, types and the quick tests, in under two minutes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/python -m pytest -q -m "not slow and not gpu" \
		--ignore=tests/service --ignore=tests/client --ignore=tests/magics
	@$(BIN)/python -m pytest -q tests/service/test_chat.py

bench: $(ENVIRONMENT) ## the benchmarks of experiments/throughput
	@$(BIN)/python experiments/throughput/run.py

gpu: $(ENVIRONMENT) ## the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

wheel: $(ENVIRONMENT) ## build dist/*.whl
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## remove what was built (not .venv)
	@rm -rf dist build .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
