# install: .venv with everything pinned    demo: see it work          check: lint, unit and conformance tests
# lint: style, types, order of the rooms   bench: measure             test: the whole suite
# coverage: what the suite runs through    bench-NAME: one of them    test-deep: properties, with many examples
# lock: pin again what pyproject.toml and requirements/*.in ask for   docs: regenerate options.md, api.md
# docs-site: the documentation as a site, in build/site
# chaos, faults, fuzz, abuse, soak         page: write docs/performance.md, docs/capacity.md
# image: build the container image          packages: wheel and sdist into dist
# audit: licences, vulnerabilities, SBOM   notice: write NOTICE   release: see docs/release.md

.DELETE_ON_ERROR:
.PHONY: install demo check test test-deep chaos faults fuzz abuse soak coverage lint docs docs-site image packages audit notice release bench page lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Shared out by tests/support/distribution.py. Most wait for other processes: more than cores run at a time.
PROCESSES ?= 4
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --dist loadscope --no-loadscope-reorder
# Where images of containers forbid bytecode, every process of the suite would compile all tests for itself.
unexport PYTHONDONTWRITEBYTECODE
LOCKS := requirements/build.txt requirements/dev.txt requirements/docs.txt

install: $(STAMP)

# Hashes and --no-build-isolation together: nothing that is not pinned is fetched, neither to run nor to build.
$(STAMP): $(LOCKS) pyproject.toml scripts/python
	$(BIN)/python -c '' 2>/dev/null || { python=$$(PYTHON='$(PYTHON)' scripts/python) && "$$python" -m venv --clear $(VENV); }
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements/docs.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/ff-proxy demo

check: lint
	$(PYTEST) --numprocesses 3 tests/unit tests/conformance $(ARGS)

test: install
	$(PYTEST) $(ARGS)

test-deep: install
	HYPOTHESIS_PROFILE=deep $(PYTEST) tests/property tests/fuzz tests/unit $(ARGS)

# With --numprocesses 3, since what is measured needs more CPU and waits less. A test that fails is told at the end.
coverage: install
	rm -rf .coverage
	mkdir .coverage
	$(BIN)/coverage run -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder $(ARGS); status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$status

chaos: install
	$(BIN)/python -m tests.chaos $(if $(SEED),-seed $(SEED)) $(if $(SECONDS),-seconds $(SECONDS)) $(if $(FORM),-form $(FORM))

faults: install
	$(BIN)/python -m tests.chaos -matrix -seconds $(or $(SECONDS),2) $(if $(FORM),-form $(FORM)) $(if $(ONLY),-only '$(ONLY)')

fuzz: install
	$(BIN)/python -m tests.chaos.fuzz $(if $(SEED),-seed $(SEED)) $(if $(REQUESTS),-requests $(REQUESTS))

abuse: install
	$(BIN)/python -m tests.chaos.abuse

soak: install
	$(BIN)/python -m tests.chaos.soak -seconds $(or $(SECONDS),600)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(wildcard src tests bench scripts docs/site/conf.py)
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.options_page --check
	$(BIN)/python -m scripts.notice --check
	$(BIN)/python -m scripts.api_page --check

docs: install
	$(BIN)/python -m scripts.options_page
	$(BIN)/python -m scripts.api_page

# Warnings are errors: a link or an anchor that leads nowhere, a page that is in no menu.
docs-site: install
	$(BIN)/python -m sphinx -q -a -E -W --keep-going -j auto -c docs/site -d build/doctrees -b html . build/site

# TAG, PLATFORMS, BASE and so on: see the script.
image:
	scripts/image $(ARGS)

# What is committed: COMMIT=v1.2.3 for another commit than the last.
packages: install
	$(BIN)/python -m scripts.packages $(if $(COMMIT),--commit $(COMMIT))

audit: install
	$(BIN)/python -m scripts.audit

notice: install
	$(BIN)/python -m scripts.notice

# Tries everything in a temporary directory; with PUBLISH=1 the repository gets the commit and the tag.
release: install
	$(BIN)/python -m scripts.release $(VERSION) $(if $(PUBLISH),--publish)

bench: install
	$(BIN)/python -m bench $(ARGS)

bench-%: install
	$(BIN)/python -m bench $* $(ARGS)

page: install
	$(BIN)/python -m bench --page

# Kept in step with each other: dev.txt holds exactly the versions of the two others, docs.txt those of dev.txt.
lock: install
	for step in "runtime.txt pyproject.toml requirements/runtime.in" "build.txt requirements/build.in" "dev.txt requirements/dev.in" \
	        "docs.txt requirements/docs.in"; do \
	    set -- $$step; target=requirements/$$1; shift; \
	    CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-build-isolation \
	        $(ARGS) --output-file $$target $$@ || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
