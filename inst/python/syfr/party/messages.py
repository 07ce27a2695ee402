"""The messages of a run between workers, over the links to the peers."""

from __future__ import annotations

from collections.abc import Sequence

from syfr.party.fields import Place
from syfr.party.peers import PeerLinks
from syfr.party.trace import Trace
from syfr.protocol.channel import MESSAGES, Array, Channel, Tag
from syfr.protocol.roles import Role

NUMBERS = {name: number for number, name in enumerate(MESSAGES)}


class LinkChannel(Channel):
    """The channel of part ``part`` of what runs for the rows of ``place``."""

    def __init__(self, role: Role, links: PeerLinks, place: Place, part: int, trace: Trace | None) -> None:
        super().__init__(role)
        self._links, self._trace, self._part = links, trace, part
        self._place = (*place, part)

    def transmit(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Send at once."""
        if self._trace is not None:
            self._trace.sent(self._part, tag, arrays)
        self._links.send(peer, "step", [*self._place, tag[0], NUMBERS[tag[1]], clock], arrays)
