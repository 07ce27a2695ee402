"""With whom tensors are shared: the workers of a cluster, or named workers in this process."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syfr.errors import InputTypeError
from syfr.face.cluster import TFECluster
from syfr.tensors.places import InProcess, Place, Workers
from syfr.trust.identity import Bundle

_places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()
"""The session of tensors with a cluster, or with virtual workers."""


class VirtualWorker:
    """A named worker in this process, for trying things out: the real protocol, without sockets and without secrecy."""

    def __init__(self, hook: object = None, id: str = "worker") -> None:
        self.id = id

    def __repr__(self) -> str:
        return f"VirtualWorker('{self.id}')"


def place_of(workers: Sequence[Any], crypto_provider: Any = None) -> Place:
    """The session of tensors that this process has with these workers."""
    everybody = [*workers, *([] if crypto_provider is None else [crypto_provider])]
    if len(everybody) == 1 and isinstance(everybody[0], TFECluster):
        cluster = everybody[0]
        known = _places.get(cluster)
        if isinstance(known, Workers) and known.outlived() and _directory(cluster).is_dir():
            known = None  # the workers are others now
        if known is None:
            known = _places[cluster] = Workers(cluster.addresses, Bundle.load(_directory(cluster)))
        return known
    if len(everybody) == 3 and all(isinstance(worker, VirtualWorker) for worker in everybody):
        if everybody[0] not in _places:
            _places[everybody[0]] = InProcess()
        return _places[everybody[0]]
    raise InputTypeError("Share a tensor with a TFECluster, or with two VirtualWorkers and a third as crypto_provider.")


def _directory(cluster: TFECluster) -> Path:
    """Where the owner's credentials are if this is the owner's session, else the client's."""
    owner = cluster.directory / "owner"
    return owner if owner.is_dir() else cluster.directory / "client"
