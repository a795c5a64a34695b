# make demo   shows the whole thing on this machine
# make test   runs everything: Python and Go tests, end-to-end, linters and types
#
# Needed: Python 3.11 or newer, Go 1.24 or newer, make. All else is installed into .venv.

PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GO_MODULES := runtime examples/hello examples/jinja2
GO_SOURCES := $(GO_MODULES) bench/runtime tests/e2e/programs tests/e2e/isolation .github/smoke
FUZZTIME ?= 10s
FUZZ := manifest.FuzzManifest tree.FuzzStamp tree.FuzzExtract
BIN := .venv/bin

.PHONY: demo test test-python test-go fuzz lint-python lint-go fast clean

demo: .venv/installed
	@$(BIN)/pyembed-gen demo

test: lint-python lint-go test-go fuzz test-python

# The whole suite; with NO_SKIPS=1 (CI) a skipped test is a failure. COVERAGE is in per cent, branches included.
test-python: .venv/tools
	$(BIN)/coverage erase
	NO_SKIPS=$(NO_SKIPS) $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine -q --append || true  # processes that tests kill leave files that are cut short
	$(BIN)/coverage report --fail-under=95

# Unit tests alone, for while you work.
fast: .venv/tools
	$(BIN)/python -m pytest -q --ignore=tests/e2e

# Coverage counts what any package's tests reach. Without GORACE each process of the tests sleeps a second at its end.
test-go:
	cd runtime && GORACE=atexit_sleep_ms=0 go test -race -v -coverpkg=./... -coverprofile=../.go-cover.out ./... > ../.go-test.log 2>&1 || { grep -E '^(\s*--- FAIL|FAIL|panic|\s+\S+_test\.go)' ../.go-test.log; exit 1; }
	@grep -E '^(ok|---)' .go-test.log | grep -v -- '--- PASS' || true
	@if [ -n "$(NO_SKIPS)" ] && grep -- '--- SKIP' .go-test.log; then echo "tests were skipped"; exit 1; fi
	@cd runtime && go tool cover -func=../.go-cover.out | awk '/^total:/ { print "Go coverage " $$3; exit ($$3 + 0 < 90) }'

# Each target for FUZZTIME, after what its corpus holds.
fuzz:
	cd runtime && for target in $(FUZZ); do \
		go test -run='^$$' -fuzz="^$${target#*.}$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=50x ./internal/$${target%.*} || exit 1; done

lint-python: .venv/tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lint-go:
	@test -z "$$(gofmt -l $(GO_SOURCES))" || { gofmt -l $(GO_SOURCES); echo "run gofmt -w on these"; exit 1; }
	cd runtime && go vet ./... && go run $(STATICCHECK) ./...
	cd runtime && for target in windows/amd64 darwin/arm64 freebsd/amd64 android/arm64 plan9/amd64 js/wasm; do \
		GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 go vet ./... || exit 1; done

.venv/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer was found; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

.venv/installed: .venv/python pyproject.toml VERSION
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/tools: .venv/installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

clean:
	rm -rf .venv .coverage* .go-test.log .go-cover.out .mypy_cache .ruff_cache .pytest_cache .hypothesis data examples/hello/data examples/jinja2/data examples/jinja2/libs
