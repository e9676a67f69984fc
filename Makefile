# install: .venv with everything pinned    demo: see it work          test: the whole suite
# lint: style, types, order of the rooms   bench: measure             docs: regenerate docs/options.md
#                                          bench-NAME: one of them    page: write docs/performance.md, docs/capacity.md
# lock: pin again what pyproject.toml and requirements/*.in ask for

.DELETE_ON_ERROR:
.PHONY: install demo test lint docs bench page lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKS := requirements/build.txt requirements/dev.txt

install: $(STAMP)

# Hashes and --no-build-isolation together: nothing that is not pinned is fetched, neither to run nor to build.
$(STAMP): $(LOCKS) pyproject.toml scripts/python
	$(BIN)/python -c '' 2>/dev/null || { python=$$(PYTHON='$(PYTHON)' scripts/python) && "$$python" -m venv --clear $(VENV); }
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/ff-proxy demo

test: install
	$(BIN)/pytest $(ARGS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(wildcard src tests bench scripts)
	$(BIN)/lint-imports
	$(BIN)/python scripts/options_page.py --check

docs: install
	$(BIN)/python scripts/options_page.py

bench: install
	$(BIN)/python -m bench $(ARGS)

bench-%: install
	$(BIN)/python -m bench $* $(ARGS)

page: install
	$(BIN)/python -m bench --page

# Kept in step with each other: dev.txt holds exactly the versions of the two others.
lock: install
	for step in "runtime.txt pyproject.toml requirements/runtime.in" "build.txt requirements/build.in" "dev.txt requirements/dev.in"; do \
	    set -- $$step; target=requirements/$$1; shift; \
	    CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-build-isolation \
	        $(ARGS) --output-file $$target $$@ || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
