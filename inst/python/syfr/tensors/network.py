"""Models on private tensors, with the words of published scripts: model.fix_precision().share(alice, bob)(data)."""

from __future__ import annotations

import secrets
from typing import Any

from syfr.errors import InputTypeError
from syfr.face.cluster import TFECluster
from syfr.face.imports import imported
from syfr.face.owner import sharing
from syfr.program import Program
from syfr.protocol.sharing import share_weights
from syfr.tensors.models import apply_model
from syfr.tensors.places import InProcess, Place
from syfr.tensors.private import PlainTensor, PrivateTensor, place_of


class FixedModel:
    """A Keras model whose weights are to be shared.

    Args:
        model: as for KerasHook.
        options: input_range and others, as for sharing a model.
    """

    def __init__(self, model: object, **options: Any) -> None:
        self._model, self._options = model, options

    def share(self, *workers: Any, crypto_provider: Any = None) -> PrivateModel:
        """Share it with a TFECluster, or with two VirtualWorkers and a third as crypto provider."""
        place = place_of(workers, crypto_provider)
        if not isinstance(place, InProcess):
            (cluster,) = workers
            if not isinstance(cluster, TFECluster):
                raise InputTypeError("Share a model with a TFECluster, or with three VirtualWorkers.")
            shared = sharing(self._model, cluster, **self._options).wait()
            return PrivateModel(place, shared.number, shared.program)
        found = imported(self._model, **self._options)
        kernels = {number: weights.kernel for number, weights in found.weights.items()}
        biases = {number: weights.bias for number, weights in found.weights.items()}
        number = secrets.token_hex(16)
        place.add_model(number, found.program, share_weights(found.program, kernels, biases))
        return PrivateModel(place, number, found.program)


class PrivateModel:
    """A model that only the workers together hold; calling it computes on a private tensor."""

    def __init__(self, place: Place, number: str, program: Program) -> None:
        self._place, self._number, self.program = place, number, program

    def __repr__(self) -> str:
        return f"PrivateModel(input={self.program.input_shape}, output={self.program.output_shape})"

    def __call__(self, data: PrivateTensor) -> PrivateTensor:
        """What the model gives for every row, before its softmax or sigmoid."""
        if data._place is not self._place:
            raise InputTypeError("The model and the tensor are with different workers. Share both with the same.")
        return PrivateTensor(apply_model(self.program, self._number, data._node), self._place)


def fix_precision(model: object, digits: int | None = None, **options: Any) -> FixedModel:
    """A Keras model, ready to be shared for computing on private tensors; ``digits`` as for tensors."""
    PlainTensor([0.0]).fix_precision(digits)
    return FixedModel(model, **options)
