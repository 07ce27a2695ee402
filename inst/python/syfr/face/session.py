"""A client's session with the three workers: masked inputs out, parts of the answers back.

The session draws two seeds. server0 and the dealer know the first, server1 and the dealer the second; the masks of
every row follow from them, so the workers prepare rows before the client has chosen an input. A row is masked once:
what failed is asked again with new rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from syfr.errors import DeadlineError, SyfrError
from syfr.face.answers import ANSWERING, Parts
from syfr.face.remote import Remote
from syfr.face.tasks import Steps, Wait, ready, together
from syfr.link import Frame
from syfr.party.fields import SESSION_BYTES
from syfr.program import Program
from syfr.protocol import sharing
from syfr.ring.fixedpoint import Words
from syfr.ring.packing import pack_elements

MASKED_AHEAD = 1 << 17
"""The mask of a next query of so many elements at most is made while the workers compute on this one."""

LAST_WORDS_SECONDS = 2.0
"""So long the other workers are heard when the connection to one is lost."""


@dataclass
class Pending(Parts):
    """A query that was sent.

    Attributes:
        start, rows: its rows, counted through the session.
        refused: whether server0 or server1 has said that it gives no part. An answer takes both parts, so nothing of
            it was released then, and its rows may be asked again, with other masks.
        dealer_failed: what the dealer says went wrong; the other two say it too, a moment later.
    """

    start: int
    rows: int
    masked: Words = field(repr=False)
    refused: bool = False
    dealer_failed: SyfrError | None = None


@dataclass(frozen=True, repr=False)
class Sent:
    """An input as it was shared, for teaching: m, and the two masks that are in it."""

    program: Program
    masked: Words
    masks: tuple[Words, Words]


class Session:
    """One session with one model.

    Args:
        remotes: open connections to the three workers; they belong to the session.
        model: the model's number.
        rows: rows of one request.
    """

    def __init__(self, remotes: Mapping[str, Remote], model: str, program: Program, rows: int) -> None:
        self.remotes, self.program = dict(remotes), program
        self._model, self._rows = model, rows
        self._number = os.urandom(SESSION_BYTES)
        self._seeds = sharing.fresh_seeds()
        self._masks = [sharing.InputMask(seed, program.input_shape) for seed in self._seeds]
        self._ahead: tuple[int, Words] | None = None
        self._next_row = 0
        self._pending: dict[int, Pending] = {}
        for role, remote in self.remotes.items():
            remote.received = lambda frame, role=role: self._take(role, frame)

    def __repr__(self) -> str:
        return f"Session(model={self._model}, rows={self._next_row}, seeds=<REDACTED>)"

    @property
    def usable(self) -> bool:
        """Whether all three connections stand, as far as is known."""
        return all(remote.open for remote in self.remotes.values())

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent to and received from all workers."""
        counts = [remote.traffic for remote in self.remotes.values()]
        return sum(sent for sent, _ in counts), sum(received for _, received in counts)

    def opening(self, deadline: float) -> Steps[None]:
        """Make the session known to the three workers, each with the seeds it may have."""
        seeds = {"server0": self._seeds[:1], "server1": self._seeds[1:], "server2": self._seeds}
        yield from together(
            [
                remote.asking(
                    "open", deadline, session=self._number, model=self._model, rows=self._rows, seeds=list(seeds[role])
                )
                for role, remote in self.remotes.items()
            ]
        )

    def refresh(self, happened: set[int] | None = None) -> None:
        """Take in what has arrived, and notice connections that have ended; raises the first error found.

        ``happened`` is what was seen of the connections just now, if anybody has looked.
        """
        first: SyfrError | None = None
        for remote in ready(self.remotes.values(), happened):
            try:
                remote.read()
            except SyfrError as error:
                first = first or error
        if first is not None:
            raise first

    def send(self, x: NDArray[np.float64], timeout: float) -> Pending:
        """Mask a batch with masks that were never used and send it to server0 and server1.

        They are told when this client gives up, so that they can say a little earlier who of them waits for whom.
        """
        start, rows = self._next_row, x.shape[0]
        self._next_row += rows
        encoded = self.program.encode_input(x)
        masked = sharing.low_bits(encoded + self._mask(start, rows), self.program.input_bits)
        pending = self._pending[start] = Pending(start, rows, masked, shape=(rows, *self.program.output_shape))
        packed = pack_elements(masked).reshape(rows, -1)
        meta = {"session": self._number, "start": start, "rows": rows, "seconds": timeout}
        query = Frame("query", meta, [packed]).encode()
        for role in ANSWERING:
            self.remotes[role].send_encoded(query)
        if encoded.size <= MASKED_AHEAD:  # while the workers compute
            self._ahead = self._next_row, self._fresh_mask(self._next_row, rows)
        return pending

    def _mask(self, start: int, rows: int) -> Words:
        """lambda0 + lambda1 of rows that were never masked."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (ahead[0], len(ahead[1])) == (start, rows):
            return ahead[1]
        return self._fresh_mask(start, rows)

    def _fresh_mask(self, start: int, rows: int) -> Words:
        first, second = (mask.rows(start, rows) for mask in self._masks)
        return first + second

    def sent(self, pending: Pending) -> Sent:
        """A query of this session with its masks, made once more."""
        shape = self.program.input_shape
        first, second = (sharing.input_mask(seed, pending.start, pending.rows, shape) for seed in self._seeds)
        return Sent(self.program, pending.masked, (first, second))

    def collecting(self, pending: Pending, deadline: float) -> Steps[NDArray[np.float64]]:
        """Wait for both parts of an answer and add them; raises what a worker says if the query failed.

        When a connection is lost, or the dealer fails, the others are heard for a moment more: what they say tells
        whether the query failed before anything was released. The dealer may be lost at no harm once its part is done.
        """
        lost: SyfrError | None = None
        try:
            while not pending.done:
                if time.monotonic() >= deadline:
                    raise lost or self._late(pending)
                wait = Wait([remote for remote in self.remotes.values() if remote.open], deadline)
                yield wait
                try:
                    self.refresh(wait.happened)
                    failed = pending.dealer_failed
                except SyfrError as error:
                    failed = error
                if lost is None and failed is not None:
                    lost, deadline = failed, min(deadline, time.monotonic() + LAST_WORDS_SECONDS)
        finally:
            self._pending.pop(pending.start, None)
        return pending.combined(self.program)

    def forget(self, queries: Iterable[Pending]) -> None:
        """Wait no longer for these queries; what is still answered is left alone."""
        for pending in queries:
            self._pending.pop(pending.start, None)

    def _late(self, pending: Pending) -> SyfrError:
        silent = [self.remotes[role].name for role in ANSWERING if role not in pending.parts]
        return DeadlineError(
            f"The answer did not come in time: {' and '.join(silent)} did not answer. "
            "Try again with a longer timeout, and look whether all three workers run."
        )

    def _take(self, role: str, frame: Frame) -> None:
        """An answer or a failure, of a query that is waited for; others are late and left alone."""
        meta = frame.meta
        start = meta.get("start")
        pending = self._pending.get(start) if isinstance(start, int) else None
        if pending is None or meta.get("session") != self._number:
            return
        if frame.kind == "failed" and role in ANSWERING:
            pending.error = pending.error or self.remotes[role].rebuilt(meta)
            pending.refused = True
        elif frame.kind == "failed":
            pending.dealer_failed = self.remotes[role].rebuilt(meta)
        elif frame.kind == "answer":
            pending.take(self.remotes[role], frame)

    def close(self) -> None:
        """Close the session and its connections without waiting."""
        for remote in self.remotes.values():
            remote.tell("close", session=self._number)
            remote.close()
