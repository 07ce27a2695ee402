#!/bin/sh
# Installs the R package from a packed copy into the library RLIB, as CRAN would; quiet unless it fails.
set -eu
cd "$(dirname "$0")/.."
: "${RLIB:=.rlib}"

echo "Installing the R package into $RLIB"
mkdir -p build "$RLIB"
if ! { tools/build.sh --no-build-vignettes && R CMD INSTALL --library="$RLIB" build/syfr_*.tar.gz; } \
    > build/install.log 2>&1; then
  cat build/install.log
  exit 1
fi
