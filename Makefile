# Needs make and a Python that has the venv module; everything else goes into .venv.

# The interpreter that .venv is made with; the first one that fits, unless it is given.
PYTHON ?=
# What `make test-all` tests on, what of it to leave out, and on how many of them at once.
VERSIONS ?= 3.11 3.12 3.13
SKIP ?=
AT_ONCE ?= 2
# How often `make campaign` draws.
SEEDS ?= 300
# More arguments for pytest or the benchmarks: make test ARGS="-k kill".
ARGS ?=

BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test campaign check fix bench docs test-all clean

# Shell functions for the recipes below.
define FUNCTIONS
# find_python VERSION: prints an interpreter of that version, from PATH or pyenv, or nothing.
find_python() {
  for candidate in "python$$1" "$$(pyenv root 2>/dev/null)/versions/$$1".*/bin/python; do
    "$$candidate" -c "import ensurepip, sys, venv
sys.exit('%d.%d' % sys.version_info[:2] != '$$1')" 2>/dev/null && echo "$$candidate" && return
  done
}

# pick_python [PYTHON]: prints the interpreter for .venv, or says what is missing.
pick_python() {
  for candidate in $${1:-python3 $$(find_python 3.13) $$(find_python 3.12) $$(find_python 3.11)}; do
    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    "$$candidate" -c 'import ensurepip, venv' 2>/dev/null && echo "$$candidate" && return
    without_venv=$$candidate
  done
  if [ -n "$$without_venv" ]; then
    echo "error: $$without_venv has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2
  else
    echo "error: amper needs Python 3.11 or newer; $${1:-python3} is not (make PYTHON=... names another)" >&2
  fi
  return 1
}

# make_venv DIRECTORY PYTHON: makes it anew; the stamp is last, so that half a venv is none.
make_venv() {
  echo "setting up $$1 ($$("$$2" --version), a minute or less)" >&2
  "$$2" -m venv --clear "$$1" &&
  "$$1/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]' &&
  touch "$$1/installed"
}
endef
export FUNCTIONS

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | \
	while IFS='|' read -r target text; do printf '%-18s%s\n' "$$target" "$$text"; done

demo: .venv/installed ## See what amper does
	@$(BIN)/python demo.py

test: .venv/installed ## Run the tests (ARGS="-k kill" for some of them)
	$(BIN)/python -m pytest $(ARGS)

campaign: .venv/installed ## Kill -9 at random moments, each way 300 times (SEEDS=300)
	$(BIN)/python -m pytest -m seeds --seeds $(SEEDS) $(ARGS)

check: .venv/installed ## Check format, lint, import layers and types, then run the tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

fix: .venv/installed ## Format, and fix what the linter can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: .venv/installed-bench ## Measure against peers
	$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/installed-docs ## Write the API reference as HTML into build/docs
	$(BIN)/pdoc --output-directory build/docs amper

test-all: ## Run the tests on every supported Python that is found (AT_ONCE=2)
	@eval "$$FUNCTIONS"; found=; missing=; \
	for version in $(filter-out $(SKIP),$(VERSIONS)); do \
	  if [ -n "$$(find_python $$version)" ]; then found="$$found $$version"; else missing="$$missing $$version"; fi; \
	done; \
	echo "testing on Python:$${found:- none}; not found:$${missing:- none}"; \
	[ -z "$$found" ] || $(MAKE) --no-print-directory --keep-going -j$(AT_ONCE) --output-sync=target \
	  $$(printf ' test-on-%s' $$found)

test-on-%: .venv-%/installed
	.venv-$*/bin/python -m pytest $(ARGS)

clean: ## Remove everything that was made
	rm -rf .venv .venv-* build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/installed: pyproject.toml constraints.txt
	@eval "$$FUNCTIONS"; python=$$(pick_python "$(PYTHON)") && make_venv .venv "$$python"

# Not one that make may throw away because nothing names it.
.PRECIOUS: .venv-%/installed

.venv-%/installed: pyproject.toml constraints.txt
	@eval "$$FUNCTIONS"; make_venv ".venv-$*" "$$(find_python $*)"

.venv/installed-%: .venv/installed
	@echo "adding what make $* needs to .venv" >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
