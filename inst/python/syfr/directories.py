"""Where syfr keeps files of its user, and how it writes there: privately, whole, and one session at a time.

The places are those of R's ``tools::R_user_dir("syfr")``, so that R and Python find the same files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import ipaddress
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from syfr.errors import CredentialsError, DeadlineError, InputTypeError

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def data_directory() -> Path:
    """The directory for what must last: ``tools::R_user_dir("syfr", "data")``, or SYFR_HOME if it is set."""
    home = os.environ.get("SYFR_HOME")
    return Path(home).expanduser() if home else _r_user_directory("data")


def cache_directory() -> Path:
    """The directory for what can be made again: ``R_user_dir("syfr", "cache")``, or SYFR_HOME/cache."""
    home = os.environ.get("SYFR_HOME")
    return Path(home).expanduser() / "cache" if home else _r_user_directory("cache")


def _r_user_directory(which: str) -> Path:
    """R's rule, in its order: R_USER_*_DIR, XDG_*_HOME, then the custom of the system; below it R/syfr."""
    base = os.environ.get(f"R_USER_{which.upper()}_DIR") or os.environ.get(f"XDG_{which.upper()}_HOME")
    if base:
        return Path(base).expanduser() / "R" / "syfr"
    return _system_directory(which) / "R" / "syfr"


def _system_directory(which: str) -> Path:
    home = Path.home()
    if sys.platform == "win32":
        variable, usual = ("APPDATA", "Roaming") if which == "data" else ("LOCALAPPDATA", "Local")
        return Path(os.environ.get(variable) or home / "AppData" / usual) / "R" / which
    if sys.platform == "darwin":
        library = home / "Library" / ("Application Support" if which == "data" else "Caches")
        return library / "org.R-project.R"
    return home / (".local/share" if which == "data" else ".cache")


def split_address(address: str) -> tuple[str, int | None]:
    """Host (lower case, without brackets) and port, if any, of "host", "host:port", "[::1]:port" or "::1"."""
    text = address.strip().lower()
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?", text)
    plain = re.fullmatch(r"([^:]+)(?::([0-9]{1,5}))?", text)
    found = bracketed or plain
    host, port = (found[1], found[2]) if found else (text, None)
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        host = host.rstrip(".")
        if not _HOST.fullmatch(host):
            raise InputTypeError(
                f"The address {address!r} is not of the form host:port. Write it like 'localhost:4000'."
            ) from None
    if port is not None and not 0 < int(port) < 65536:
        raise InputTypeError(f"The address {address!r} has no valid port. Choose one from 1 to 65535.")
    return host, None if port is None else int(port)


def cluster_directory(addresses: Sequence[str]) -> Path:
    """The directory of a cluster's credentials, the same for each session that names the same addresses.

    The addresses are those of server0, server1 and server2; the ways to write the loopback host count as one.
    """
    if isinstance(addresses, str) or len(addresses) != 3:
        raise InputTypeError("A cluster has three workers. Give the addresses of all three.")
    normal = []
    for address in addresses:
        host, port = split_address(address)
        if port is None:
            raise InputTypeError(f"The address {address!r} has no port. Write it like '{host}:4000'.")
        normal.append(f"{'localhost' if host in _LOOPBACK else host}:{port}")
    # The readable part may be cut and loses characters; the hash tells clusters apart.
    readable = re.sub(r"[^a-z0-9.]+", "-", "_".join(normal))[:80].strip(".-")
    digest = hashlib.sha256("\n".join(normal).encode()).hexdigest()[:16]
    return data_directory() / "clusters" / f"{readable}-{digest}"


def state_directory(addresses: Sequence[str], role: str) -> Path:
    """The directory in which a worker of a cluster keeps its shares.

    It lies apart from the cluster's credentials, which are replaced as a whole when they expire.
    """
    return data_directory() / "state" / cluster_directory(addresses).name / role


def write_private(path: Path, content: bytes, durable: bool = False) -> None:
    """Make a new file that only its user can read, not even for a moment with wider permissions.

    A ``durable`` one is on the disk afterwards, and not only on its way there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def replace_private(path: Path, content: bytes, durable: bool = False) -> None:
    """Put a private file in the place of another, so that a reader sees the old or the new one, whole."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        write_private(fresh, content, durable)
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def overwrite_private(path: Path, content: bytes) -> None:
    """Write over the beginning of a private file, which is made if it is not there; what was longer is left behind.

    Much cheaper than replacing it, since nothing waits for the disk. The content must tell its own length.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path, timeout: float = 30.0) -> Iterator[None]:
    """Hold the lock beside ``directory`` while changing it; an OSError inside becomes a CredentialsError.

    The lock belongs to the open file, so that it goes with a process that is killed.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = directory.with_name(f".{directory.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + timeout
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"Another session has held {lock} for {timeout:g} s. End that session and try again."
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CredentialsError(
            f"Credentials in {directory} cannot be written: {error.strerror or error}. "
            "Choose a directory that you can write to, or make this one writable."
        ) from error


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def remove(path: Path) -> None:
    """Delete a file, or a directory with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
