"""A worker that this session starts on its own machine, as a process that ends with the session.

The process holds the read end of a pipe as its standard input. When the session ends, however that happens, the pipe
closes and the worker ends itself; nothing has to be cleaned up by a session that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import syfr
from syfr.directories import remove
from syfr.errors import DeadlineError, SyfrError, WorkerError, error_classes
from syfr.face.forked import Forked
from syfr.face.tasks import Steps, pause
from syfr.logs import read_line

LOOK_AGAIN = 0.01
GRACE = 5.0
LOG_LINES = 8
MODULE = ("-m", "syfr.player")
Process = subprocess.Popen[bytes] | Forked
Launch = Callable[[Sequence[str], IO[bytes], IO[bytes], Path, Mapping[str, str]], Process]
"""Starts a process: the words behind its module's name, files for what it says and logs, directory, environment."""

PYTHON_NAME = re.compile(r"python[0-9.]*(\.exe)?", re.IGNORECASE)


def python_executable() -> str:
    """The Python of this environment; inside R, ``sys.executable`` may be R."""
    place = Path(sys.prefix)
    candidates = [
        Path(sys.executable or "."),
        *(place / name for name in ("bin/python3", "bin/python", "python.exe", "Scripts/python.exe")),
        Path(getattr(sys, "_base_executable", None) or "."),
    ]
    for candidate in candidates:
        if PYTHON_NAME.fullmatch(candidate.name) and os.access(candidate, os.X_OK):
            return str(candidate)
    raise WorkerError(f"No Python program was found in {sys.prefix}. Install syfr's environment again.")


def player_command(role: str, config: Path, *options: str, python: str = "python") -> list[str]:
    """The words that start a worker."""
    return [python, *MODULE, *_words(role, config, *options)]


def _words(role: str, config: Path, *options: str) -> list[str]:
    return ["--config", str(config), *options, role]


def alone(
    words: Sequence[str], said: IO[bytes], log: IO[bytes], directory: Path, environment: Mapping[str, str]
) -> Process:
    """A worker's process that loads everything by itself."""
    return subprocess.Popen(  # noqa: S603  the command is ours, no shell
        [python_executable(), *MODULE, *words],
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=log,
        cwd=directory,
        env=environment,
        **_own_group(),
    )


def by_hand(role: str, config: str, options: Sequence[str]) -> dict[str, Any]:
    """The words that start a worker from R, and the variables that they need: "words", "environment"."""
    needed = {name: value for name, value in child_environment().items() if name in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    return {"words": player_command(role, Path(config), *options, python=python_executable()), "environment": needed}


def child_environment(library_path: str | None = None) -> dict[str, str]:
    """This environment, with this syfr first on Python's path.

    Args:
        library_path: a directory to search first for shared libraries; by default SYFR_LIBRARY_PATH, and inside R that
            of this Python's own libpython: R puts its directories first, where another one may be found.
    """
    environment = dict(os.environ)
    bundled = str(Path(syfr.__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [bundled, environment.get("PYTHONPATH")]))
    library_path = library_path or environment.get("SYFR_LIBRARY_PATH") or _own_library(environment)
    if library_path:
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [library_path, known]))
    return environment


def _own_library(environment: Mapping[str, str]) -> str | None:
    directory, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if "R_HOME" in environment and directory and name and (Path(directory) / name).exists():
        return str(directory)
    return None


