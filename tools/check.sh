#!/bin/sh
# R CMD check of build/syfr_VERSION.tar.gz as CRAN words it, without a network. Anything but "OK" is a failure.
#
# Left out: the manual as PDF (it needs half a gigabyte of fonts), the clock and CRAN's incoming
# checks (both ask a server), and the packages that are only in Enhances (they are not in Debian).
set -eu
cd "$(dirname "$0")/../build"

export _R_CHECK_SYSTEM_CLOCK_=false
export _R_CHECK_CRAN_INCOMING_=false
export _R_CHECK_PACKAGE_DEPENDS_IGNORE_MISSING_ENHANCES_=true

# As on CRAN, where no Python is.
export SYFR_VIGNETTES=false

R CMD check --as-cran --no-manual syfr_*.tar.gz
if ! grep -q '^Status: OK$' syfr.Rcheck/00check.log; then
  echo "R CMD check: $(grep '^Status:' syfr.Rcheck/00check.log); see build/syfr.Rcheck/00check.log" >&2
  exit 1
fi
