"""The private tensors that a worker holds for sessions of owners and clients, until their session ends.

A tensor is shared as an input is: server0 and server1 hold m = x + lambda0 + lambda1 and a seed of one lambda each, the
dealer holds both seeds. It never leaves; it is only read by computations (computations.py), which consent.py allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from syfr.errors import NotSharedError, ProtocolError, RefusedError
from syfr.party.endpoint import Endpoint
from syfr.party.fields import Fields, octets, seeds_of, text, whole
from syfr.protocol.channel import Array
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import SEED_BYTES, input_mask
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import unpack_elements
from syfr.step_messages import shape_from
from syfr.steps import Shape, check_shapes
from syfr.trust.identity import Identity

NUMBER_BYTES = 16
MAX_TENSORS = 4096
MAX_ELEMENTS = 1 << 26
"""Tensors of one owner or client, and elements of all of them together."""

REVEALS = ("owner", "aggregate")


@dataclass(eq=False)
class Tensor:
    """One tensor at one worker.

    Attributes:
        owner: who shared it; only its connection may use it, unless others are permitted or it is of aggregates.
        reveal: "owner", or "aggregate": anybody may open sums over at least ``min_rows`` of its rows.
        permitted: names of others that may open whatever they compute from it.
    """

    number: bytes
    shape: Shape
    owner: Identity
    seeds: tuple[bytes, ...] = field(repr=False)
    masked: Words | None = field(repr=False)
    reveal: str = "owner"
    min_rows: int = 1
    permitted: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    def masks(self) -> list[Words]:
        """The lambdas that this worker knows, flat."""
        return [input_mask(seed, 0, 1, (self.size,)).reshape(-1) for seed in self.seeds]


class Tensors:
    """All tensors of one worker."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._tensors: dict[bytes, tuple[Tensor, Endpoint]] = {}

    def add(self, endpoint: Endpoint, fields: Fields, arrays: Sequence[Array]) -> None:
        """Take a tensor; raises ProtocolError, or RefusedError when there is no more room."""
        number = octets(fields.get("tensor"), "tensor", NUMBER_BYTES)
        if number in self._tensors:
            raise ProtocolError("A tensor needs a number of its own.")
        tensor = self._read(number, endpoint.identity, fields, arrays)
        others = [one for one, _ in self._tensors.values() if one.owner == tensor.owner]
        if len(others) >= MAX_TENSORS or sum(one.size for one in others) + tensor.size > MAX_ELEMENTS:
            raise RefusedError(
                f"{tensor.owner} has {len(others)} tensors here, and there is no room for one more. Drop some of them."
            )
        self._tensors[number] = tensor, endpoint

    def _read(self, number: bytes, owner: Identity, fields: Fields, arrays: Sequence[Array]) -> Tensor:
        try:
            shape = shape_from(fields.get("shape"))
        except TypeError as error:
            raise ProtocolError("The field 'shape' must be a list of whole numbers.") from error
        check_shapes("tensor", shape)
        seeds = seeds_of(fields.get("seeds"), 2 if self._role is DEALER else 1, SEED_BYTES)
        reveal = text(fields.get("reveal"), "reveal")
        if reveal not in REVEALS:
            raise ProtocolError(f"The field 'reveal' must be one of {', '.join(REVEALS)}.")
        min_rows = whole(fields.get("min_rows"), "min_rows", 1)
        masked = None if self._role is DEALER else _read_masked(arrays, math.prod(shape))
        return Tensor(number, shape, owner, seeds, masked, reveal, min_rows)

    def get(self, number: object) -> tuple[Tensor, Endpoint]:
        """A tensor and the connection that shared it; raises NotSharedError."""
        found = self._tensors.get(octets(number, "tensor", NUMBER_BYTES))
        if found is None:
            raise NotSharedError("This tensor is not held by the workers; its session may have ended. Share it again.")
        return found

    def permit(self, endpoint: Endpoint, fields: Fields) -> None:
        """Let somebody else open what is computed from a tensor; only who shared it can."""
        tensor, owner = self.get(fields.get("tensor"))
        if owner is not endpoint:
            raise RefusedError("Only the session that shared a tensor can permit others to use it.")
        tensor.permitted.add(text(fields.get("to"), "to"))

    def drop(self, endpoint: Endpoint, fields: Fields) -> None:
        """Forget a tensor of this connection, if it is one."""
        number = octets(fields.get("tensor"), "tensor", NUMBER_BYTES)
        if number in self._tensors and self._tensors[number][1] is endpoint:
            del self._tensors[number]

    def gone(self, endpoint: Endpoint) -> None:
        """Handles end with their session."""
        for number, (_, owner) in list(self._tensors.items()):
            if owner is endpoint:
                del self._tensors[number]


def _read_masked(arrays: Sequence[Array], size: int) -> Words:
    if len(arrays) != 1 or arrays[0].dtype != np.uint8 or arrays[0].shape != (WIRE_BYTES * size,):
        raise ProtocolError("The masked tensor does not have the shape that it declares.")
    return unpack_elements(arrays[0], (size,))
