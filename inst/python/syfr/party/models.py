"""The models that a worker holds shares of, and how many requests are open for each.

A share is taken into use only after the three workers have compared hashes: all have the same program, server0 and
server1 the same masked weights, and each seed is the same at the two workers that hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from syfr.errors import NotServedError, NotSharedError, ProtocolError
from syfr.party.fields import Fields, seeds_of, text
from syfr.program import Program
from syfr.protocol import sharing
from syfr.protocol.channel import Array
from syfr.protocol.roles import Role
from syfr.protocol.sharing import SEED_BYTES, LayerShare, ModelShare

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
        limit: requests that may be answered while served; None for no limit.
        served: requests answered since serving was last opened.
        reserved: requests that are running now.
    """

    number: str
    name: str
    program: Program
    layers: dict[int, LayerShare] = field(repr=False)
    digests: dict[str, bytes] = field(repr=False)
    role: Role = Role.SERVER0
    serving: bool = False
    limit: int | None = None
    served: int = 0
    reserved: int = 0
    agreed: set[Role] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether both peers hold matching parts."""
        return len(self.agreed) == 2

    @property
    def left(self) -> int | None:
        """Requests that may still begin; None for no limit."""
        if not self.serving:
            return 0
        return None if self.limit is None else max(0, self.limit - self.served - self.reserved)

    def open(self, requests: int | None) -> None:
        """Open serving for so many requests, counted from now."""
        self.serving, self.limit, self.served = True, requests, 0

    def pause(self) -> None:
        """Close serving; the share stays."""
        self.serving = False

    def reserve(self, requests: int) -> None:
        """Count requests that begin; raises NotServedError when they are not open."""
        left = self.left
        if not self.serving or (left is not None and requests > left):
            raise NotServedError(
                f"The model '{self.name}' is shared, but not served for this query: it needs {requests} request(s), "
                f"and {left or 0} are open. "
                "Its owner can open more with serve()."
            )
        self.reserved += requests

    def commit(self, requests: int) -> None:
        """The requests were answered; at the limit serving closes."""
        self.reserved -= requests
        self.served += requests
        if self.limit is not None and self.served >= self.limit:
            self.serving = False

    def release(self, requests: int) -> None:
        """The requests failed before an answer was released."""
        self.reserved -= requests

    def status(self) -> dict[str, Any]:
        """Counters, for the owner."""
        return {
            "model": self.number,
            "name": self.name,
            "serving": self.serving,
            "requests": self.limit,
            "served": self.served,
            "rows": self.program.rows,
        }

    def describe(self) -> dict[str, Any]:
        """What a client may know."""
        return {
            "model": self.number,
            "name": self.name,
            "program": self.program.to_message(),
            "serving": self.serving,
        }

    def digests_for(self, peer: Role) -> dict[str, bytes]:
        """The hashes that ``peer`` must have too."""
        return {name: self.digests[name] for name in COMPARED[frozenset((self.role, peer))]}


class ModelStore:
    """All models of one worker."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._models: dict[str, Model] = {}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def read(self, fields: Fields, arrays: Sequence[Array]) -> Model:
        """The model of an owner's share request, checked but not yet in the store; raises ProtocolError."""
        number, name = text(fields.get("model"), "model"), text(fields.get("name"), "name")
        if not MODEL_ID.fullmatch(number) or number in self._models:
            raise ProtocolError("A share needs a new model number of 32 hexadecimal digits.")
        program = Program.from_message(fields.get("program"))
        share = _read_share(self._role, program, fields.get("seeds"), arrays)
        layers = sharing.layer_shares(program, share)
        return Model(number, name, program, layers, sharing.digests(program, share), self._role)

    def add(self, model: Model) -> None:
        """Keep a model."""
        self._models[model.number] = model

    def get(self, number: object) -> Model:
        """The model of that number; raises NotSharedError."""
        model = self._models.get(number) if isinstance(number, str) else None
        if model is None or not model.ready:
            raise NotSharedError("This model is not shared with the workers. Its owner can share it with share().")
        return model

    def drop(self, number: object) -> Model | None:
        """Forget a model and its share."""
        return self._models.pop(number, None) if isinstance(number, str) else None


def _read_share(role: Role, program: Program, seeds: object, arrays: Sequence[Array]) -> ModelShare:
    own = seeds_of(seeds, 2 if role is Role.SERVER2 else 1, SEED_BYTES)
    steps = program.linear_steps()
    if len(arrays) != (0 if role is Role.SERVER2 else 2 * len(steps)):
        raise ProtocolError(f"A share for {role.label} has the wrong number of arrays.")
    masked, biases = {}, {}
    for (number, step), kernel, bias in zip(steps, arrays[0::2], arrays[1::2], strict=False):
        right = kernel.shape == step.kernel and bias.shape == step.kernel[-1:]
        if not right or kernel.dtype != np.uint64 or bias.dtype != np.uint64:
            raise ProtocolError(f"The share of layer '{step.layer}' does not have the shape that the program declares.")
        masked[number], biases[number] = kernel, bias
    return ModelShare(role, own, masked, biases)
