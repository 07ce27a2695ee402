"""A share on its way from its owner to one worker, in one call or in several of bounded size.

The dealer is sent seeds alone; it expands them layer by layer as the owner's calls go on, so that no call takes long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syfr.errors import ProtocolError
from syfr.party.fields import Fields, seeds_of, text
from syfr.program import Program
from syfr.protocol.channel import Array
from syfr.protocol.roles import Role
from syfr.protocol.sharing import SEED_BYTES, LayerShare, ModelShare, layer_share
from syfr.ring.fixedpoint import Words


class Receiving:
    """What has come of one share.

    Args:
        fields: those of the share's first call.

    Attributes:
        layers: the linear steps that are here as a whole.
    """

    def __init__(self, role: Role, fields: Fields) -> None:
        self.role = role
        self.number, self.name = text(fields.get("model"), "model"), text(fields.get("name"), "name")
        self.program = Program.from_message(fields.get("program"))
        self._seeds = seeds_of(fields.get("seeds"), 2 if role is Role.SERVER2 else 1, SEED_BYTES)
        self._steps = self.program.linear_steps()
        self._masked: dict[int, Words] = {}
        self._biases: dict[int, Words] = {}
        self._filled = 0
        self.layers: dict[int, LayerShare] = {}

    def __repr__(self) -> str:
        return f"Receiving('{self.name}', {len(self.layers)} of {len(self._steps)} layers)"

    def take(self, arrays: Sequence[Array], layers: int | None = None) -> None:
        """Take in the arrays of a call, after which ``layers`` of the linear steps are whole; None for all of them."""
        if self.role is Role.SERVER2:
            if arrays:
                raise self._miscounted()
            for number, step in self._steps[len(self.layers) : layers]:
                self.layers[number] = layer_share(self.role, self._seeds, number, step)
        for array in arrays:
            self._take(array)

    def _take(self, array: Array) -> None:
        if len(self.layers) == len(self._steps):
            raise self._miscounted()
        number, step = self._steps[len(self.layers)]
        size = math.prod(step.kernel)
        if array.dtype != np.uint64:
            raise self._misshapen(step.layer)
        if self._filled == size and array.shape == step.kernel[-1:]:
            self._biases[number] = array
            masked = self._masked[number]
            self.layers[number] = layer_share(self.role, self._seeds, number, step, masked, array)
            self._filled = 0
        elif array.shape == step.kernel and not self._filled:
            self._masked[number] = array
            self._filled = size
        elif array.ndim == 1 and 0 < array.size <= size - self._filled:
            if not self._filled:
                self._masked[number] = np.empty(step.kernel, np.uint64)
            self._masked[number].reshape(-1)[self._filled : self._filled + array.size] = array
            self._filled += array.size
        else:
            raise self._misshapen(step.layer)

    def share(self) -> ModelShare:
        """The whole share; raises ProtocolError when some of it has not come."""
        if len(self.layers) != len(self._steps) or self._filled:
            raise self._miscounted()
        return ModelShare(self.role, self._seeds, self._masked, self._biases)

    def fields(self) -> dict[str, Any]:
        """As they came."""
        message = self.program.to_message()
        return {"model": self.number, "name": self.name, "program": message, "seeds": list(self._seeds)}

    def _miscounted(self) -> ProtocolError:
        return ProtocolError(f"A share for {self.role.label} has the wrong number of arrays.")

    def _misshapen(self, layer: str) -> ProtocolError:
        return ProtocolError(f"The share of layer '{layer}' does not have the shape that the program declares.")
