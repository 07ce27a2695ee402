"""How much preprocessing is made ahead, and in how large blocks; its memory is bounded for all sessions together."""

from __future__ import annotations

AHEAD_BYTES = 32 << 20
"""Memory that preprocessing ahead may take for one session, at server0 or server1;"""

AHEAD_REQUEST = 68 << 20
"""for one whose request needs more, up to so much: 256 images of the bundled model, a whole query, need 59 MB;"""

AHEAD_TOTAL = 80 << 20
"""and for all of them."""

AHEAD_SMALL = 60 << 20
"""Those that ask for a few rows at a time need less: their queries run together, which takes memory too."""

LEAST_WEIGHT, MOST_WEIGHT = 16, 128
"""Sessions share that memory by the rows of their requests, within these bounds."""

AHEAD_ROWS = 256
"""Rows that are prepared ahead at most, where no request has more."""

BLOCK_BYTES = 8 << 20
"""Preprocessing is made in blocks of about this size, and online work goes on in parts of as many rows: large enough
that messages cost little, small enough that a query never waits long for one."""

SMALL_BLOCK = 8
"""Rows of a block for sessions that ask for a row at a time."""


def ahead_bytes(request: int, weight: int, weights: int) -> int:
    """Memory for a session's preprocessing ahead, when a request of it needs ``request`` bytes."""
    total = AHEAD_TOTAL if weight > LEAST_WEIGHT else AHEAD_SMALL
    return min(max(AHEAD_BYTES, min(request, AHEAD_REQUEST)), total * weight // weights)


def block_rows(rows: int, row_bytes: int) -> int:
    """Rows of a block, for requests of so many rows."""
    return max(1, min(max(rows, SMALL_BLOCK), BLOCK_BYTES // row_bytes))
