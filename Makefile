PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
BENCH_STAMP := .venv/.bench

.PHONY: test lint demo bench-generation clean

test: lint
	$(BIN)/pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(STAMP)
	rm -rf .demo
	$(BIN)/textgen train --corpus dinos-lite --model gru --set training.sample_every=10 --out .demo
	$(BIN)/textgen export --onnx .demo
	$(BIN)/textgen sample .demo --runtime onnx --num 10 --novelty

bench-generation: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.generation $(ARGS)

clean:
	rm -rf .venv .demo .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer; name one that is, as in: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[bench]" -c constraints.txt
	@touch $@
