"""Shares at rest: what a worker that was started by hand keeps on its disk, so that it survives a restart.

For each model there is a file with what the owner sent, and a small one with how much of what the owner opened is used:

    state.key         the key, from the operating system's generator, readable by its user alone
    NUMBER.share      number: the model's
    NUMBER.serving

A share is written whole and put in its place. The counters change with every query, and are written over the old ones,
which takes microseconds: a worker that is killed leaves the old or the new ones, and what a power failure may have
mixed is refused, and serving closed.

A file is a fixed line, a salt, and AES-GCM under a key of its own, derived from key and salt; before the counters
stands their length. It is encrypted in chunks whose nonces count and mark the last one (STREAM: Hoang, Reyhanitabar,
Rogaway, Vizar, CRYPTO 2015), since AES-GCM takes no more than 2 GiB at a time; what is authenticated with each names
format, kind, role, cluster and model. So a file that was changed, cut, renamed, or written by another worker or for
another cluster is refused. An older version of the same file is not: who can write to the disk can bring back used
requests at this worker, but not at the other two.

No mask of a query, key of a link, or session is kept: after a restart they are all new.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syfr.directories import overwrite_private, replace_private
from syfr.errors import CredentialsError, ProtocolError, WorkerError
from syfr.link import PREFIX, Frame, decode
from syfr.ring.streams import derive_key
from syfr.trust.identity import check_private

log = logging.getLogger("syfr.party")

FORMAT = b"syfr state 1\n"
KEY_FILE = "state.key"
SECRET_BYTES = 32
SALT_BYTES = 32
TAG_BYTES = 16
CHUNK = 1 << 26
LENGTH = struct.Struct("<I")

_SHARE = re.compile(r"([0-9a-f]{32})\.share")


class StateDirectory:
    """The state directory of one worker.

    Args:
        directory: made by :meth:`make`, or when something is first kept; it can serve one role of one cluster at a
            time.
        role, cluster: whose files they are: "server0", and the cluster's id.

    Raises:
        CredentialsError: the key file is damaged, or others may read it.
    """

    def __init__(self, directory: Path, role: str, cluster: str) -> None:
        self.directory = directory
        self._owner = f"{role} {cluster}"
        self._secret = self._read_secret()

    def __repr__(self) -> str:
        return f"StateDirectory({str(self.directory)!r}, key=<REDACTED>)"

    def _read_secret(self) -> bytes | None:
        path = self.directory / KEY_FILE
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CredentialsError(
                f"The key {path} cannot be read: {error.strerror or error}. Start the worker with another --state-dir."
            ) from error
        check_private(path)
        if len(secret) != SECRET_BYTES:
            raise CredentialsError(
                f"{path} is not a key. Restore it, or delete the directory and share the models again."
            )
        return secret

    def make(self) -> None:
        """Make the directory if it is not there; raises WorkerError when nothing can be kept in it."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            raise WorkerError(
                f"Shares cannot be kept in {self.directory}: {error.strerror or error}. "
                "Make it a directory that the worker can write to, or start the worker with another `state_dir`."
            ) from error

    def _make_secret(self) -> bytes:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = os.urandom(SECRET_BYTES)
        replace_private(self.directory / KEY_FILE, secret, durable=True)
        check_private(self.directory / KEY_FILE)
        return secret

    # ---- writing ----

    def keep_share(self, number: str, share: Frame) -> None:
        """Keep what the owner sent for a model; raises WorkerError when the disk does not take it."""
        sealed, path = self._seal(number, "share", share.encode()), self._path(number, "share")
        with self._reporting():
            replace_private(path, sealed, durable=True)

    def keep_serving(self, number: str, fields: dict[str, Any]) -> None:
        """Keep the counters of a model; raises WorkerError. Every query does, so it does not wait for the disk."""
        sealed = self._seal(number, "serving", msgpack.packb(fields, use_bin_type=True))
        with self._reporting():
            overwrite_private(self._path(number, "serving"), LENGTH.pack(len(sealed)) + sealed)

    def _seal(self, number: str, kind: str, plain: bytes) -> bytes:
        with self._reporting():
            self._secret = self._secret or self._make_secret()
        return seal(self._secret, self._about(number, kind), plain)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkerError(
                f"The state of a model cannot be kept in {self.directory}: {error.strerror or error}. "
                "Make room there, or start the worker with another --state-dir."
            ) from error

    def delete(self, number: str) -> None:
        """Delete what is kept of a model; raises WorkerError when it cannot be."""
        try:
            for kind in ("share", "serving"):
                self._path(number, kind).unlink(missing_ok=True)
        except OSError as error:
            raise WorkerError(
                f"The share in {self._path(number, 'share')} cannot be deleted: {error.strerror or error}. "
                "Delete it there."
            ) from error

    # ---- reading ----

    def load(self) -> Iterator[tuple[str, Frame, object]]:
        """Number, share and counters (or None) of every model. What cannot be used is logged and left alone."""
        for unfinished in self.directory.glob(".*.new"):
            with contextlib.suppress(OSError):
                unfinished.unlink()
        for path in sorted(self.directory.glob("*.share")):
            named = _SHARE.fullmatch(path.name)
            share = self._read(named[1], "share") if named else None
            if named and share is not None:
                counters = self._read(named[1], "serving")
                yield named[1], _frame(share), None if counters is None else msgpack.unpackb(counters, raw=False)

    def _read(self, number: str, kind: str) -> bytes | None:
        path = self._path(number, kind)
        try:
            if self._secret is None:
                raise ProtocolError(f"its key {KEY_FILE} is gone")
            sealed = path.read_bytes()
            if kind == "serving":  # what follows is of older and longer ones
                sealed = sealed[LENGTH.size : LENGTH.size + int.from_bytes(sealed[: LENGTH.size], "little")]
            return unseal(self._secret, self._about(number, kind), sealed)
        except FileNotFoundError:
            return None
        except (OSError, ProtocolError) as error:
            log.warning("leaves %s alone: %s", path, getattr(error, "strerror", None) or error)
            return None

    def _about(self, number: str, kind: str) -> bytes:
        return FORMAT + f"{kind} {self._owner} {number}".encode()

    def _path(self, number: str, kind: str) -> Path:
        return self.directory / f"{number}.{kind}"


