PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
BENCH_STAMP := .venv/.bench

.PHONY: test test-fast lint docs demo bench bench-quick clean

# A process per core, and the tests of a file in one process: they share what they train and export.
PYTEST := $(BIN)/pytest -n auto --dist loadfile

# Everything, before a change is merged: lint, types and all tests. ARGS are passed to pytest.
test: lint
	$(PYTEST) $(ARGS)

# While working: all tests but those that are marked slow, at most three minutes on two cores.
test-fast: $(STAMP)
	$(PYTEST) -m "not slow" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/generate.py

demo: $(STAMP)
	rm -rf .demo
	$(BIN)/textgen train --corpus dinos-lite --model gru --set training.sample_every=10 --out .demo
	$(BIN)/textgen export --onnx .demo
	$(BIN)/textgen sample .demo --runtime onnx --num 10 --novelty

# Takes hours, on an otherwise idle machine.
bench: $(BENCH_STAMP)
	for name in generation throughput training startup growth memory learning; do $(BIN)/python -m benchmarks.$$name || exit 1; done
	$(BIN)/python -m benchmarks.quality --train
	$(BIN)/python -m benchmarks.tokenizers
	$(BIN)/python -m benchmarks.agreement
	$(BIN)/python -m benchmarks.fine_tuning
	$(BIN)/python -m benchmarks.labels
	$(BIN)/python -m benchmarks.readme

# Takes minutes, for a first look; README and docs quote the full measurement.
bench-quick: $(BENCH_STAMP)
	for name in generation throughput training startup growth memory; do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

clean:
	rm -rf .venv .demo .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer; choose another one, as in: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[bench]" -c constraints.txt
	@touch $@
