"""How kernels are compiled: once for each machine and user, ahead of any query, for exact types.

A kernel names its signature, so it is compiled (or loaded from the cache) when its module is imported and never
inside a query; an array of another type or layout is an error instead of a second compilation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba

from syfr.directories import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

if not os.environ.get("NUMBA_CACHE_DIR"):
    # numba's own fallback for a read-only library is the home directory, which a service may not have.
    numba.config.CACHE_DIR = str(cache_directory() / "kernels")


def compiled(*signatures: str) -> Callable[[Function], Function]:
    """Compile a function for these signatures, without the interpreter lock and with NumPy's division rules."""
    decorate: Callable[[Function], Function] = numba.njit(
        list(signatures), cache=True, nogil=True, error_model="numpy"
    )
    return decorate
