"""Sharing a model: each worker takes its part into use once all three have found that their parts match.

They compare hashes when the owner shares a model, and those of all models that they have when a link between two of
them is set up: after a restart a kept share is used again without its owner.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from syfr.errors import ClosedError, NotReadyError, ProtocolError, SyfrError, WorkerError
from syfr.link import Frame
from syfr.party.endpoint import Endpoint
from syfr.party.fields import Fields, text, whole
from syfr.party.models import Model, ModelStore
from syfr.party.peers import PeerLinks
from syfr.party.reactor import Reactor, Timer
from syfr.party.receiving import Receiving
from syfr.protocol.roles import Role

log = logging.getLogger("syfr.party")

PEER_SECONDS = 60.0
"""So long the hashes of the other workers are waited for."""

MAX_WAITING = 64

MAX_COMING = 4
"""Shares that one connection has begun and not ended."""

Done = Callable[[SyfrError | None], None]


@dataclass(eq=False)
class Waiting:
    """A model whose parts are being compared; ``done`` answers its owner."""

    model: Model
    done: Done
    deadline: Timer | None = None


@dataclass(frozen=True)
class GivenUp:
    """Why a peer does not take its part; ``passing`` if it may in a moment."""

    reason: str
    passing: bool


class Shares:
    """The shares that one worker is being given."""

    def __init__(self, store: ModelStore, role: Role, links: PeerLinks, reactor: Reactor) -> None:
        self._store, self._role, self._links, self._reactor = store, role, links, reactor
        self._waiting: dict[str, Waiting] = {}
        self._digests: dict[str, dict[Role, object]] = {}
        self._young: set[str] = set()
        self._coming: dict[str, tuple[Endpoint, Receiving]] = {}

    def share(self, owner: Endpoint, fields: Fields, frame: Frame, done: Done) -> None:
        """Take an owner's share, or the beginning of one.

        ``done`` is called with None, or with the reason why it was not taken; after a beginning, once it is here.
        """
        self._links.require()
        received = self._store.receive(fields)
        if received.number in self._waiting or received.number in self._coming:
            raise ProtocolError("This model is being shared already. Share it under a number of its own.")
        if sum(one is owner for one, _ in self._coming.values()) >= MAX_COMING:
            raise ProtocolError("Too many models are being shared over one connection. Share one after the other.")
        self._coming[received.number] = owner, received
        self.part(owner, fields, frame, done)

    def part(self, owner: Endpoint, fields: Fields, frame: Frame, done: Done) -> None:
        """Take more of a share that the same connection has begun; see :meth:`share`."""
        number = text(fields.get("model"), "model")
        sender, received = self._coming.pop(number, (None, None))
        if received is None or sender is not owner:
            raise ProtocolError("No share of this model has been begun here. Share it again with all three workers.")
        layers, more = fields.get("layers"), fields.get("more", False)
        if type(more) is not bool:
            raise ProtocolError("The field 'more' must say whether more of a share is to come.")
        received.take(frame.arrays, None if layers is None else whole(layers, "layers"))
        if more:
            self._coming[number] = owner, received
            done(None)
        else:
            self._take(received, done)

    def owner_gone(self, owner: Endpoint) -> None:
        """What a connection that is over has begun to share is not finished any more."""
        for number in [number for number, (sender, _) in self._coming.items() if sender is owner]:
            del self._coming[number]

    def _take(self, received: Receiving, done: Done) -> None:
        self._links.require()
        model = self._store.model(received)
        try:
            self._store.keep(received)
        except SyfrError as error:
            log.warning("could not keep its share of the model '%s': %s", model.name, error)
            self._tell_given_up(model.number, f"{self._role.label} could not keep its part")
            raise
        waiting = self._waiting[model.number] = Waiting(model, done)
        waiting.deadline = self._reactor.after(
            PEER_SECONDS, lambda: self._fail(waiting, "the other workers did not answer")
        )
        for peer in self._role.peers:
            self._announce(model, peer)
        self._compare(model.number)

    def _announce(self, model: Model, peer: Role) -> None:
        self._links.send(peer, "share", {"model": model.number, "digests": model.digests_for(peer)})

    def link_changed(self, peer: Role) -> None:
        """A link came up or was lost: what was found over the old one holds no longer."""
        for waiting in list(self._waiting.values()):
            self._fail(waiting, f"the link to {peer.label} was lost", passing=True)
        for found in self._digests.values():
            found.pop(peer, None)
        for model in self._store:
            model.agreed.discard(peer)
            if self._links.up(peer):
                self._announce(model, peer)

    def peer_digests(self, peer: Role, fields: Fields, _: Frame) -> None:
        """The hashes of a peer's part."""
        number = text(fields.get("model"), "model")
        model = self._store.find(number)
        if model is not None and fields.get("digests") is None:
            self._given_up(model, peer)
            return
        if model is not None:
            self._compare_again(model, peer, fields.get("digests"))
            return
        if len(self._digests) >= MAX_WAITING and number not in self._digests:
            self._digests.pop(next(iter(self._digests)))
        found = fields.get("digests")
        if found is None:
            found = GivenUp(text(fields.get("reason"), "reason"), fields.get("passing") is True)
        self._digests.setdefault(number, {})[peer] = found
        self._compare(number)

    def _compare_again(self, model: Model, peer: Role, digests: object) -> None:
        """The hashes of a peer that was linked anew, or restarted."""
        if digests == model.digests_for(peer):
            model.agreed.add(peer)
        else:
            log.warning("%s has another part of the model '%s'; it is not used", peer.label, model.name)

    def _compare(self, number: str) -> None:
        waiting = self._waiting.get(number)
        if waiting is None:
            return
        model = waiting.model
        for peer, digests in self._digests.get(number, {}).items():
            if isinstance(digests, GivenUp):
                self._fail(waiting, digests.reason, tell=False, passing=digests.passing)
                return
            if digests != model.digests_for(peer):
                self._fail(waiting, f"{self._role.label} and {peer.label} were given parts that do not match")
                return
            model.agreed.add(peer)
        if model.ready:
            self._forget(number)
            self._store.add(model)
            self._young.add(number)
            self._reactor.after(PEER_SECONDS, lambda: self._young.discard(number))
            log.info("took its share of the model '%s' (%s)", model.name, number)
            waiting.done(None)

    def withdraw(self, number: object) -> None:
        """Give up a share that its owner no longer wants."""
        if isinstance(number, str):
            self._coming.pop(number, None)
        waiting = self._waiting.get(number) if isinstance(number, str) else None
        if waiting is not None:
            self._fail(waiting, "its owner has withdrawn it")

    def _fail(self, waiting: Waiting, reason: str, tell: bool = True, passing: bool = False) -> None:
        """Give up a share that is being compared; ``passing`` if it may be shared again in a moment."""
        if self._waiting.get(waiting.model.number) is waiting:
            self._forget(waiting.model.number)
            with contextlib.suppress(WorkerError):  # the owner is told the reason, and to share again
                self._store.discard(waiting.model.number)
            if tell:
                self._tell_given_up(waiting.model.number, reason, passing)
            log.warning("did not take its share of the model '%s': %s", waiting.model.name, reason)
            kind = NotReadyError if passing else ProtocolError
            waiting.done(kind(f"The model was not shared: {reason}. Share it again with all three workers."))

    def _tell_given_up(self, number: str, reason: str, passing: bool = False) -> None:
        """So that the peers need not wait for hashes, and keep no share that nobody will use."""
        told = {"reason": reason, "passing": passing}
        for peer in self._role.peers:
            with contextlib.suppress(ClosedError):
                self._links.send(peer, "share", {"model": number, "digests": None, **told})

    def _given_up(self, model: Model, peer: Role) -> None:
        """A peer did not take its part of what was taken here a moment ago: nobody can use it, so it goes."""
        if model.number in self._young:
            self._young.discard(model.number)
            log.warning("%s did not take its part of the model '%s'; it is dropped", peer.label, model.name)
            with contextlib.suppress(WorkerError):  # what cannot be deleted now is refused after a restart
                self._store.drop(model.number)

    def _forget(self, number: str) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and waiting.deadline is not None:
            waiting.deadline.cancel()
        self._digests.pop(number, None)
