# Two commands are enough to begin: `make run` and `make test`. Both make .venv first if it is not there.
.DEFAULT_GOAL := help
.PHONY: help run lab test check bench gpu wheel notebooks clean
BIN := .venv/bin
ENVIRONMENT := .venv/.made

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

$(ENVIRONMENT): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" .ci/environment

run: $(ENVIRONMENT) ## start the service, see the bundled model answer, twice the same
	@$(BIN)/aphrodite tour

lab: $(ENVIRONMENT) ## start the service and JupyterLab on notebooks/
	@$(BIN)/aphrodite lab notebooks

# Two processes share what starts no service; the rest follows in one of them (tests/conftest.py), a thread each.
test: $(ENVIRONMENT) ## everything continuous integration runs
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu" -n 2 --dist loadscope --no-loadscope-reorder

# Types and tests share the cores; a test process each has one thread. Of the tests that start services only chat's run.
check: $(ENVIRONMENT) ## style, types and the quick tests, in under two minutes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow and not gpu" \
		tests/apps tests/demo_model tests/engine tests/house tests/kernels tests/workbench tests/service/test_chat.py; \
	tests=$$?; wait $$types && exit $$tests

bench: $(ENVIRONMENT) ## the benchmarks of experiments/throughput
	@$(BIN)/python experiments/throughput/run.py

gpu: ## on a CUDA device: the tests that need one, then the benchmarks, in nine minutes; with .venv where there is one
	@$(or $(wildcard $(BIN)/python),$(PYTHON),python3) experiments/gpu/run.py

notebooks: $(ENVIRONMENT) ## run every notebook again and keep what it shows
	@$(BIN)/python -m tests.notebooks.execute

wheel: $(ENVIRONMENT) ## build dist/*.whl
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## remove what was built (not .venv)
	@rm -rf dist build .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
