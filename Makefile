# Two commands do everything on a fresh Debian-like machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEPLOYED := build/deployed
PACKAGES := windlass service workers
TESTED := $(PACKAGES) tests benchmarks examples

.PHONY: demo test test-unit lint bench parts system lock clean

demo: system $(VENV)/.ready  ## the main job on real parts; ONCE=1 exits after the story
	@$(BIN)/python -m examples.demo

test: system $(VENV)/.ready lint  ## everything, on real parts, in two processes that each have their own
	@$(BIN)/python -m tests.parts build >/dev/null
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-unit: $(VENV)/.ready  ## seconds: no I/O
	@$(BIN)/python -m pytest -q tests/unit

lint: $(VENV)/.ready  ## style, types, and the architecture's contracts
	@$(BIN)/ruff check $(TESTED)
	@$(BIN)/ruff format --check -q $(TESTED)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: system $(VENV)/.ready $(DEPLOYED)/.ready  ## MEASURE=push_to_applied N=1000; JSON lines on standard output
	@WINDLASS_PYTHON=$(abspath $(DEPLOYED)/bin/python) $(BIN)/python -m benchmarks

parts: $(VENV)/.ready  ## build every real part ahead of time
	@$(BIN)/python -m tests.parts build

system:  ## what the operating system must have
	@PYTHON=$(PYTHON) sh tests/parts/system.sh

$(VENV)/.ready: pyproject.toml requirements-dev.lock | system
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(DEPLOYED)/.ready: requirements.lock | system  # what the image has: what is measured
	@test -x $(DEPLOYED)/bin/python || $(PYTHON) -m venv $(DEPLOYED)
	@$(DEPLOYED)/bin/python -m pip install -q --require-hashes -r requirements.lock
	@touch $@

lock: $(VENV)/.ready  ## pin what is deployed, and what it is tested with
	@$(BIN)/python -m piptools compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock pyproject.toml
	@$(BIN)/python -m piptools compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
