#!/bin/bash
# Does the two commands of the README work on a fresh Debian? Builds one in a chroot and tries the committed tree there.
# usage: tools/test-fresh.sh bookworm|trixie
#
# The chroot holds Debian's smallest system with git and make, and an ordinary user without sudo. This machine lends
# only what is needed to reach the package registries as it does itself: certificates, apt and pip settings, proxies.
# All mounts live in a mount namespace of their own and vanish with it, however the script ends.
#
# Needs root. On a machine that cannot do it the script fails, except under CI=true, where it says why and leaves.
# shellcheck disable=SC1091,SC2016,SC2317 # /etc/os-release is read; single quotes are for others to expand; traps call
set -euo pipefail

suite=${1:-}
checkout=$(cd "$(dirname "$0")/.." && pwd)
home=/home/visitor

cannot() {
  echo "Fresh Debian not tested: $1"
  if [ "${CI:-}" = true ]; then exit 0; else exit 1; fi
}

# The mirror that this machine itself takes Debian from; without one, debootstrap's own.
debian_mirror() {
  local release
  release=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || return 0
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }'
}

# Directories of packages that pip's settings name; an index ("file://...") often refers to its neighbours.
pip_directories() {
  { cat "${pip_settings[@]}" 2>/dev/null; printenv PIP_FIND_LINKS PIP_EXTRA_INDEX_URL; } |
    grep -oE '(file://)?/[^[:space:]]+' | while read -r place; do
      case $place in
        file://*) place=$(dirname "${place#file://}") ;;
      esac
      if [ -d "$place" ] && [ "$place" != / ]; then echo "$place"; fi
    done | sort -u
}

pip_settings=(/etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf")

# Lets the chroot reach the registries as this machine does. Settings are copied and never shown.
lend_settings() {
  local file variable directory
  cp -L /etc/resolv.conf /etc/hosts "$chroot/etc/"

  apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' > "$chroot/etc/apt/apt.conf.d/90lent" || true
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    cp /usr/local/share/ca-certificates/*.crt "$chroot/usr/local/share/ca-certificates/"
    chroot "$chroot" update-ca-certificates >/dev/null
  fi
  for file in "${pip_settings[@]}"; do
    if [ -e "$file" ]; then
      case $file in
        "$HOME"/*)
          install -D -m 644 "$file" "$chroot/root/${file#"$HOME"/}"
          install -D -m 644 "$file" "$chroot$home/${file#"$HOME"/}"
          ;;
        *) install -D -m 644 "$file" "$chroot$file" ;;
      esac
    fi
  done
  for directory in $(pip_directories); do
    mkdir -p "$chroot$directory"
    mount --bind -o ro "$directory" "$chroot$directory"
  done

  lent=()
  for variable in $(compgen -e); do
    case $variable in
      http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY | PIP_*) ;;
      SSL_CERT_FILE | SSL_CERT_DIR | REQUESTS_CA_BUNDLE) ;;
      *) continue ;;
    esac
    lent+=("$variable=${!variable}")
    if [ -f "${!variable}" ]; then install -D -m 644 "${!variable}" "$chroot${!variable}"; fi
  done
  if [ -f "${SYFR_MNIST:-}" ]; then
    cp "$SYFR_MNIST" "$chroot/srv/mnist.npz"
    lent+=(SYFR_MNIST=/srv/mnist.npz)
  fi
}

# inside USER HOME COMMAND...: run a command in the checkout of the chroot, with an environment of its own.
inside() {
  local user=$1 where=$2
  shift 2
  chroot --userspec="$user:$user" "$chroot" env -i "${lent[@]}" HOME="$where" USER="$user" CI="${CI:-}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c 'cd "$0" && exec "$@"' "$home/syfr" "$@"
}

step() { printf '\n--- %s (%s, %d s)\n' "$1" "$suite" "$SECONDS"; }

# Runs in the mount namespace, with the directory of the chroot as argument.
try_it() {
  chroot=$1
  step "Debian $suite with git and make"
  # shellcheck disable=SC2046 # no mirror is no argument
  debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$chroot" $(debian_mirror) \
    > "$chroot.log" 2>&1 || { tail -n 20 "$chroot.log"; exit 1; }
  mount -t proc proc "$chroot/proc"
  mount --rbind /dev "$chroot/dev"
  mount -t tmpfs tmpfs "$chroot/dev/shm"
  chroot "$chroot" useradd --create-home visitor
  lend_settings
  mkdir "$chroot$home/syfr"
  git -c safe.directory='*' -C "$checkout" archive HEAD | tar -x -C "$chroot$home/syfr"
  chroot "$chroot" chown -R visitor:visitor "$home"

  step "make demo as a user without sudo: names the command to run"
  local said command
  if said=$(inside visitor "$home" make demo 2>&1); then
    echo "make demo went on without R: $said"
    exit 1
  fi
  command=$(grep -E '^ +apt-get update && apt-get install' <<< "$said") || { echo "$said"; exit 1; }
  echo "$command"

  step "that command as root"
  inside root /root sh -c "$command" > "$chroot.log" 2>&1 || { tail -n 20 "$chroot.log"; exit 1; }

  step "make demo"
  inside visitor "$home" make demo
  step "make demo again"
  inside visitor "$home" make demo
  step "make test, as root, who installs what the tests need"
  inside root /root make -k test
  step "make demo and make test work on this Debian"
}

if [ "$suite" = --inside ]; then
  suite=$2
  try_it "$3"
  exit
fi

case $suite in
  bookworm | trixie) ;;
  *) echo "usage: tools/test-fresh.sh bookworm|trixie" >&2; exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || cannot "a chroot needs root. Run: sudo make test-fresh SUITE=$suite"
command -v apt-get >/dev/null || cannot "the chroot is built with Debian's tools, and there is no apt-get here."
unshare --mount --pid --fork mount -t tmpfs tmpfs /mnt 2>/dev/null || cannot "this machine does not permit mounts."
if ! command -v debootstrap >/dev/null; then
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends debootstrap >/dev/null
fi

child=""
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/syfr-fresh.XXXXXX")
clean_up() {
  if [ -n "$child" ]; then kill -KILL "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; fi
  rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
trap 'exit 143' INT TERM HUP

mkdir "$scratch/debian"
# In the background, so that a signal to this script is heard at once. unshare ignores all signals but KILL, and takes
# everything in its namespace with it.
unshare --mount --pid --fork --kill-child "$0" --inside "$suite" "$scratch/debian" </dev/null &
child=$!
status=0
wait "$child" || status=$?
child=""
exit "$status"
