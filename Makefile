# The two commands of the README are `make demo` and `make test`; both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
JOBS ?= 2

.PHONY: demo test cover style lint docs wheel-test bench clean

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dazoo needs Python 3.11 or newer; set PYTHON=python3.11 (found: $$($(PYTHON) --version))"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing dazoo and what it needs into $(VENV) ..."
	@$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo "installing the test tools into $(VENV) ..."
	@$(BIN)/pip install -q -e '.[test]'
	@touch $@

demo: $(VENV)/.base
	@$(BIN)/dazoo run digits --jobs $(JOBS) --out out/digits

style: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint: style
	$(BIN)/mypy dazoo

# the type checker, which has one thread, runs beside the tests and is heard after them
test: style
	@types=$$(mktemp); $(BIN)/mypy dazoo >$$types 2>&1 & mypy=$$!; \
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=15; tests=$$?; \
	wait $$mypy; status=$$?; echo "mypy dazoo"; cat $$types; rm -f $$types; exit $$((tests ? tests : status))
	$(BIN)/python -m tests.parity

cover: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term-missing:skip-covered

docs: $(VENV)/.base
	@$(BIN)/pip install -q -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html through a web server: $(BIN)/mkdocs serve, or python -m http.server -d site"

wheel-test: $(VENV)/.base
	@$(BIN)/pip install -q build
	@$(BIN)/python -m tests.wheel

bench: $(VENV)/.test
	@mkdir -p results/bench
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-json results/bench/latest.json -q

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
