"""The models that a worker holds shares of.

A share is in use only while the three workers are linked and have compared hashes: all have the same program, server0
and server1 the same masked weights, and each seed is the same at the two workers that hold it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from syfr.errors import NotReadyError, NotSharedError, ProtocolError
from syfr.link import Frame
from syfr.party.fields import Fields, fields_of, text
from syfr.party.preprocessing import Plan
from syfr.party.receiving import Receiving
from syfr.party.serving import Serving
from syfr.party.state import StateDirectory
from syfr.party.trace import Tracing
from syfr.program import Program
from syfr.protocol import sharing
from syfr.protocol.roles import Role
from syfr.protocol.sharing import LayerShare

log = logging.getLogger("syfr.party")

MODEL_ID = re.compile(r"[0-9a-f]{32}")
COMPARED = {
    frozenset((Role.SERVER0, Role.SERVER1)): ("program", "masked"),
    frozenset((Role.SERVER0, Role.SERVER2)): ("program", "seed0"),
    frozenset((Role.SERVER1, Role.SERVER2)): ("program", "seed1"),
}


@dataclass
class Model:
    """One shared model at one worker.

    Attributes:
        serving: what may still be asked of it.
        agreed: the peers that were found to hold matching parts since they were last linked.
    """

    number: str
    name: str
    program: Program
    layers: dict[int, LayerShare] = field(repr=False)
    digests: dict[str, bytes] = field(repr=False)
    role: Role
    serving: Serving
    agreed: set[Role] = field(default_factory=set)
    tracing: Tracing = field(default_factory=Tracing)
    _plans: dict[bool, Plan] = field(default_factory=dict, repr=False)

    def plan(self, padded: bool = False) -> Plan:
        """How it is run, in either form (protocol/answer.py)."""
        if padded not in self._plans:
            self._plans[padded] = Plan(self.program, padded)
        return self._plans[padded]

    @property
    def ready(self) -> bool:
        """Whether both peers hold matching parts."""
        return len(self.agreed) == 2

    def status(self) -> dict[str, Any]:
        """Counters, for the owner."""
        return {
            "model": self.number,
            "name": self.name,
            "rows": self.program.rows,
            "ready": self.ready,
            **self.serving.status(),
        }

    def describe(self) -> dict[str, Any]:
        """What a client may know."""
        return {
            "model": self.number,
            "name": self.name,
            "program": self.program.to_message(),
            "serving": self.serving.on and self.ready,
        }

    def digests_for(self, peer: Role) -> dict[str, bytes]:
        """The hashes that ``peer`` must have too."""
        return {name: self.digests[name] for name in COMPARED[frozenset((self.role, peer))]}


class ModelStore:
    """All models of one worker.

    Args:
        state: where they are kept beyond the worker's end; None for a worker that keeps nothing.
    """

    def __init__(self, role: Role, state: StateDirectory | None = None) -> None:
        self._role, self._state = role, state
        self._models: dict[str, Model] = {}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def receive(self, fields: Fields) -> Receiving:
        """A share that an owner begins to send, checked; raises ProtocolError."""
        number = text(fields.get("model"), "model")
        if not MODEL_ID.fullmatch(number) or number in self._models:
            raise ProtocolError("A share needs a new model number of 32 hexadecimal digits.")
        return Receiving(self._role, fields)

    def model(self, received: Receiving) -> Model:
        """The model of a share that has come, not yet in the store; raises ProtocolError when some of it has not."""
        number, program, share = received.number, received.program, received.share()
        serving = Serving(received.name)
        if self._state is not None:
            keep_serving = self._state.keep_serving
            serving.keep = lambda: keep_serving(number, serving.to_fields())
        digests, layers = sharing.digests(program, share), sharing.lent(program, received.layers)
        return Model(number, received.name, program, layers, digests, self._role, serving)

    def keep(self, received: Receiving) -> None:
        """Write an owner's share to the state directory, if there is one; raises WorkerError."""
        if self._state is not None:
            self._state.keep_share(received.number, Frame("share", received.fields(), received.share().arrays))

    def restore(self) -> None:
        """Take up the models that were kept; they are used once the peers were found to hold matching parts."""
        for number, share, counters in self._state.load() if self._state is not None else ():
            try:
                received = self.receive(fields_of(share.meta))
                received.take(share.arrays)
                model = self.model(received)
                if counters is not None:
                    model.serving.restore(counters)
            except ProtocolError as error:
                log.warning("leaves the kept share of model %s alone: %s", number, error)
                continue
            self.add(model)
            log.info("took up its share of the model '%s' (%s)", model.name, number)

    def add(self, model: Model) -> None:
        """Put a model into the store."""
        self._models[model.number] = model

    def find(self, number: object) -> Model | None:
        """The model of that number, if it is here."""
        return self._models.get(number) if isinstance(number, str) else None

    def get(self, number: object) -> Model:
        """The model of that number, ready to be used; raises NotSharedError, or NotReadyError."""
        model = self.find(number)
        if model is None:
            raise NotSharedError("This model is not shared with the workers. Its owner can share it again.")
        if not model.ready:
            waits = " and ".join(peer.label for peer in self._role.peers if peer not in model.agreed)
            raise NotReadyError(
                f"{self._role.label} has not found yet that {waits} holds its part of the model '{model.name}'. "
                "Try again when all three workers run; if one has lost its part, share the model again."
            )
        return model

    def drop(self, number: object) -> Model | None:
        """Forget a model and its share, on the disk too."""
        model = self._models.pop(number, None) if isinstance(number, str) else None
        if model is not None:
            model.serving.keep = _keep_nothing  # its last queries end after it
            self.discard(model.number)
        return model

    def discard(self, number: str) -> None:
        """Delete what is kept of a model; raises WorkerError."""
        if self._state is not None:
            self._state.delete(number)


def _keep_nothing() -> None:
    return None
