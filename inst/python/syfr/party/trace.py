"""A trace of one query at one worker, by step: messages, bytes, time, waits. Asked for by the owner, query by query.

It holds sizes and times, never a value. Who asks for none pays nothing for it but a look at a name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from syfr.program import Program
from syfr.protocol.channel import Array, Missing, Tag
from syfr.protocol.roles import Role


@dataclass
class _Step:
    """What one step of one part has taken so far."""

    first: float
    last: float
    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    waited: float = 0.0


@dataclass
class Trace:
    """One query that is being traced."""

    program: Program
    rows: int
    _began: float = field(default_factory=time.monotonic)
    _steps: dict[tuple[int, int], _Step] = field(default_factory=dict)
    _since: dict[int, float] = field(default_factory=dict)

    def _at(self, part: int, number: int) -> _Step:
        now = time.monotonic()
        step = self._steps.setdefault((part, number), _Step(now, now))
        step.last = now
        return step

    def sent(self, part: int, tag: Tag, arrays: Sequence[Array]) -> None:
        """A message was handed to the link."""
        step = self._at(part, tag[0])
        step.sent += 1
        step.bytes_sent += sum(array.nbytes for array in arrays)

    def received(self, part: int, peer: Role, tag: Tag, arrays: Sequence[Array], missing: Missing) -> None:
        """A message has arrived; the part may have waited for it."""
        step = self._at(part, tag[0])
        step.received += 1
        step.bytes_received += sum(array.nbytes for array in arrays)
        if (peer, *tag) in missing:
            step.waited += step.last - self._since.get(part, step.last)

    def paused(self, part: int) -> None:
        """The part has gone as far as the messages that are here allow."""
        self._since[part] = time.monotonic()

    def steps(self) -> list[dict[str, Any]]:
        """One dictionary for each step of each part, in the order in which they began; times in milliseconds."""
        return [
            {
                "part": part,
                "step": number,
                "layer": self._layer(number),
                "rows": self.rows,
                "sent": step.sent,
                "received": step.received,
                "bytes_sent": step.bytes_sent,
                "bytes_received": step.bytes_received,
                "began_ms": 1e3 * (step.first - self._began),
                "ms": 1e3 * (step.last - step.first),
                "waited_ms": 1e3 * step.waited,
            }
            for (part, number), step in sorted(self._steps.items(), key=lambda item: item[1].first)
        ]

    def _layer(self, number: int) -> str:
        steps = self.program.steps
        return str(getattr(steps[number], "layer", "")) if number < len(steps) else "lift"


@dataclass
class Tracing:
    """Whether the next query of a model is traced, and what came of the last one that was."""

    wanted: bool = False
    last: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, program: Program, rows: int) -> Trace | None:
        """A trace for a query that begins, if one is wanted."""
        if not self.wanted:
            return None
        self.wanted = False
        return Trace(program, rows)

    def end(self, trace: Trace | None) -> None:
        """A query has ended."""
        if trace is not None:
            self.last = trace.steps()
