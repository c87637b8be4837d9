# `make demo` and `make test` need python3 (3.11 or newer) and nothing else: each sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
STRATEGY := pipeline/strategies/momentum_daily_weekly.yaml
RUNS := runs

.PHONY: demo test lint unit system-packages kills test-backends benchmarks constraints clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@$(BIN)/ktrdr-otel data samples $(RUNS)/bars
	@$(BIN)/ktrdr-otel train $(STRATEGY) --data $(RUNS)/bars --output $(RUNS) --seed 7 \
		--database $(RUNS)/operations.db --trace-file $(RUNS)/trace.jsonl

test: lint unit

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.installed system-packages
	$(BIN)/pytest -n 2

# As many real processes killed at random moments as an afternoon allows.
kills: $(VENV)/.installed
	KTRDR_OTEL_TEST_KILLS=200 $(BIN)/pytest -q tests/acceptance -k "killed_process or killed_run"

system-packages:
	@sh tests/system-packages.sh

# Current servers, which no package manager has: make test-backends JAEGER_BIN=... PROMETHEUS_BIN=... [GRAFANA_URL=...]
test-backends: $(VENV)/.installed
	@test -x "$(JAEGER_BIN)" && test -x "$(PROMETHEUS_BIN)" || { \
		echo "test-backends needs JAEGER_BIN=... and PROMETHEUS_BIN=... (with promtool beside it): real binaries"; exit 2; }
	JAEGER_BIN="$(JAEGER_BIN)" JAEGER_UI="$(JAEGER_UI)" PROMETHEUS_BIN="$(PROMETHEUS_BIN)" GRAFANA_URL="$(GRAFANA_URL)" \
		$(BIN)/pytest -q -s tests/backends/check_backends.py tests/backends/check_traces.py \
		$(if $(GRAFANA_URL),tests/backends/check_boards.py)

benchmarks: $(VENV)/.installed
	@for name in checkpoint_cost prepare_features silence stream_fanout scrape watcher live_trace; do $(BIN)/python -m tests.benchmarks.$$name; done

# uv installs in seconds what takes pip minutes; --system-certs because uv ignores the machine's certificates.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"ktrdr-otel needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; say make PYTHON=python3.11")'
	@echo "Installing into $(VENV) (torch is large: this takes a minute or two the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv --system-certs pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Not a prerequisite of anything: after a clone all files are equally new.
constraints: $(VENV)/.installed
	$(BIN)/uv --system-certs pip compile pyproject.toml --extra dev --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV) $(RUNS) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
