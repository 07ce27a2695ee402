# `make demo` and `make test` are for everybody; both first install what is missing. `make help` lists the rest.

# The Python to make the virtual environment from; it needs a shared libpython, which the distribution's has.
PYTHON ?= /usr/bin/python3
# The virtual environment, and the R library that the package is installed to. Nothing else of the user's is touched.
VENV ?= .venv
RLIB ?= .rlib
# The Debian release of `make test-fresh`.
SUITE ?= bookworm

export PYTHON VENV RLIB
export RETICULATE_PYTHON := $(abspath $(VENV))/bin/python
export R_LIBS := $(abspath $(RLIB))$(if $(R_LIBS),:$(R_LIBS))
export LANG ?= C.UTF-8

# A full copy of MNIST beside the checkout, where there is one; the checks at full size skip without it.
mnist := $(wildcard ../shared/data/mnist.npz)
ifneq ($(mnist),)
export SYFR_MNIST ?= $(abspath $(mnist))
endif

python := $(RETICULATE_PYTHON)
installed := $(RLIB)/syfr/DESCRIPTION
# With their folders, whose time changes when a file goes.
package_files := $(shell find DESCRIPTION NAMESPACE R man inst vignettes -not -path '*/__pycache__*' 2>/dev/null)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-run setup-test setup-slow setup-dev setup-bench install demo test test-r test-python \
  test-slow test-slow-r test-slow-python layer-table check coverage lint lint-python lint-types lint-r lint-shell docs \
  test-fresh bench bench-large bench-peers faults clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: setup-test ## install what demo and test need (the others install what they lack)
setup-run setup-test setup-slow setup-dev: setup-%:
	@tools/setup-system.sh $*
	@tools/setup-python.sh $*

install: $(installed) ## install the R package into the library .rlib of the checkout
$(installed): $(package_files) | setup-run
	@tools/install.sh

demo: setup-run install ## share, serve and query a model: three workers, two R sessions
	@Rscript inst/examples/demo.R

test: test-r test-python ## run the tests of R and Python, except the slow ones
test-r: setup-test install
	@Rscript tools/run-testthat.R
test-python: setup-test
	@$(python) -m pytest -m "not slow"

test-slow: test-slow-r test-slow-python ## run the slow tests too
test-slow-r: setup-slow install
	@SYFR_SLOW_TESTS=true Rscript tools/run-testthat.R
test-slow-python: setup-slow install
	@$(python) -m pytest -m slow

layer-table: setup-test ## measure every layer anew and write inst/extdata/layers.csv
	@SYFR_LAYER_TABLE=write $(python) -m pytest -q tests/python/test_layers.py

faults: setup-test ## cause every fault, the slow ones too, and write the table of what came of it
	@rm -rf build/faults && mkdir -p build/faults
	@SYFR_FAULTS=$(abspath build/faults) $(python) -m pytest -m fault
	@$(python) tools/faults.py build/faults

check: setup-dev ## build the R package and run R CMD check --as-cran on it
	@tools/build.sh
	@tools/check.sh

lint: lint-python lint-types lint-r lint-shell ## ruff, mypy, lintr, shellcheck (all of them with make -k)
lint-python: setup-dev
	@$(python) -m ruff check .
lint-types: setup-dev
	@$(python) -m mypy
lint-r: setup-dev install
	@Rscript -e 'lints <- lintr::lint_package(); print(lints); quit(status = length(lints) > 0)'
lint-shell: setup-dev
	@shellcheck .ci/run tools/*.sh

coverage: setup-dev install ## measure how much of R and Python the tests reach (the slow ones left out)
	@tools/coverage.sh

docs: setup-dev ## write NAMESPACE and man/ from the comments in R/
	@Rscript -e 'roxygen2::roxygenise()'

test-fresh: ## demo and test on a fresh Debian in a chroot; needs root (SUITE=bookworm or trixie)
	@tools/test-fresh.sh $(SUITE)

bench: setup-bench ## measure latency, throughput, bytes, memory and growth (some minutes; BENCH="--quick" is shorter)
	@PYTHONPATH=inst/python $(python) -m bench.run $(BENCH)

bench-large: setup-bench ## measure networks of real size: time, bytes and memory by step (some minutes)
	@PYTHONPATH=inst/python $(python) -m bench.large $(BENCH)

bench-peers: setup-bench ## measure SecretFlow SPU on the same models, where it installs
	@PYTHONPATH=inst/python $(python) -m bench.peers $(BENCH)

setup-bench: setup-run
	@$(python) -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt

clean: ## remove what make has made, also the virtual environment .venv
	rm -rf .venv .rlib build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find inst tests -name __pycache__ -prune -exec rm -rf {} +
