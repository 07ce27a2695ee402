"""Computations on private tensors: a Program whose input is a row of tensors, run once, for one caller.

The workers build it like a model that is asked for one row: preprocessing, agreement and running are those of queries.
Weights come from models that the owner has shared; where they are taken from is public.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from syfr.errors import ProtocolError, RefusedError
from syfr.party.consent import require_consent
from syfr.party.endpoint import Endpoint
from syfr.party.fields import SESSION_BYTES, Fields, octets, whole
from syfr.party.models import Model, ModelStore
from syfr.party.serving import Serving
from syfr.party.tensors import Tensor, Tensors
from syfr.program import Program
from syfr.protocol.channel import Array
from syfr.protocol.roles import Role
from syfr.protocol.sharing import LayerShare, lent
from syfr.ring.fixedpoint import Words

log = logging.getLogger("syfr.party")

MAX_INPUTS = 1024
MAX_PROGRAM_BYTES = 1 << 24


class StoredMask:
    """The mask of the one row of a computation: those of its tensors, one after the other."""

    def __init__(self, masks: Sequence[Words]) -> None:
        self._mask = np.concatenate(masks)

    def __repr__(self) -> str:
        return "StoredMask(<REDACTED>)"

    def rows(self, start: int, rows: int) -> Words:
        """The mask of row 0; there is no other."""
        if (start, rows) != (0, 1):
            raise ProtocolError("A computation has one row.")
        return self._mask[None]


@dataclass(repr=False)
class Computation:
    """What a worker needs to run one.

    Attributes:
        number: of the session in which it runs.
        model: made for it alone.
        masks: of the row, one for each seed that the worker has.
        proofs: what the workers compare instead of a client's seeds: one for each server that the worker may be.
        masked: the row, at server0 and server1.
    """

    number: bytes
    model: Model
    masks: list[StoredMask]
    proofs: tuple[bytes, ...]
    masked: Words | None


def read_computation(
    role: Role, endpoint: Endpoint, tensors: Tensors, models: ModelStore, fields: Fields, arrays: Sequence[Array]
) -> Computation:
    """A caller's request, checked: raises ProtocolError, NotSharedError, or RefusedError without consent."""
    number = octets(fields.get("session"), "session", SESSION_BYTES)
    program = _read_program(arrays)
    asked = fields.get("tensors")
    if not isinstance(asked, list) or not 1 <= len(asked) <= MAX_INPUTS:
        raise ProtocolError(f"A computation reads 1 to {MAX_INPUTS} tensors.")
    held = [tensors.get(one) for one in asked]
    inputs = [tensor for tensor, _ in held]
    if program.input_shape != (sum(tensor.size for tensor in inputs),) or program.untrusted_clients:
        raise ProtocolError("The computation's input is not the row of its tensors.")
    require_consent(program, inputs, endpoint, [owner for _, owner in held])
    layers = _layers(program, endpoint, models, fields.get("weights"))
    log.info("a computation on %d tensor(s) opens %d number(s) to %s", len(asked), _opened(program), endpoint.identity)
    serving = Serving("computation")
    serving.open(1, None)
    digests = {"program": _digest(program, inputs, fields.get("weights"))}
    model = Model(number.hex(), "computation", program, layers, digests, role, serving, set(role.peers))
    given = zip(*(tensor.seeds for tensor in inputs), strict=True)
    proofs = tuple(hashlib.sha256(b"syfr computation" + b"".join(seeds)).digest()[:16] for seeds in given)
    masks = [StoredMask(parts) for parts in zip(*(tensor.masks() for tensor in inputs), strict=True)]
    return Computation(number, model, masks, proofs, _row(inputs))


def _opened(program: Program) -> int:
    return math.prod(program.output_shape)


def _row(inputs: Sequence[Tensor]) -> Words | None:
    parts = [tensor.masked for tensor in inputs if tensor.masked is not None]
    return np.concatenate(parts)[None] if parts else None


def _read_program(arrays: Sequence[Array]) -> Program:
    if len(arrays) != 1 or arrays[0].dtype != np.uint8 or arrays[0].size > MAX_PROGRAM_BYTES:
        raise ProtocolError("A computation comes with its program.")
    try:
        message = msgpack.unpackb(arrays[0].tobytes(), raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError("The program of a computation cannot be read.") from error
    return Program.from_message(message)


def _digest(program: Program, inputs: Sequence[Tensor], weights: object) -> bytes:
    """What all three must have alike: the program, the tensors with their policies, where weights come from."""
    public = [[tensor.number, list(tensor.shape), tensor.reveal, tensor.min_rows] for tensor in inputs]
    packed: bytes = msgpack.packb([program.digest(), public, weights], use_bin_type=True)
    return hashlib.sha256(b"syfr computation 1" + packed).digest()[:16]


def _layers(program: Program, endpoint: Endpoint, models: ModelStore, weights: object) -> dict[int, LayerShare]:
    """The weights of all linear steps, from the models that the caller has shared."""
    steps = program.linear_steps()
    if not isinstance(weights, list) or len(weights) != len(steps):
        raise ProtocolError("A computation names the weights of each of its linear steps.")
    if steps and endpoint.identity.role != "owner":
        raise RefusedError(
            f"{endpoint.identity} may not compute with the weights of a model. Its owner can do the computation."
        )
    layers: dict[int, LayerShare] = {}
    for (number, step), place in zip(steps, weights, strict=True):
        if not isinstance(place, list) or len(place) != 2:
            raise ProtocolError("The weights of a step are named by a model and one of its steps.")
        model = models.get(place[0])
        theirs: Mapping[int, Any] = dict(model.program.linear_steps())
        source = theirs.get(whole(place[1], "weights"))
        if source is None or (source.kernel, source.geometry) != (step.kernel, step.geometry):
            raise ProtocolError(f"The step '{step.layer}' does not fit the weights of the model '{model.name}'.")
        if model.program.precision != program.precision:
            raise ProtocolError(f"The model '{model.name}' has another number format than the computation.")
        layers[number] = model.layers[place[1]]
    return lent(program, layers)
