#!/bin/sh
# Measures how much of the code the tests reach, except the slow ones: R by covr, Python by coverage. Prints a table of
# the files that are not reached in full, and one line for each language. Leaves its data in build/coverage.
#
# Python that R starts is counted with Python's tests only, and R's code with R's tests only.
set -eu
cd "$(dirname "$0")/.."
: "${VENV:=.venv}"

rm -rf build/coverage
mkdir -p build/coverage/data
status=0

"$VENV/bin/python" -m coverage run -m pytest -q -m "not slow" || status=$?
"$VENV/bin/python" -m coverage combine --quiet
"$VENV/bin/python" -m coverage report | tee build/coverage/python.txt

# covr installs what it is given, so it is given a copy without the environments.
tools/build.sh --no-build-vignettes > build/coverage/build.log 2>&1
Rscript tools/coverage.R build/source | tee build/coverage/r.txt || status=$?

echo
grep '^TOTAL' build/coverage/python.txt | sed 's/^TOTAL.* \([0-9.]*%\)$/Python: \1 of lines and branches/'
grep '^R: ' build/coverage/r.txt
exit "$status"
