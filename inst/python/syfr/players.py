"""Several workers of one session, which are loaded once: python -m syfr.players JOBS, as face/forked.py starts it.

JOBS is JSON: of each worker the words of its command line, and the descriptors of its standard input, output and error.
This process loads what all workers need, numba and the kernels, forks one process a worker, and stays as their parent.
On its standard output it tells the number of each process and how it ended; it ends with the last of them.

What is a worker's own comes after the fork: its keys and certificates, its connections, its random numbers, threads.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from typing import Any

from syfr import player
from syfr.party import kernels


def main(jobs: list[dict[str, Any]]) -> int:
    """Fork the workers and wait for them; in each of them, its exit status."""
    # What cannot be loaded fails again in each worker, which then says so in its log.
    with contextlib.suppress(Exception), kernels.loading():
        import syfr.party.service
        import syfr.party.state  # noqa: F401
    gc.collect()
    gc.freeze()  # a collection in a worker would write to all pages, which are shared as long as nobody does
    for place, job in enumerate(jobs):
        process = os.fork()
        if process == 0:
            _become(place, jobs)
            return player.main(job["words"])
        _tell(place=place, pid=process)
    for each in jobs:
        for descriptor in each["files"]:
            os.close(descriptor)
    for _ in jobs:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is not None:
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            _tell(pid=ended.si_pid, status=status)
            os.waitpid(ended.si_pid, 0)  # now that it is known: the number may be another process's from here on
    return 0


def _become(place: int, jobs: list[dict[str, Any]]) -> None:
    os.setsid()  # Ctrl-C in the terminal is for the session
    for standard, descriptor in enumerate(jobs[place]["files"]):
        os.dup2(descriptor, standard)
    for job in jobs:
        for descriptor in job["files"]:
            os.close(descriptor)


def _tell(**fields: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the session has ended, and the workers end by themselves
        os.write(1, json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
