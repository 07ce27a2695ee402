"""The command of one worker: python -m syfr.player --config FILE server0

FILE is JSON: {"server0": "localhost:4000", "server1": "localhost:4001", "server2": "localhost:4002"}. The worker prints
one line of JSON on standard output when it listens, or why it cannot, and logs to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from syfr.directories import cluster_directory, remove, state_directory
from syfr.errors import InputTypeError, SyfrError
from syfr.logs import FORMATS, log_to_standard_error
from syfr.party import kernels
from syfr.party.heap import keep_memory
from syfr.protocol.roles import SERVERS, Role
from syfr.trust.identity import Bundle

if TYPE_CHECKING:
    from syfr.party.service import Worker

log = logging.getLogger("syfr.player")


def read_config(path: Path) -> dict[Role, str]:
    """The addresses of the three workers; raises InputTypeError naming the file."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return {role: str(fields[role.label]) for role in SERVERS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputTypeError(
            f"The cluster file {path} cannot be used ({error}). "
            'It is JSON with an address for "server0", "server1" and "server2".'
        ) from error


def load_worker(
    role: Role,
    addresses: dict[Role, str],
    credentials: Path | None,
    managed: bool,
    state: Path | None,
    listen: str | None = None,
) -> Worker:
    """The worker, listening."""
    hosts = [addresses[server] for server in SERVERS]
    directory = credentials or cluster_directory(hosts) / role.label
    bundle = Bundle.load(directory)
    if bundle.identity.role != role.label:
        raise InputTypeError(f"The credentials in {directory} are of {bundle.identity}, not of {role.label}.")
    with kernels.loading():
        from syfr.party.service import Worker
        from syfr.party.state import StateDirectory
    kept = None if managed else StateDirectory(state or state_directory(hosts, role.label), role.label, bundle.cluster)
    if kept is not None:
        kept.make()  # rather than when the first model is shared, and its owner hears of it
    return Worker(role, addresses, bundle, managed, kept, listen)


class _Wakeup:
    """Ends the worker when a signal arrives."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._signals, self._write = socket.socketpair()
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        worker.reactor.watch(self, read=True, write=False)

    def fileno(self) -> int:
        return self._signals.fileno()

    def ready(self, readable: bool, writable: bool) -> None:
        self._signals.recv(100)
        log.info("finishes what runs, and ends: it was sent a signal")
        self._worker.leave()


PARENT_SECONDS = 0.5


def _end_with_parent(worker: Worker) -> None:
    """End when the process that started this one has ended, however that was: it has another parent then."""
    parent = os.getppid()

    def look() -> None:
        if os.getppid() == parent:
            worker.reactor.after(PARENT_SECONDS, look)
        else:
            log.info("ends with the process that started it")
            worker.leave()

    look()


class _StandardInput:
    def __init__(self, worker: Worker, remove: list[Path]) -> None:
        self._worker, self._remove = worker, remove

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def ready(self, readable: bool, writable: bool) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            log.info("ends with the session that started it")
            for path in self._remove:  # while the port is still ours: nobody has begun anew with files of these names
                remove(path)
            self._worker.stop()


def _say(fields: dict[str, object]) -> None:
    print(json.dumps(fields), flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="syfr-player", description="Run one worker of a syfr cluster.")
    parser.add_argument("role", choices=[role.label for role in SERVERS], help="the part this worker plays")
    parser.add_argument("--config", type=Path, required=True, help="JSON file with the addresses of the three workers")
    parser.add_argument("--credentials", type=Path, help="this worker's bundle; the default is that of a local cluster")
    parser.add_argument("--managed", action="store_true", help="end when standard input is closed, and keep no shares")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen, if not at the address of the config")
    parser.add_argument("--log-format", choices=FORMATS, default=FORMATS[0], help="how to log to standard error")
    parser.add_argument("--metrics", metavar="[HOST:]PORT", help="counters for Prometheus; on loopback without a host")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started it has ended")
    parser.add_argument(
        "--remove", type=Path, action="append", default=[], help="delete this when the session ends, with --managed"
    )
    parser.add_argument("--state-dir", type=Path, help="where shares are kept, encrypted, across restarts")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until it is told to stop; the exit status is 0 then, and 1 when it could not start."""
    options = parse(arguments)
    keep_memory()
    log_to_standard_error(options.role, options.log_format)
    role = next(role for role in SERVERS if role.label == options.role)
    try:
        addresses = read_config(options.config)
        worker = load_worker(
            role, addresses, options.credentials, options.managed, options.state_dir, options.listen
        )
        if options.metrics:
            from syfr.party.metrics import publish

            log.info("metrics on port %d", publish(options.metrics, worker.status))
    except SyfrError as error:
        _say({"error": error.code, "message": str(error)})
        return 1
    _Wakeup(worker)
    if options.managed:
        worker.reactor.watch(_StandardInput(worker, options.remove), read=True, write=False)
    if options.with_parent:
        _end_with_parent(worker)
    _say({"ready": True, "role": role.label, "port": worker.listener.port})
    log.info("listens on port %d", worker.listener.port)
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