def _frame(plain: bytes) -> Frame:
    header, _ = PREFIX.unpack_from(plain)
    start = PREFIX.size + header
    return decode(memoryview(plain)[PREFIX.size : start], bytearray(memoryview(plain)[start:]))


def seal(secret: bytes, about: bytes, plain: bytes) -> bytes:
    """The content of a file: encrypted, and bound to ``about``."""
    salt = os.urandom(SALT_BYTES)
    cipher = AESGCM(derive_key(secret, b"state" + salt))
    chunks = _split(plain, CHUNK)
    return b"".join([FORMAT, salt, *(cipher.encrypt(nonce, chunk, about) for nonce, chunk in chunks)])


def unseal(secret: bytes, about: bytes, sealed: bytes) -> bytes:
    """What was sealed; raises ProtocolError when any of it is not as it was."""
    start = len(FORMAT) + SALT_BYTES
    if not sealed.startswith(FORMAT) or len(sealed) < start + TAG_BYTES:
        raise ProtocolError("it is not of this format")
    cipher = AESGCM(derive_key(secret, b"state" + sealed[len(FORMAT) : start]))
    chunks = _split(memoryview(sealed)[start:], CHUNK + TAG_BYTES)
    try:
        return b"".join(cipher.decrypt(nonce, chunk, about) for nonce, chunk in chunks)
    except (InvalidTag, ValueError):
        raise ProtocolError("it is damaged, or of another key, worker, cluster or model") from None


def _split(data: bytes | memoryview, size: int) -> Sequence[tuple[bytes, memoryview]]:
    """The chunks of some data, at least one, each with its nonce."""
    view = memoryview(data)
    starts = range(0, max(1, len(view)), size)
    return [
        (place.to_bytes(11, "big") + bytes([start == starts[-1]]), view[start : start + size])
        for place, start in enumerate(starts)
    ]
