"""The two parts of an answer as they arrive: of one form, with one seal, and only together the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError, SyfrError
from syfr.face.remote import Remote
from syfr.link import Frame
from syfr.program import Program
from syfr.protocol import output
from syfr.trust.identity import SERVERS

ANSWERING = SERVERS[:2]
"""server0 and server1 take masked inputs and give the two parts of an answer."""


@dataclass(kw_only=True)
class Parts:
    """What server0 and server1 have answered to one query.

    Attributes:
        shape: of a part.
        parts: those that have arrived.
        seals: the hashes of all that the two had in common, which must be one.
        clock: message delays between workers until the answer.
        error: why there will be no answer.
    """

    shape: tuple[int, ...]
    parts: dict[str, NDArray[np.uint32]] = field(default_factory=dict, repr=False)
    seals: set[bytes] = field(default_factory=set, repr=False)
    clock: int = 0
    error: SyfrError | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self.error is not None or len(self.parts) == len(ANSWERING)

    def take(self, remote: Remote, frame: Frame) -> None:
        """The part of server0 or server1; the first that each gives is the one that counts."""
        if remote.role in self.parts or remote.role not in ANSWERING:
            return
        right = len(frame.arrays) == 1 and frame.arrays[0].shape == self.shape and frame.arrays[0].dtype == np.uint32
        clock, seal = frame.meta.get("clock"), frame.meta.get("seal")
        if not right or not isinstance(clock, int) or not isinstance(seal, bytes):
            self.error = ProtocolError(
                f"{remote.name} gave an answer of another form than the model's. "
                "Use one version of syfr for all workers and clients."
            )
            return
        self.parts[remote.role] = frame.arrays[0]
        self.clock = max(self.clock, clock)
        self.seals.add(seal)
        if len(self.seals) > 1:
            self.error = ProtocolError(
                "server0 and server1 did not compute the same; their answers cannot be used. "
                "Tell who runs the workers, and do not send them anything before they have looked."
            )

    def combined(self, program: Program) -> NDArray[np.float64]:
        """Both parts added; raises what went wrong."""
        if self.error is not None:
            raise self.error
        first, second = (self.parts[role] for role in ANSWERING)
        return output.combine(first, second, program)
