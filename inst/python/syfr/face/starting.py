"""How the three workers of a cluster come up: found running, started here, or started by hand while this waits."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import syfr
from syfr.directories import replace_private, split_address
from syfr.errors import (
    ClosedError,
    CredentialsError,
    DeadlineError,
    PortInUseError,
    ProtocolError,
    SyfrError,
    UnreachableError,
)
from syfr.face.forked import POSSIBLE, Company
from syfr.face.managed import ManagedWorker, alone, player_command, python_executable
from syfr.face.remote import Remote
from syfr.face.tasks import Emit, Steps, pause, together
from syfr.hosts import is_local
from syfr.trust.identity import Bundle

PROBE_SECONDS = 10.0
"""A worker that runs answers within this time; who does not is taken for another program."""

ENDING_SECONDS = 2.0
"""A worker that hangs up may be ending with its session; its port is free after this time."""

END_SECONDS = 0.5
"""A process that closed its connections because it ends is gone within this time."""

LOOK_AGAIN = 0.02
DIAL_AGAIN = 0.25
CONFIG = "cluster.json"

_own: weakref.WeakValueDictionary[str, ManagedWorker] = weakref.WeakValueDictionary()
"""The workers that this session has started, by address: another description of their cluster holds them too."""


def own_workers(addresses: Mapping[str, str]) -> dict[str, ManagedWorker]:
    """Those of these workers, by role, that this session has started and that still run."""
    known = {role: _own.get(address) for role, address in addresses.items()}
    return {role: worker for role, worker in known.items() if worker is not None and worker.running}


@dataclass
class Start:
    """One call of start().

    Attributes:
        addresses: of the three workers, by role.
        managed: the roles that this session may start.
        directory: of the cluster's credentials.
        usual: whether that is the directory in which the workers look by themselves.
        remove: what goes with the session.
        workers: the processes of this session, old and new.
        fresh: the new ones among them.
    """

    addresses: Mapping[str, str]
    managed: frozenset[str]
    directory: Path
    usual: bool
    bundle: Bundle
    emit: Emit
    deadline: float
    library_path: str | None = None
    remove: Sequence[Path] = ()
    workers: dict[str, ManagedWorker] = field(default_factory=dict)
    fresh: list[ManagedWorker] = field(default_factory=list)

    def running(self) -> Steps[dict[str, Remote]]:
        """Open connections to three workers that are linked with each other."""
        try:
            running = yield from together([self._attach(role) for role in self.addresses])
            attached = dict(zip(self.addresses, running, strict=True))
            begun = self._begin([role for role, remote in attached.items() if remote is None and role in self.managed])
            found = yield from together([self._bring_up(role, attached[role], begun) for role in self.addresses])
            self._require_all(found)
            remotes = {remote.role: remote for remote in found if remote is not None}
            yield from self._linked(remotes)
        except BaseException:
            for worker in self.fresh:
                worker.kill()
            raise
        return remotes

    def _bring_up(self, role: str, remote: Remote | None, begun: Mapping[str, ManagedWorker]) -> Steps[Remote | None]:
        """An open connection to one worker; None when it was not started by hand in time."""
        if role in begun:
            remote = yield from self._await_process(role, begun[role])
        elif remote is None:
            remote = yield from self._await_manual(role)
        if remote is not None:
            self.emit("worker_ready", worker=role, address=self.addresses[role])
        return remote

    def _attach(self, role: str) -> Steps[Remote | None]:
        """A connection to the worker if it runs already; None when nobody listens."""
        address = self.addresses[role]
        ending = min(self.deadline, time.monotonic() + ENDING_SECONDS)
        while True:
            try:
                remote = yield from self._greeted(role, min(self.deadline, time.monotonic() + PROBE_SECONDS))
                break
            except UnreachableError:
                return None
            except (CredentialsError, ClosedError, DeadlineError, ProtocolError) as error:
                if role not in self.managed:
                    raise
                if not isinstance(error, ClosedError) or time.monotonic() >= ending:
                    raise self._taken(role) from error
            yield from pause(DIAL_AGAIN, ending)
        self.workers.update(own_workers({role: address}))
        return remote

    def _taken(self, role: str) -> PortInUseError:
        return PortInUseError(
            f"{self.addresses[role]}, the address of {role}, is taken by another program, or by a worker of another "
            "cluster or user. Stop that one, or choose another port."
        )

    def _greeted(self, role: str, deadline: float) -> Steps[Remote]:
        remote = Remote(role, self.addresses[role], self.bundle)
        try:
            yield from remote.connecting(deadline)
            yield from remote.asking("hello", deadline)
        except BaseException:
            remote.close()
            raise
        return remote

    def _begin(self, roles: Sequence[str]) -> dict[str, ManagedWorker]:
        """The processes of these workers, which load what they need: several of them together, where that can be."""
        company = Company() if POSSIBLE and len(roles) > 1 else None
        run = run_directory(self.directory)
        begun = {}
        for role in roles:
            address = self.addresses[role]
            self.emit("worker_starting", worker=role, address=address)
            options = [] if self.usual else ["--credentials", str(self.directory / role)]
            launch = alone if company is None else company.launch
            begun[role] = ManagedWorker(
                role, address, run / CONFIG, run, options, self.library_path, self.remove, launch
            )
            self.fresh.append(begun[role])
        if company is not None:
            company.begin(python_executable())
        return begun

    def _await_process(self, role: str, worker: ManagedWorker) -> Steps[Remote]:
        try:
            yield from worker.listening(self.deadline)
        except PortInUseError:
            # Another session of this user may have started the same cluster at the same moment.
            remote = yield from self._attach(role)
            if remote is None:
                raise
            return remote
        self.workers[role] = _own[self.addresses[role]] = worker
        return (yield from self._greeted(role, self.deadline))

    def _await_manual(self, role: str) -> Steps[Remote | None]:
        told = manual_command(role, self.addresses[role], self.directory, self.usual)
        self.emit("manual_command", worker=role, **told)
        while time.monotonic() < self.deadline:
            yield from pause(DIAL_AGAIN, self.deadline)
            remote = yield from self._attach(role)
            if remote is not None:
                return remote
        return None

    def _require_all(self, found: list[Remote | None]) -> None:
        missing = [
            f"{role} at {address}"
            for (role, address), remote in zip(self.addresses.items(), found, strict=True)
            if remote is None
        ]
        if missing:
            raise UnreachableError(
                f"{' and '.join(missing)} did not answer in time. Run the command shown for each, then start again: "
                "workers that run already are found."
            )

    def _linked(self, remotes: Mapping[str, Remote]) -> Steps[None]:
        """Wait until the workers have set up the links between them."""
        try:
            while True:
                greetings = yield from together([remote.asking("hello", self.deadline) for remote in remotes.values()])
                waiting = {
                    role: greeting.get("waiting_for")
                    for role, greeting in zip(remotes, greetings, strict=True)
                    if not greeting.get("ready")
                }
                if not waiting:
                    return
                if time.monotonic() >= self.deadline:
                    raise DeadlineError(_unlinked(waiting))
                yield from pause(LOOK_AGAIN, self.deadline)
        except SyfrError as error:
            raise (yield from explaining(error, self.workers)) from error


def explaining(error: SyfrError, workers: Mapping[str, ManagedWorker]) -> Steps[SyfrError]:
    """The error, or rather the end of a process of ours if that is the reason: it may be seen a moment later."""
    deadline = time.monotonic() + (END_SECONDS if isinstance(error, (ClosedError, UnreachableError)) else 0.0)
    while workers:
        for worker in workers.values():
            if not worker.running:
                return worker.ended()
        if time.monotonic() >= deadline:
            break
        yield from pause(LOOK_AGAIN, deadline)
    return error


def _unlinked(waiting: Mapping[str, Any]) -> str:
    role, peers = next(iter(waiting.items()))
    names = " and ".join(str(peer) for peer in peers) if isinstance(peers, list) else "the others"
    return (
        f"{role} has no link to {names} yet. The workers must reach each other at the addresses that you gave: "
        "check these and the firewalls between them."
    )


def run_directory(directory: Path) -> Path:
    """The private directory, inside that of a cluster, for its configuration and logs."""
    run = directory / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return run


def write_config(addresses: Mapping[str, str], directory: Path) -> None:
    """Write the file with the addresses: for workers here, and into the bundle of each that runs elsewhere."""
    content = json.dumps(dict(addresses), indent=1).encode()
    replace_private(run_directory(directory) / CONFIG, content)
    for role, address in addresses.items():
        if not is_local(split_address(address)[0]) and (directory / role).is_dir():
            replace_private(directory / role / CONFIG, content)


def manual_command(role: str, address: str, directory: Path, usual: bool = True) -> dict[str, str]:
    """What starts a worker by hand: the host, the directory to copy there if it is another one, and the command."""
    host, _ = split_address(address)
    if not is_local(host):
        command = player_command(role, Path(role) / CONFIG, "--credentials", role)
        return {"host": host, "copy": str(directory / role), "command": shlex.join(command)}
    options = [] if usual else ["--credentials", str(directory / role)]
    words = player_command(role, run_directory(directory) / CONFIG, *options, python=python_executable())
    return {"host": host, "command": _path_prefix() + shlex.join(words)}


def _path_prefix() -> str:
    """Where a new shell finds this syfr, unless it is installed for its Python."""
    try:
        importlib.metadata.distribution("syfr-mpc")
    except importlib.metadata.PackageNotFoundError:
        place = str(Path(syfr.__file__).resolve().parents[1])
        return f"set PYTHONPATH={place}&& " if sys.platform == "win32" else f"PYTHONPATH={shlex.quote(place)} "
    return ""
