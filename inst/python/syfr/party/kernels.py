"""Loading the compiled kernels, and numba around them: most of what a worker does before it listens.

The first worker of a machine compiles them while the others wait; once a mark beside them says that all are there,
workers load them side by side.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import syfr.ring
from syfr.directories import cache_directory, locked, replace_private

COMPILE_SECONDS = 300.0

UNUSED = ("scipy", "cffi", "coverage")
"""Libraries that numba loads where it finds them, for what no kernel uses: a third of the time that a worker takes."""


@contextmanager
def loading() -> Iterator[None]:
    """What has kernels is imported inside this, and is not loaded before.

    Raises:
        DeadlineError: another process has compiled for five minutes.
    """
    mark, state = _mark(), _state()
    with _without(UNUSED), ExitStack() as stack:
        if not _complete(mark, state):
            stack.enter_context(locked(cache_directory() / "kernels", timeout=COMPILE_SECONDS))
        if _complete(mark, state):
            stack.close()  # another process has compiled them meanwhile
            yield
        else:
            yield
            with contextlib.suppress(OSError):  # without a mark the next one waits for its turn, no more
                mark.parent.mkdir(parents=True, exist_ok=True)
                replace_private(mark, state)


def _mark() -> Path:
    """Goes with the kernels when somebody deletes them; each installation of syfr has its own."""
    kept = os.environ.get("NUMBA_CACHE_DIR")
    directory = Path(kept) if kept else cache_directory() / "kernels"
    return directory / f"complete-{hashlib.sha256(str(_sources()).encode()).hexdigest()[:16]}"


def _sources() -> Path:
    return Path(syfr.ring.__file__).resolve().parent


def _state() -> bytes:
    """What kernels are compiled from, as numba sees it: sources by size and time, its own version, Python's."""
    numba = importlib.util.find_spec("numba")
    files = sorted(_sources().glob("*.py")) + ([Path(numba.origin)] if numba and numba.origin else [])
    told = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return "\n".join([sys.version, *told]).encode()


def _complete(mark: Path, state: bytes) -> bool:
    """Whether all kernels were there once. If some are gone, each worker compiles them: slower, and no less right."""
    try:
        return mark.read_bytes() == state
    except OSError:
        return False


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Libraries that are not loaded yet cannot be found meanwhile."""
    hidden = [name for name in names if name not in sys.modules]
    # None is Python's own sign for what cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
