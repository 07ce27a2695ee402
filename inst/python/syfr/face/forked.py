"""Processes of workers that are forked from one process, which has loaded what all of them need.

To load numba and the kernels is most of a start. Workers that are started together have it done once: that takes a
third of the processor time and half the memory, since pages stay shared. ``syfr/players.py`` is the process that forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

POSSIBLE = sys.platform == "linux"
"""Whether a process may fork after it has loaded libraries: on macOS, those of the system do not bear it."""

LOOK_AGAIN = 0.002


class Forked:
    """One of the processes, with what :class:`subprocess.Popen` has for one of its own.

    Attributes:
        returncode: the exit status, negative for a signal; None while it runs.
    """

    def __init__(self, company: Company, stdin: IO[bytes]) -> None:
        self.stdin: IO[bytes] | None = stdin
        self.returncode: int | None = None
        self.known_pid: int | None = None
        self._company = company

    @property
    def pid(self) -> int:
        """The number of the process; 0 before it was forked."""
        self._company.look()
        return self.known_pid or 0

    def poll(self) -> int | None:
        """The exit status once it has ended."""
        if self.returncode is None:
            self._company.look()
        if self.returncode is None and self._company.returncode is not None and not _runs(self.known_pid):
            self.returncode = self._company.returncode
        return self.returncode

    def kill(self) -> None:
        """End it at once; before the fork, that is the end of all."""
        if self.poll() is None and not self.known_pid:
            self._company.kill()
        if self.poll() is None and self.known_pid:  # perhaps it was forked at the last moment
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.known_pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended."""
        while True:
            status = self.poll()
            if status is not None:
                return status
            time.sleep(LOOK_AGAIN)


class Company:
    """Workers that are started together: each is announced to :meth:`launch`, then all :meth:`begin`."""

    def __init__(self) -> None:
        self._members: list[Forked] = []
        self._jobs: list[tuple[list[str], list[IO[bytes]]]] = []
        self._place: tuple[Path, Mapping[str, str]] | None = None
        self._parent: subprocess.Popen[bytes] | None = None
        self._files = contextlib.ExitStack()
        self._complaints = self._files.enter_context(TemporaryFile(buffering=0))  # noqa: SIM115  by the line above
        self._heard = b""
        self.returncode: int | None = None

    def launch(
        self, words: Sequence[str], said: IO[bytes], log: IO[bytes], directory: Path, environment: Mapping[str, str]
    ) -> Forked:
        """One worker more; ``words`` are those of its command line behind ``python -m syfr.player``."""
        reading, writing = os.pipe()
        # Copies: those that were given are closed before the process begins.
        copies = [os.fdopen(os.dup(file.fileno()), "wb", buffering=0) for file in (said, log)]
        files: list[IO[bytes]] = [os.fdopen(reading, "rb", buffering=0), *copies]
        self._jobs.append((list(words), [self._files.enter_context(file) for file in files]))
        self._place = directory, environment
        member = Forked(self, os.fdopen(writing, "wb", buffering=0))
        self._members.append(member)
        return member

    def begin(self, python: str) -> None:
        """Start the process that forks them."""
        if self._place is None:
            return
        directory, environment = self._place
        descriptors = [[file.fileno() for file in files] for _, files in self._jobs]
        jobs = [{"words": words, "files": each} for (words, _), each in zip(self._jobs, descriptors, strict=True)]
        self._parent = subprocess.Popen(  # noqa: S603  the command is ours, no shell
            [python, "-m", "syfr.players", json.dumps(jobs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            cwd=directory,
            # A process that forks has one thread; NumPy's library would start more for floating point products.
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[descriptor for each in descriptors for descriptor in each],
            start_new_session=True,
        )
        if self._parent.stdout is not None:
            os.set_blocking(self._parent.stdout.fileno(), False)

    def kill(self) -> None:
        """End the process that forks, and wait for its end."""
        if self._parent is None:
            self.returncode = -signal.SIGKILL
            self._files.close()
        else:
            self._parent.kill()
            self._parent.wait()

    def look(self) -> None:
        """Take in what the parent has told."""
        if self._parent is None or self._parent.stdout is None or self.returncode is not None:
            return
        ended = self._parent.poll()  # first: what it told before its end is then read below
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._parent.stdout.fileno(), 4096):
                self._heard += piece
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if ended is None and all(member.returncode is not None for member in self._members):
            ended = self._parent.wait()  # it has nothing left to do
        if ended is not None:
            self._end(ended, self._parent.stdout)

    def _end(self, status: int, told: IO[bytes]) -> None:
        self.returncode = status
        told.close()
        self._complaints.seek(0)
        why = self._complaints.read()
        for member, (_, files) in zip(self._members, self._jobs, strict=True):
            if member.known_pid is None:
                files[2].write(why)  # as if each had been started alone and had said so
        self._files.close()

    def _take(self, told: dict[str, Any]) -> None:
        if "place" in told:
            self._members[told["place"]].known_pid = told["pid"]
            for file in self._jobs[told["place"]][1]:
                file.close()
            return
        for member in self._members:
            if member.known_pid == told["pid"]:
                member.returncode = told["status"]


def _runs(pid: int | None) -> bool:
    """Whether a process runs that is nobody's to wait for; one that has ended may keep its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
