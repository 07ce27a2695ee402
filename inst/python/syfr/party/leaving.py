"""A worker that was told to end: what runs is finished, what is new is refused, and then it goes.

A query runs at all three workers, so the others must know: each refuses new queries from then on, and says when its
last one has ended. Whoever asks meanwhile is told who is leaving.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from syfr.errors import ClosedError, NotReadyError
from syfr.party.peers import PeerLinks
from syfr.party.reactor import Reactor
from syfr.protocol.roles import Role

log = logging.getLogger("syfr.party")

LEAVE_SECONDS = 8.0
"""What still runs then is given up, so that the process ends within ten seconds."""

LOOK_AGAIN = 0.02


class Leaving:
    """Who of the three workers is leaving, as one of them sees it.

    Args:
        busy: whether queries run here, or something waits to be sent.
        gone: called once when this worker may end.
    """

    def __init__(
        self, role: Role, links: PeerLinks, reactor: Reactor, busy: Callable[[], bool], gone: Callable[[], None]
    ) -> None:
        self._role, self._links, self._reactor = role, links, reactor
        self._busy, self._gone = busy, gone
        self._leaving: set[Role] = set()
        self._finished: set[Role] = set()

    @property
    def begun(self) -> bool:
        """Whether this worker leaves."""
        return self._role in self._leaving

    @property
    def refusal(self) -> NotReadyError | None:
        """Why nothing new may begin; None when it may."""
        for role in sorted(self._leaving):
            return NotReadyError(f"{role.label} is stopping. Ask again when it runs again.")
        return None

    def require(self) -> None:
        """Raise the refusal, if there is one."""
        if (refusal := self.refusal) is not None:
            raise refusal

    def begin(self) -> None:
        """This worker leaves."""
        self._leaving.add(self._role)
        for peer in self._role.peers:
            self._tell(peer, "leaving")
        self._reactor.after(LEAVE_SECONDS, self._gone)
        self._look()

    def _look(self) -> None:
        linked = {peer for peer in self._role.peers if self._links.up(peer)}
        if linked <= self._finished and not self._busy():
            self._gone()
        else:
            self._reactor.after(LOOK_AGAIN, self._look)

    def peer_leaves(self, peer: Role, *_: object) -> None:
        """A peer leaves."""
        log.info("%s is stopping", peer.label)
        self._leaving.add(peer)
        self._answer(peer)

    def _answer(self, peer: Role) -> None:
        if self._busy() and peer in self._leaving:
            self._reactor.after(LOOK_AGAIN, lambda: self._answer(peer))
        else:
            self._tell(peer, "finished")

    def peer_finished(self, peer: Role, *_: object) -> None:
        """A peer has no query left that needs this worker."""
        self._finished.add(peer)

    def link_changed(self, peer: Role) -> None:
        """It has gone, or it is another one now."""
        self._leaving.discard(peer)
        self._finished.discard(peer)

    def _tell(self, peer: Role, word: str) -> None:
        try:
            self._links.send(peer, word, {})
        except ClosedError:
            return
