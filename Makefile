# make demo   the whole loop on digits, into ./demo      make test   all tests
# make venv   set-up alone       make check  format, lint, types, house rules, fast tests
# make bench  measured claims    make golden rewrite the reviewed decks in netlists/
# Each does all of its own set-up: virtual environment, pinned requirements, ngspice.
.PHONY: venv demo test check bench golden ngspice clean
.DELETE_ON_ERROR:
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete

define APT
	if ! command -v apt-get >/dev/null 2>&1; then echo "error: $(1) is missing: install it with your package manager" >&2; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo; \
	else echo "error: $(1) is missing; type: sudo apt-get update && sudo apt-get install -y $(1)" >&2; exit 1; fi; \
	echo "installing $(1) with apt-get"; \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $(1) >/dev/null
endef

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { $(call APT,python3); }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or later is needed, $$($(PYTHON) --version) was found; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call APT,python3-venv); }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

ngspice:
	@command -v "$${TTFS_ANALOG_NGSPICE:-ngspice}" >/dev/null 2>&1 || { $(call APT,ngspice); }

demo: $(STAMP) ngspice
	$(BIN)/ttfs-analog demo --out demo

test: $(STAMP) ngspice
	$(BIN)/python -m pytest --ngspice=required

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --ngspice=disabled

bench: $(STAMP) ngspice
	for name in neuron_throughput network_throughput recovery planted_laws transistor_convergence transistor_network; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/reproducibility.py --campaign 5000
	$(BIN)/python benchmarks/step_time.py
	$(BIN)/python benchmarks/interrupted_writes.py

golden: $(STAMP)
	$(BIN)/python -m pytest tests/golden --update-golden

clean:
	rm -rf .venv demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
