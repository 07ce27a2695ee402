"""Three workers as one cluster: described without touching anything, then started, attached to, looked at, stopped."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from syfr.directories import cluster_directory, remove, split_address
from syfr.errors import CredentialsError, InputTypeError, NotReadyError, SyfrError
from syfr.face.again import Patience
from syfr.face.arguments import count_argument, path_argument, seconds_argument
from syfr.face.managed import ManagedWorker, log_file, read_log
from syfr.face.progress import nothing, show
from syfr.face.remote import Arrays, Remote
from syfr.face.starting import CONFIG, Start, explaining, own_workers, run_directory, write_config
from syfr.face.tasks import Emit, Steps, Task, together
from syfr.hosts import complete_addresses, free_ports, is_free, is_local
from syfr.trust.credentials import Credentials, create_credentials, ensure_credentials
from syfr.trust.identity import SERVERS, Bundle

REPEATABLE = {"hello", "status", "serve", "pause", "drop", "trace"}
"""Calls that do the same when they are made twice, so that they can be made again after a connection was lost."""

STATUS_SECONDS = 5.0
START_SECONDS = 60.0
MANUAL_SECONDS = 3600.0
"""How long starting waits by default: for processes, and for people who start workers by hand."""


class Described(Protocol):
    """What a cluster must know of a worker."""

    @property
    def host(self) -> str | None:
        """Its address, or None for a free port of this machine."""

    @property
    def auto_managed(self) -> bool:
        """Whether the session that starts the cluster starts the worker too."""


class TFECluster:
    """A description of three workers: server0, server1 and server2, the dealer.

    Describing starts, owns and ends nothing; a client describes a cluster as its owner does.

    Args:
        server0, server1, server2: a :class:`syfr.TFEWorker` each. server2 may be named ``crypto_provider``.
        credentials: the directory of the cluster's credentials; by default one that follows from the addresses.

    Attributes:
        restarts: how often a worker of this session was found dead and started again, without the shares it had.
    """

    def __init__(
        self,
        server0: Described,
        server1: Described,
        server2: Described | None = None,
        *,
        crypto_provider: Described | None = None,
        credentials: str | Path | None = None,
    ) -> None:
        if server2 is not None and crypto_provider is not None:
            raise InputTypeError("server2 and crypto_provider name the same worker. Give one of them.")
        workers: dict[str, Described] = {}
        for role, worker in zip(SERVERS, (server0, server1, server2 or crypto_provider), strict=True):
            if worker is None or not hasattr(worker, "host") or not hasattr(worker, "auto_managed"):
                raise InputTypeError(f"{role} is not a worker. Give three workers made by TFEWorker().")
            workers[role] = worker
        self.workers = tuple(workers.values())
        self._auto_managed = frozenset(role for role, worker in workers.items() if worker.auto_managed)
        self._addresses = complete_addresses(SERVERS, [worker.host for worker in self.workers])
        self._given = None if credentials is None else path_argument(credentials, "credentials")
        self._passing = self._given is None and None in self._addresses.values()
        self._managed: dict[str, ManagedWorker] = {}
        self._remotes: dict[str, Remote] = {}
        self._library_path: str | None = None
        self.restarts = 0

    def __repr__(self) -> str:
        chosen = (f"{role}={address or 'a free local port'}" for role, address in self._addresses.items())
        return f"TFECluster({', '.join(chosen)})"

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses by role. Workers without one get free ports of this machine when first asked for."""
        missing = [role for role, address in self._addresses.items() if address is None]
        self._addresses.update(zip(missing, (f"localhost:{port}" for port in free_ports(len(missing))), strict=True))
        return {role: str(address) for role, address in self._addresses.items()}

    @property
    def directory(self) -> Path:
        """The directory of the cluster's credentials."""
        return self._given or cluster_directory(list(self.addresses.values()))

    @property
    def started(self) -> bool:
        """Whether this description was started and not stopped since."""
        return bool(self._remotes)

    # ---- starting ----

    def start(self, timeout: float | None = None) -> None:
        """Start the managed workers and wait for all three; a running cluster of this user is attached to.

        Args:
            timeout: seconds; by default 60, or an hour when some workers are started by hand.
        """
        self.starting(timeout).wait(progress=show)

    def starting(self, timeout: float | None = None, library_path: str | None = None) -> Task[None]:
        """As :meth:`start`. Events: "worker_starting", "manual_command", "worker_ready".

        Raises:
            InputTypeError: at once, when a managed worker is not on this machine.
            PortInUseError: something else listens at the address of a managed worker.
            UnreachableError: workers to start by hand did not answer in time; the message names them.
        """
        seconds = None if timeout is None else seconds_argument(timeout)
        self.check_hosts()
        return Task(lambda emit: self.start_steps(emit, seconds, library_path))

    def check_hosts(self) -> None:
        """Raise InputTypeError when a managed worker is on another machine."""
        for role, address in self.addresses.items():
            host, _ = split_address(address)
            if role in self._auto_managed and not is_local(host):
                raise InputTypeError(
                    f"{role} at {address} is not on this machine, so it cannot be started from here. "
                    "Describe it as not auto_managed, and start it there with the command that is then shown."
                )

    def start_steps(self, emit: Emit, timeout: float | None = None, library_path: str | None = None) -> Steps[None]:
        """The work of :meth:`starting`."""
        self.check_hosts()
        if timeout is None:
            timeout = START_SECONDS if self._auto_managed == set(SERVERS) else MANUAL_SECONDS
        addresses, directory = self.addresses, self.directory
        if self._passing and not directory.exists():
            weakref.finalize(self, _remove, directory)
        bundle = self._make_credentials(directory).bundle("owner")
        write_config(addresses, directory)
        start = Start(
            addresses,
            self._auto_managed,
            directory,
            usual=self._given is None,
            bundle=bundle,
            emit=emit,
            deadline=time.monotonic() + timeout,
            library_path=library_path,
            remove=_passing(directory) if self._passing else (),
        )
        remotes = yield from start.running()
        self._close_remotes()
        self._remotes, self._managed, self._library_path = remotes, start.workers, library_path

    def reviving(self, emit: Emit) -> Steps[None]:
        """Start the workers of this session again that have ended. Events: "worker_ended", and those of starting."""
        ended = [worker for worker in self._managed.values() if not worker.running]
        if ended:
            for worker in ended:
                emit("worker_ended", worker=worker.role, address=worker.address, reason=str(worker.ended()))
            self.restarts += 1
            yield from self.start_steps(emit, START_SECONDS, self._library_path)

    def _make_credentials(self, directory: Path) -> Credentials:
        hosts = self.addresses
        if (directory / "owner").is_dir() and (self._given is not None or not (directory / "authority").exists()):
            return Credentials(directory)  # made before, perhaps on another machine
        if self._given is None and all(is_local(split_address(address)[0]) for address in hosts.values()):
            return ensure_credentials(directory, hosts)
        return create_credentials(directory, hosts)

    # ---- the owner's connections ----

    def owner_bundle(self) -> Bundle:
        """The owner's credentials."""
        directory = self.directory / "owner"
        if not directory.is_dir():
            hosts = self.addresses.values()
            remedy = "If you are the owner, describe the cluster with the folder that holds them as `credentials`."
            if self._given is None and self._auto_managed == set(SERVERS) and all(map(is_free, hosts)):
                remedy = "Start the cluster first; that makes them."
            raise CredentialsError(
                f"There are no owner's credentials for the cluster at {', '.join(hosts)} here, "
                f"and only its owner may ask this. {remedy}"
            )
        return Bundle.load(directory)

    def connections(self, deadline: float) -> Steps[dict[str, Remote]]:
        """The owner's open connections to the three workers, set up anew where they were lost."""
        for role, address in self.addresses.items():
            remote = self._remotes.get(role)
            with contextlib.suppress(SyfrError):
                if remote is not None:
                    remote.read()
            if remote is None or not remote.open:
                fresh = Remote(role, address, self.owner_bundle())
                yield from fresh.connecting(deadline)
                self._remotes[role] = fresh
        return dict(self._remotes)

    def ask_all(
        self,
        call: str,
        deadline: float,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        arrays: Mapping[str, Arrays] | None = None,
        emit: Emit = nothing,
        **same: Any,
    ) -> Steps[dict[str, dict[str, Any]]]:
        """Ask all three workers at once; ``fields`` and ``arrays`` differ by role, ``same`` are for all.

        A worker of this session that has ended is started again first. A connection that was lost is set up again,
        and what can be asked twice is asked again; not when a worker was started again that has lost its shares.
        """
        patience, restarts = Patience(deadline), self.restarts
        while True:
            try:
                yield from self.reviving(emit)
                remotes = yield from self.connections(deadline)
                requests = [
                    remote.asking(call, deadline, (arrays or {}).get(role, ()), **same, **(fields or {}).get(role, {}))
                    for role, remote in remotes.items()
                ]
                replies = yield from together(requests)
                return dict(zip(remotes, replies, strict=True))
            except SyfrError as error:
                reason = yield from explaining(error, self._managed)
                lost = isinstance(error, NotReadyError) and self.restarts > restarts
                if lost or call not in REPEATABLE or not self.started or not patience.lasts(error):
                    raise reason from error
            yield from patience.waiting()

    def tell(self, call: str, **fields: object) -> None:
        """Ask all three workers without waiting for them."""
        for remote in self._remotes.values():
            remote.tell(call, **fields)

    # ---- looking ----

    def status(self, timeout: float = STATUS_SECONDS) -> list[dict[str, Any]]:
        """One dictionary for each worker: "worker", "address", "running", and what it says of itself."""
        return self.reporting(timeout).wait()

    def reporting(self, timeout: float = STATUS_SECONDS) -> Task[list[dict[str, Any]]]:
        """As :meth:`status`."""
        seconds = seconds_argument(timeout)

        def work(_: Emit) -> Steps[list[dict[str, Any]]]:
            deadline = time.monotonic() + seconds
            bundle = self.owner_bundle()
            return (yield from together([self._report(role, bundle, deadline) for role in self.addresses]))

        return Task(work)

    def _report(self, role: str, bundle: Bundle, deadline: float) -> Steps[dict[str, Any]]:
        address = self.addresses[role]
        known = {"worker": role, "address": address, "ours": role in self._own()}
        remote = Remote(role, address, bundle)
        try:
            yield from remote.connecting(deadline)
            reply = yield from remote.asking("status", deadline)
        except SyfrError as error:
            return {**known, "running": False, "problem": str(error)}
        finally:
            remote.close()
        said = {key: value for key, value in reply.items() if key not in ("id", "ok", "role")}
        for way in ("sent", "received"):  # as real numbers: R cuts whole ones above 2^31
            said[way] = {peer: float(count) for peer, count in reply.get(way, {}).items()}
        return {**known, "running": True, **said}

    def logs(self, lines: int = 100) -> list[dict[str, str]]:
        """The last lines that each managed worker has logged: "worker", "time", "level", "message".

        They are in files of this user until the cluster is stopped. Workers started by hand log where they run.
        """
        count = count_argument(lines, "lines")
        run = self.directory / "run"
        return [
            {"worker": role, "time": "", "level": "", **line}
            for role in self.addresses
            for line in read_log(log_file(run, role), count)
        ]

    def _own(self) -> dict[str, ManagedWorker]:
        """The workers that this session has started, by this description or another one."""
        return {**own_workers(self.addresses), **self._managed}

    # ---- stopping ----

    def stop(self) -> list[dict[str, Any]]:
        """End the workers that this session has started, and say of the others what to stop where."""
        return self.stopping().wait(progress=show)

    def stopping(self) -> Task[list[dict[str, Any]]]:
        """As :meth:`stop`: one dictionary for each worker, with "stopped", and "remedy" when it is left running.

        Events: "worker_stopped", "worker_left". Shares go with the workers.
        """
        return Task(self.stop_steps)

    def stop_steps(self, emit: Emit) -> Steps[list[dict[str, Any]]]:
        """The work of :meth:`stopping`."""
        managed = self._own()
        yield from together([worker.stopping() for worker in managed.values()])
        self._close_remotes()
        self._managed = {}
        report = []
        others = [role for role in self.addresses if role not in managed]
        left = yield from self._left_running(others)
        for role, address in self.addresses.items():
            known: dict[str, Any] = {"worker": role, "address": address}
            if role in left:
                report.append({**known, "stopped": False, "remedy": left[role]})
                emit("worker_left", **known, remedy=left[role])
            else:
                report.append({**known, "stopped": True})
                emit("worker_stopped", **known)
        self._remove_files(managed, everything=not left)
        return report

    def _left_running(self, roles: list[str]) -> Steps[dict[str, str]]:
        """How to end those of the workers that still run though this session did not start them."""
        if not roles or not (self.directory / "owner").is_dir():
            return {}
        bundle, deadline = self.owner_bundle(), time.monotonic() + STATUS_SECONDS
        found = yield from together([self._report(role, bundle, deadline) for role in roles])
        return {report["worker"]: _remedy(report) for report in found if report["running"]}

    def end(self) -> None:
        """End at once what this session has started, without waiting for anything; for finalizers."""
        managed = dict(self._managed)
        for worker in managed.values():
            worker.kill()
        self._close_remotes()
        self._managed = {}
        self._remove_files(managed, everything=True)

    def _close_remotes(self) -> None:
        for remote in self._remotes.values():
            remote.close()
        self._remotes = {}

    def _remove_files(self, managed: Mapping[str, ManagedWorker], everything: bool) -> None:
        for worker in managed.values():
            worker.remove_files()
        if not everything or not managed:
            return
        if self._passing:
            _remove(self.directory)
        else:
            with contextlib.suppress(OSError):
                (run_directory(self.directory) / CONFIG).unlink(missing_ok=True)
                run_directory(self.directory).rmdir()


def _remove(directory: Path) -> None:
    """Remove the directory of a cluster that nobody else can know, and the lock beside it."""
    for path in _passing(directory):
        remove(path)


def _passing(directory: Path) -> tuple[Path, Path]:
    return directory, directory.with_name(f".{directory.name}.lock")


def _remedy(report: Mapping[str, Any]) -> str:
    host, _ = split_address(str(report["address"]))
    where = "this machine" if is_local(host) else host
    if report.get("managed"):
        return f"Another session on {where} has started it (process {report.get('pid')}) and ends it when it ends."
    return f"It was started by hand on {where} (process {report.get('pid')}). Press Ctrl-C there, or end the process."


def cluster_argument(given: tuple[object, ...]) -> TFECluster:
    """A cluster, given as such or as three workers."""
    if len(given) == 1 and isinstance(given[0], TFECluster):
        return given[0]
    workers = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
    if len(workers) != 3:
        raise InputTypeError("A cluster has three workers. Give a cluster made by TFECluster(), or three workers.")
    return TFECluster(*workers)
