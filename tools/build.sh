#!/bin/sh
# Packs the R package: build/syfr_VERSION.tar.gz. Arguments go to R CMD build.
#
# R CMD build copies the whole folder before it looks at .Rbuildignore, so it is given a copy
# without the environments, which are thousands of times larger than the package.
set -eu
cd "$(dirname "$0")/.."

rm -rf build/source build/syfr_*.tar.gz
mkdir -p build/source
tar -c --exclude=./.git --exclude=./.venv --exclude=./.rlib --exclude=./build --exclude=__pycache__ \
  --exclude='.*_cache' --exclude="./${VENV:-.venv}" . | tar -x -C build/source
cd build
# The vignettes are built from stored results; the slow tests run them for real.
export SYFR_VIGNETTES=false
R CMD build "$@" source
