#!/bin/sh
# Installs what syfr takes from the distribution (R, R packages, Python) where it is missing.
# usage: tools/setup-system.sh run|test|slow|dev
#
# Which R packages: the fields of DESCRIPTION that the level needs. Debian calls package Foo r-cran-foo.
# shellcheck disable=SC2086 # the lists of packages and files are meant to be split into words
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
  run)  fields="Imports" ;;
  test | slow) fields="Imports Suggests" ;;
  dev)  fields="Imports Suggests Config/Needs/dev" ;;
  *)    echo "usage: tools/setup-system.sh run|test|slow|dev" >&2; exit 2 ;;
esac

# The package names in one field of DESCRIPTION, without versions and without what R itself brings.
field() {
  awk -v field="$1:" '
    /^[^ \t]/ { inside = index($0, field) == 1; if (inside) $0 = substr($0, length(field) + 1) }
    inside    { gsub(/\([^)]*\)/, ""); gsub(/[ \t]/, ""); print }' DESCRIPTION |
    tr ',' '\n' | grep -vxE '|base|compiler|grDevices|graphics|grid|methods|parallel|stats|stats4|tools|utils' || true
}

r_packages=$(for name in $fields; do field "$name"; done)

# libpython3-dev brings the shared libpython that reticulate loads; qpdf, pandoc and tidy serve R CMD check.
wanted="r-base-core python3 python3-venv libpython3-dev"
[ "$1" = dev ] && wanted="$wanted qpdf pandoc tidy shellcheck"
# The browser that the page of sy_draw() is tested in; other distributions have it by other names, or as a snap.
if [ "$1" = slow ] && grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
  wanted="$wanted chromium chromium-driver"
fi
for package in $r_packages; do
  wanted="$wanted r-cran-$(echo "$package" | tr '[:upper:]' '[:lower:]')"
done

# Without apt nothing can be installed here; what R lacks is all that can be told.
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  if ! command -v Rscript >/dev/null; then
    echo "R is not installed, and this script can install it with apt-get only." \
         "Install R 4.2 or newer, then run make again." >&2
    exit 1
  fi
  exec Rscript -e '
    missing <- Filter(function(name) !nzchar(system.file(package = name)), commandArgs(TRUE))
    if (length(missing) > 0) {
      message("These R packages are missing; install them, then run make again: ", toString(missing))
      quit(status = 1)
    }' $r_packages
fi

missing=""
for package in $wanted; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

install="env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
  as_root=""
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  as_root="sudo"
else
  echo "Some packages are missing, and installing them needs the rights of root. Run this as root, then make again:" >&2
  echo "    apt-get update && apt-get install --yes --no-install-recommends$missing" >&2
  exit 1
fi
echo "Installing from the distribution:$missing"
$as_root apt-get update -qq || echo "apt-get update failed; going on with the package lists that are here." >&2
$as_root $install -qq -o Dpkg::Use-Pty=0 >/dev/null
