"""What a result must say beside its numbers: the machine, the commit, the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "numba", "cryptography", "msgpack", "keras", "tensorflow", "tensorflow-cpu")


def describe() -> dict[str, Any]:
    """The machine, the commit and the versions, as data."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "inst/python")),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": _versions(),
        "scheduling": _scheduling(),
        "load_before": load(),
    }


def load() -> list[float] | None:
    """The mean number of runnable processes over 1, 5 and 15 minutes, where the system tells it."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None


def _scheduling() -> str:
    """Whether this runs in a real-time class, as on a busy machine it may: `chrt -r 1 make bench`."""
    if not hasattr(os, "sched_getscheduler"):
        return "unknown"
    return "real-time" if os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO) else "normal"


def _git(*words: str) -> str | None:
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
