"""Private predictions with Keras models by secure multi-party computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syfr.quiet import quiet_tensorflow
from syfr.version import __version__

if TYPE_CHECKING:
    from syfr.errors import SyfrError
    from syfr.face.client import Client
    from syfr.face.cluster import TFECluster
    from syfr.face.hook import KerasHook
    from syfr.face.worker import TFEWorker, local_cluster
    from syfr.tensors.network import TorchHook
    from syfr.tensors.private import PrivateTensor, VirtualWorker, tensor

__all__ = [
    "Client",
    "KerasHook",
    "PrivateTensor",
    "SyfrError",
    "TFECluster",
    "TFEWorker",
    "TorchHook",
    "VirtualWorker",
    "__version__",
    "local_cluster",
    "tensor",
]

_HOMES = {
    "Client": "face.client",
    "KerasHook": "face.hook",
    "PrivateTensor": "tensors.private",
    "SyfrError": "errors",
    "TFECluster": "face.cluster",
    "TFEWorker": "face.worker",
    "TorchHook": "tensors.network",
    "VirtualWorker": "tensors.private",
    "local_cluster": "face.worker",
    "tensor": "tensors.private",
}

quiet_tensorflow()


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: a worker starts without the face, a client without the owner."""
    if name not in _HOMES:
        raise AttributeError(f"module 'syfr' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"syfr.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
