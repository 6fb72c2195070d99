PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
BENCH_STAMP := .venv/.bench

.PHONY: test test-fast lint docs demo fuzz kills soak container oldest trials bench bench-quick clean

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

# Damaged files of every kind, as many as COUNT, drawn by SEED: none may be a fault. Takes minutes.
fuzz: $(STAMP)
	$(BIN)/python -m tests.trials.fuzz --count $(or $(COUNT),20000) --seed $(or $(SEED),0)

# The site, into build/site: any broken link or public name without docstring ends it. Needs no network.
# The variable silences the theme's warning of MkDocs 2; constraints.txt has MkDocs 1.
docs: $(STAMP)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "open it in a browser: build/site/index.html"

demo: $(STAMP)
	rm -rf .demo
	$(BIN)/textgen train --corpus dinos-lite --model gru --set training.sample_every=10 --out .demo
	$(BIN)/textgen export --onnx .demo
	$(BIN)/textgen sample .demo --runtime onnx --num 10 --novelty
	$(BIN)/textgen export --to web --single .demo --out demo.html

# 300 rounds of commands that are killed at random moments: about a quarter of an hour.
kills: $(STAMP)
	$(BIN)/python -m tests.trials.kills --rounds 300 $(ARGS)
	$(BIN)/python -m tests.trials.bulk_kills --kills 10

# 10,000 clients of a server that connect and leave at random moments: some minutes.
soak: $(STAMP)
	$(BIN)/python -m tests.trials.soak --clients 10000 $(ARGS)

# A trial: sampling, exporting and evaluating as in a container.
container: $(STAMP)
	$(BIN)/python -m tests.trials.container

# A trial: the lower bounds of what textgen needs, in an environment of their own; needs a package index.
oldest: $(STAMP)
	$(BIN)/python tests/trials/oldest.py --host 1.15.0

# Every trial: what no test of the suite can show.
trials: fuzz kills soak container oldest
	$(BIN)/python -m tests.trials.read_while_training

# Takes hours, on an otherwise idle machine.
bench: $(BENCH_STAMP)
	for name in generation throughput serving training startup web growth memory bulk learning; do $(BIN)/python -m benchmarks.$$name || exit 1; done
	$(BIN)/python -m benchmarks.quality --train
	$(BIN)/python -m benchmarks.tokenizers
	$(BIN)/python -m benchmarks.agreement
	$(BIN)/python -m benchmarks.fine_tuning
	$(BIN)/python -m benchmarks.labels
	$(BIN)/python -m benchmarks.readme

# Takes minutes, for a first look; README and docs quote the full measurement.
bench-quick: $(BENCH_STAMP)
	for name in generation throughput serving training startup web growth memory; do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

clean:
	rm -rf .venv .demo demo.html build .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

# tritonclient has Triton's schema, which needs none of its requirements; these contradict the pins.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer; choose another one, as in: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]" -c constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps tritonclient -c constraints.txt
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[bench]" -c constraints.txt
	@touch $@
