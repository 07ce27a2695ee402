"""A model's weights on their way to the workers, some megabytes a call: no frame is large, and no call takes long."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from syfr.errors import NotReadyError
from syfr.face.again import Patience
from syfr.face.cluster import TFECluster
from syfr.face.tasks import Steps, Wait
from syfr.importing.keras_import import Imported
from syfr.protocol import sharing
from syfr.protocol.sharing import SharedLayer
from syfr.ring.fixedpoint import Words
from syfr.trust.identity import SERVERS

PART_BYTES = 32 << 20


@dataclass
class Part:
    """What one call brings: the arrays of server0 and of server1, and how many layers are then whole."""

    arrays: tuple[list[Words], list[Words]] = field(default_factory=lambda: ([], []), repr=False)
    layers: int = 0

    @property
    def size(self) -> int:
        """Bytes for one server."""
        return sum(array.nbytes for array in self.arrays[0])


def in_parts(layers: Iterable[SharedLayer], most: int) -> Iterator[Part]:
    """Layers in parts of about ``most`` bytes; a kernel that is larger is cut into flat pieces."""
    part = Part()
    for layer in layers:
        flat, step = layer.masked.reshape(-1), max(1, most // layer.masked.itemsize)
        cut = [flat[start : start + step] for start in range(0, flat.size, step)]
        for piece in [layer.masked] if len(cut) == 1 else cut:
            if part.size and part.size + piece.nbytes > most:
                yield part
                part = Part(layers=part.layers)
            for arrays in part.arrays:
                arrays.append(piece)
        for arrays, bias in zip(part.arrays, layer.biases, strict=True):
            arrays.append(bias)
        part.layers += 1
    yield part


def send(cluster: TFECluster, name: str, imported: Imported, deadline: float) -> Steps[str]:
    """Share a model's weights with the workers; the number that they have it under, new with every share.

    When a worker has no link to another one, or loses it meanwhile, all is sent again with other masks: there is a new
    one in a moment.
    """
    patience = Patience(deadline)
    while True:
        number = secrets.token_hex(16)
        try:
            yield from _send(cluster, number, name, imported, deadline)
            return number
        except NotReadyError as error:
            if not patience.lasts(error):
                raise
        yield from patience.waiting()


def _send(cluster: TFECluster, number: str, name: str, imported: Imported, deadline: float) -> Steps[None]:
    """Split a model's weights with fresh masks and give each worker its part; none is kept when one refuses it."""
    program, seeds = imported.program, sharing.fresh_seeds()
    kernels = {step: weights.kernel for step, weights in imported.weights.items()}
    biases = {step: weights.bias for step, weights in imported.weights.items()}
    given = {role: {"seeds": own} for role, own in zip(SERVERS, ([seeds[0]], [seeds[1]], list(seeds)), strict=True)}
    parts = in_parts(sharing.sharing_layers(program, kernels, biases, seeds), PART_BYTES)
    call, fields = "share", {"name": name, "program": program.to_message()}
    try:
        part: Part | None = next(parts)
        while part is not None:
            following = next(parts, None)
            yield Wait(until=time.monotonic())  # here a session can be interrupted
            same: dict[str, Any] = {**fields, "model": number, "layers": part.layers, "more": following is not None}
            arrays = dict(zip(SERVERS, part.arrays, strict=False))
            yield from cluster.ask_all(call, deadline, given, arrays, **same)
            call, fields, given, part = "part", {}, {}, following
    except BaseException:
        cluster.tell("drop", model=number)
        raise