class ManagedWorker:
    """A worker's process.

    Args:
        role, address: which worker it is.
        config: the file with the three addresses.
        directory: private directory for its log.
        options: more words of its command line.
        more: what else goes with the session, also when it is killed, and the worker with it.
        launch: starts the process, by itself or together with others.
    """

    def __init__(
        self,
        role: str,
        address: str,
        config: Path,
        directory: Path,
        options: Sequence[str] = (),
        library_path: str | None = None,
        more: Sequence[Path] = (),
        launch: Launch = alone,
    ) -> None:
        self.role, self.address = role, address
        self.log, self._said = log_file(directory, role), directory / f"{role}.out"
        files = [self.log, before(self.log), self._said, *more]
        removed = [word for path in files for word in ("--remove", str(path))]
        always = ("--managed", "--log-format", "json", *removed)
        words = _words(role, config, *always, *options)
        with contextlib.suppress(OSError):
            self.log.replace(before(self.log))  # of a worker that has died: its last words
        with _fresh(self.log) as log, _fresh(self._said) as said:
            self._process = launch(words, said, log, directory, child_environment(library_path))
        self._finish = weakref.finalize(self, _end, self._process, files)

    def __repr__(self) -> str:
        return f"ManagedWorker({self.role} at {self.address}, pid={self.pid}, running={self.running})"

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def listening(self, deadline: float) -> Steps[None]:
        """Wait until it accepts connections.

        Raises:
            PortInUseError, CredentialsError, ...: as the worker says why it cannot start.
            WorkerError: it ended without saying so; the message shows the end of its log.
        """
        while True:
            running = self.running
            said = self._read_said()
            if said is not None:
                if said.get("ready") is True:
                    return
                cls = error_classes().get(str(said.get("error")), WorkerError)
                raise cls(f"{self.role} cannot start: {said.get('message')}")
            if not running:
                raise self.ended()
            if time.monotonic() >= deadline:
                raise DeadlineError(
                    f"{self.role} at {self.address} did not start in time. Start again with a longer timeout."
                    + self._last_words()
                )
            yield from pause(LOOK_AGAIN, deadline)

    def _read_said(self) -> dict[str, Any] | None:
        """The one line of JSON on its standard output, once it is whole."""
        with contextlib.suppress(OSError, ValueError):
            line, end, _ = self._said.read_text(encoding="utf-8").partition("\n")
            found = json.loads(line) if end else None
            if isinstance(found, dict):
                return found
        return None

    def ended(self) -> SyfrError:
        """The error that says how it ended."""
        return WorkerError(
            f"{self.role} at {self.address} has ended (exit status {self._process.returncode}). "
            f"Start the cluster again.{self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = [line["message"] for line in read_log(self.log, LOG_LINES)]
        return "".join(["\nIts log ends:", *(f"\n  {line}" for line in lines)]) if lines else ""

    def stopping(self) -> Steps[None]:
        """End the process: ask by closing its standard input, and insist after a while."""
        if self._process.stdin is not None:
            _close(self._process.stdin)
        deadline = time.monotonic() + GRACE
        while self.running and time.monotonic() < deadline:
            yield from pause(LOOK_AGAIN, deadline)
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._finish()

    def remove_files(self) -> None:
        """Delete its log."""
        for path in (self.log, before(self.log), self._said):
            with contextlib.suppress(OSError):
                path.unlink()


def log_file(directory: Path, role: str) -> Path:
    """Where a managed worker logs to."""
    return directory / f"{role}.log"


def before(log: Path) -> Path:
    """The log of the worker that ran there before and has died."""
    return log.with_suffix(".log.1")


def read_log(log: Path, lines: int) -> list[dict[str, str]]:
    """The last lines of a log, as fields; those of the worker before it come first."""
    found: list[str] = []
    for path in (before(log), log):
        with contextlib.suppress(OSError):
            found += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [read_line(line) for line in found[-lines:]]


def _end(process: Process, files: Sequence[Path]) -> None:
    running = process.poll() is None  # files of these names may be those of the worker that has taken its place
    if process.stdin is not None:
        _close(process.stdin)
    if running:
        process.kill()
        process.wait()
        for path in files:
            remove(path)


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        pipe.close()


def _fresh(path: Path) -> IO[bytes]:
    """An empty private file in the place of an older one."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _own_group() -> dict[str, Any]:
    """A process group of its own: Ctrl-C in the terminal is for the session, which then decides."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
