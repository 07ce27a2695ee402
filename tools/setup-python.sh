#!/bin/sh
# Makes the virtual environment VENV from the interpreter PYTHON and installs the Python packages of a level.
# usage: VENV=.venv PYTHON=/usr/bin/python3 tools/setup-python.sh run|test|slow|dev
#
# At the level slow, SYFR_TORCH names a version of PyTorch to be installed for the tests that need it. They are skipped
# without: it has some hundred megabytes, and some thousand where only the build for graphics cards is to be had.
#
# A stamp file per level remembers what was asked for and by which interpreter, so that a second run is instant.
# shellcheck disable=SC2086 # the lists of packages and files are meant to be split into words
set -eu
cd "$(dirname "$0")/.."
: "${VENV:=.venv}" "${PYTHON:=/usr/bin/python3}"

files="inst/python/requirements.txt inst/python/requirements-keras.txt"
case "${1:-}" in
  run)  ;;
  test) files="$files tools/requirements-test.txt" ;;
  slow) files="$files tools/requirements-test.txt tools/requirements-browser.txt" ;;
  dev)  files="$files tools/requirements-test.txt tools/requirements-dev.txt" ;;
  *)    echo "usage: tools/setup-python.sh run|test|slow|dev" >&2; exit 2 ;;
esac

# reticulate before 1.38 cannot hand NumPy 2 arrays to R.
reticulate=$(R_DEFAULT_PACKAGES=NULL Rscript -e 'cat(format(utils::packageVersion("reticulate")))')
limit=""
older=$(printf '%s\n1.38\n' "$reticulate" | sort -V | head -n 1)
[ "$older" = 1.38 ] || limit="numpy<2"

stamp="$VENV/.syfr-$1"
wish=$({ readlink -f "$PYTHON"; echo "$limit" "${SYFR_TORCH:-}"; cat "$0" $files; } | sha256sum)
if [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wish" ]; then
  exit 0
fi

"$PYTHON" - "$limit" <<'CHECK'
import sys, sysconfig
if not (3, 10) <= sys.version_info < (3, 14):
    sys.exit(f"syfr needs Python 3.10 to 3.13, and {sys.executable} is {sys.version.split()[0]}. Set PYTHON to another.")
if sys.argv[1] and sys.version_info >= (3, 13):
    sys.exit("Python 3.13 needs NumPy 2, which R's reticulate knows from version 1.38 on. Set PYTHON to an older one.")
if sys.platform == "linux" and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
    sys.exit(f"{sys.executable} was built without a shared libpython, which reticulate needs. Set PYTHON to another.")
CHECK

version() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }
if [ "$(version "$VENV/bin/python")" != "$(version "$PYTHON")" ]; then
  echo "Making the virtual environment $VENV from $PYTHON"
  "$PYTHON" -m venv --clear "$VENV"
fi

echo "Installing Python packages into $VENV (the first time takes some minutes)"
# tensorflow-cpu is TensorFlow at half the size, where it exists; training on MNIST needs no more.
tensorflow="tensorflow"
[ "$(uname -sm)" = "Linux x86_64" ] && tensorflow="tensorflow-cpu"
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
cat $files | sed "s/^tensorflow>/$tensorflow>/" > "$wanted"
[ -z "$limit" ] || echo "$limit" >> "$wanted"
# One command for all of them, so that the limit on NumPy holds for what the others bring.
"$VENV/bin/python" -m pip install -qq --disable-pip-version-check -r "$wanted"
if [ "$1" = slow ] && [ -n "${SYFR_TORCH:-}" ]; then
  "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "torch==$SYFR_TORCH"
fi
if [ "$1" != run ]; then
  # Keras 2, for the tests. It asks for the package tensorflow by name, where tensorflow-cpu does the same.
  "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps 'tf_keras>=2.20'
fi
echo "$wish" > "$stamp"
