"""Models on private tensors, with the words of published scripts: model.fix_precision().share(alice, bob)(data)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from syfr.errors import InputTypeError
from syfr.face.imports import imported
from syfr.face.owner import SHARE_SECONDS
from syfr.face.tasks import Task
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import Imported
from syfr.importing.torch_import import import_module
from syfr.protocol.sharing import share_weights
from syfr.steps import Shape
from syfr.tensors.expression import Range
from syfr.tensors.models import apply_model
from syfr.tensors.places import Place
from syfr.tensors.private import PlainTensor, PrivateTensor, place_of

Import = Callable[[Shape, Range], Imported]
"""Makes a Program and weights for rows of a shape, with numbers in a range."""


class FixedModel:
    """A model whose weights are to be shared."""

    def __init__(self, make: Import) -> None:
        self._make = make

    def share(self, *workers: Any, crypto_provider: Any = None) -> PrivateModel:
        """Share it with a TFECluster, or with two VirtualWorkers and a third as crypto provider."""
        return PrivateModel(place_of(workers, crypto_provider), self._make)


class PrivateModel:
    """A model that only the workers together hold; calling it computes on a private tensor.

    Its weights are sent when it is first called for rows of some shape and range, which its Program depends on.
    """

    def __init__(self, place: Place, make: Import) -> None:
        self._place, self._make = place, make
        self._shared: dict[tuple[Shape, Range], tuple[str, Imported]] = {}

    def __repr__(self) -> str:
        return f"PrivateModel(shared for {len(self._shared)} form(s) of input)"

    def __call__(self, data: PrivateTensor) -> PrivateTensor:
        """What the model gives for every row, before its softmax or sigmoid."""
        if data._place is not self._place:
            raise InputTypeError("The model and the tensor are with different workers. Share both with the same.")
        form = data.shape[1:], data.range
        if form not in self._shared:
            made, number = self._make(*form), secrets.token_hex(16)
            check_ranges(made.program, made.weights, made.known)
            kernels = {step: weights.kernel for step, weights in made.weights.items()}
            biases = {step: weights.bias for step, weights in made.weights.items()}
            parts, deadline = share_weights(made.program, kernels, biases), time.monotonic() + SHARE_SECONDS
            Task(lambda _: self._place.add_model(number, made.program, parts, deadline)).wait()
            self._shared[form] = number, made
        number, made = self._shared[form]
        return PrivateTensor(apply_model(made.program, number, data._node), self._place)


def keras_model(model: object, digits: int | None = None) -> FixedModel:
    """A Keras model, ready to be shared for computing on private tensors; ``digits`` as for tensors."""
    PlainTensor([0.0]).fix_precision(digits)
    return FixedModel(lambda _, span: imported(model, input_range=span))


class TorchHook:
    """Gives PyTorch's modules and tensors the method fix_precision(), whose results are shared as Keras models are.

    Args:
        torch: the module torch.
    """

    def __init__(self, torch: Any) -> None:
        if not hasattr(torch, "nn") or not hasattr(torch, "Tensor"):
            raise InputTypeError("This is not PyTorch: it has no nn and Tensor. Give the module torch.")
        torch.nn.Module.fix_precision = torch_module
        torch.Tensor.fix_precision = torch_tensor
        self.torch = torch

    def __repr__(self) -> str:
        return "TorchHook(torch)"


def torch_module(self: Any, digits: int | None = None) -> FixedModel:
    """A module, traced when it is first called."""
    PlainTensor([0.0]).fix_precision(digits)
    return FixedModel(lambda shape, span: import_module(self, shape, span))


def torch_tensor(self: Any, digits: int | None = None) -> PlainTensor:
    """A tensor's numbers."""
    return PlainTensor(np.asarray(self.detach().cpu().numpy(), np.float64)).fix_precision(digits)
