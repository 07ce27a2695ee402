"""A query at one worker: its rows, its parts, its end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from syfr.party.executor import PIECE
from syfr.party.fields import Place
from syfr.party.reactor import Timer
from syfr.party.serving import Claim
from syfr.party.trace import Trace
from syfr.protocol.channel import Run
from syfr.protocol.roles import Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words

QUERY_SECONDS = 60.0
LONGEST_SECONDS = 600.0
"""A query ends after so long if its client does not say how long it waits; and after so long, whatever it says."""

PATIENCE = 0.9
"""A query ends after this part of the time that its client waits, so that the client hears why."""


def time_limit(patience: float) -> float:
    """Seconds that a query may take whose client waits so long."""
    return QUERY_SECONDS if math.isinf(patience) else min(LONGEST_SECONDS, PATIENCE * patience)


@dataclass(eq=False)
class Query:
    """A query at one worker, from its first frame to its end.

    A query of many rows runs in parts, one for each block of prepared rows that it uses: a part begins as soon as its
    block is ready, its numbers stay in the processor's cache, and the workers compute on one while another travels.

    Attributes:
        claim: what it counts as.
        runs: the parts that have begun, in the order of their rows.
        transcripts: theirs, at server0 and server1.
        begun_until: rows below this belong to parts that have begun.
        trace: of this query, if its owner has asked for one.
        together: whether it runs in a pass with queries of others (passes.py).
    """

    place: Place
    claim: Claim
    masked_input: Words | None = field(default=None, repr=False)
    runs: list[Run] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list, repr=False)
    begun_until: int = 0
    deadline: Timer | None = None
    trace: Trace | None = None
    together: bool = False
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.begun_until = self.place.start

    @property
    def done(self) -> bool:
        """Whether every part has ended."""
        return self.begun_until == self.place.stop and all(run.done for run in self.runs)

    @property
    def missing(self) -> Role | None:
        """The worker for whose message a part waits, if any does; preprocessing is no message of a query."""
        return next((peer for run in self.runs for peer, _, name in run.missing if name != PIECE), None)

    def end(self) -> None:
        """Nothing of it goes on."""
        self.masked_input = None
        for run in self.runs:
            run.close()
        if self.deadline is not None:
            self.deadline.cancel()
