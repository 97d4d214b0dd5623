# Needs make and Python >= 3.11 only; everything else is installed into .venv from the lock files.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
TESTS ?= tests
# How many processes run the tests: a number, or auto for two a core.
JOBS ?= auto
# Tests start `scep` hundreds of times: byte code that is not kept would be compiled every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test peers lint conformance compatibility bench bench-crl bench-abuse oracle walk lock clean
help:
	@echo "make demo    a device gets a certificate from a fresh server, step by step"
	@echo "make test    install what the tests need and run them, two processes a core"
	@echo "             (TESTS=path narrows, JOBS=n sets the processes,"
	@echo "             OPTIONS=--long runs the long forms)"
	@echo "make peers   build or fetch the peers that Debian 12 has not (Go, Maven, apt)"
	@echo "make lint    formatter, linter, types, import rules"
	@echo "make conformance  write docs/conformance.md from the tests' checklist ids"
	@echo "make compatibility  run the real peers and write docs/compatibility.md"
	@echo "make bench   enrolments, renewals, OCSP, memory: beside private keys, and other servers"
	@echo "             (BASE=commit compares with scepkit as it was there, OPTIONS=--quick tries)"
	@echo "make bench-crl   seconds and memory of CRLs with up to a million entries"
	@echo "make bench-abuse  hostile clients beside an honest fleet (20 minutes)"
	@echo "make oracle  does a refused request tell how far its decryption came?"
	@echo "make walk    through how many files one operation walks"
	@echo "make lock    compile requirements/*.txt anew from pyproject.toml"

demo: .venv/run
	@$(BIN)/python examples/demo.py

test: .venv/dev
	@$(BIN)/python -m pytest -n $(JOBS) --maxprocesses=8 --dist=worksteal $(OPTIONS) $(TESTS)

peers: .venv/python
	@$(BIN)/python tests/interop/building.py

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance: .venv/dev
	@$(BIN)/python -m pytest --collect-only -q --conformance=docs/conformance.md >/dev/null && echo wrote docs/conformance.md

compatibility: .venv/dev
	@$(BIN)/python -m pytest -n $(JOBS) --maxprocesses=8 --dist=worksteal --long tests/interop --compatibility=docs/compatibility.md

bench: .venv/dev
	@$(BIN)/python bench/run.py $(OPTIONS) $(if $(BASE),--base $(BASE))

bench-crl: .venv/dev
	@$(BIN)/python bench/crl.py

bench-abuse: .venv/dev
	@$(BIN)/python bench/abuse.py $(OPTIONS)

oracle: .venv/dev
	@$(BIN)/python bench/oracle.py

walk: .venv/dev
	@$(BIN)/python bench/walk.py $(OPTIONS)

lock: .venv/dev
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --extra server -o requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --extra server --group dev -c requirements/run.txt \
		-o requirements/dev.txt pyproject.toml requirements/build.in

.venv/python:
	@test -n "$(PYTHON)" || { echo "scepkit needs Python >= 3.11 with its venv module (on Debian: apt-get install python3-venv); name one with make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run: .venv/python requirements/run.txt pyproject.toml
	@echo "installing what the server and the client need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/dev: .venv/run requirements/dev.txt
	@echo "installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf .venv
