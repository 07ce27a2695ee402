"""Where private tensors live: with the three workers of a cluster, or in this process, run by the same code."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgpack
import numpy as np
from numpy.typing import NDArray

from syfr.errors import CredentialsError, DeadlineError, NotSharedError, SyfrError
from syfr.face.answers import ANSWERING, Parts
from syfr.face.remote import Remote
from syfr.face.tasks import Steps, Wait, together
from syfr.link import Frame
from syfr.party import preprocessing
from syfr.party.computations import StoredMask
from syfr.party.memory import MemoryNetwork, all_runs, fresh_pair_keys, prepare_all
from syfr.party.streams import PairKeys
from syfr.program import Program
from syfr.protocol import output, sharing
from syfr.protocol.roles import SERVERS as ROLES
from syfr.protocol.roles import Role
from syfr.protocol.sharing import LayerShare, ModelShare
from syfr.ring.fixedpoint import Words
from syfr.ring.packing import pack_elements
from syfr.tensors.expression import Compiled, Weights
from syfr.trust.identity import Bundle

Floats = NDArray[np.float64]
Handle = bytes
"""Sixteen random bytes that name a tensor at the workers."""


class Place(Protocol):
    """Three workers that hold tensors for this session."""

    def share(self, encoded: Words, reveal: str, min_rows: int, deadline: float) -> Steps[Handle]:
        """Mask an array in fixed point and hand it out."""

    def compute(self, compiled: Compiled, handles: Sequence[Handle], deadline: float) -> Steps[Floats]:
        """The flat outputs of a Program."""

    def add_model(self, number: str, program: Program, parts: Sequence[ModelShare], deadline: float) -> Steps[None]:
        """Hand out the shares of a model, for computations of this session."""

    def permit(self, handle: Handle, name: str, deadline: float) -> Steps[None]:
        """Let somebody else open what is computed from a tensor."""

    def forget(self, handle: Handle) -> None:
        """The tensor is not needed any more."""


class Workers:
    """A session of tensors with the workers of a cluster; its tensors end with it.

    Args:
        addresses: by role.
        bundle: whose tensors they are.
    """

    def __init__(self, addresses: Mapping[str, str], bundle: Bundle) -> None:
        self._addresses, self._bundle = dict(addresses), bundle
        self._remotes: dict[str, Remote] = {}
        self._models: list[str] = []
        self._pending: dict[bytes, Parts] = {}

    def outlived(self) -> bool:
        """Whether the cluster was stopped, or started anew with other credentials, since this session began."""
        try:
            return Bundle.read(self._bundle.directory).cluster != self._bundle.cluster
        except CredentialsError:
            return True

    def _connecting(self, deadline: float) -> Steps[dict[str, Remote]]:
        for remote in self._remotes.values():
            with contextlib.suppress(SyfrError):
                remote.read()
                remote.read()  # that the other end has closed is seen when nothing is left that came before
        if self._remotes and not all(remote.open for remote in self._remotes.values()):
            self._remotes = {}
            raise NotSharedError("The connection to a worker was lost, and the tensors with it. Share them again.")
        if not self._remotes:
            remotes = {role: Remote(role, address, self._bundle) for role, address in self._addresses.items()}
            try:
                yield from together([remote.connecting(deadline) for remote in remotes.values()])
            except CredentialsError as error:
                if not self.outlived():
                    raise
                raise NotSharedError(
                    "The cluster was stopped or started anew, and the tensors were lost with it. Share them again."
                ) from error
            for role, remote in remotes.items():
                remote.received = lambda frame, role=role: self._take(role, frame)
            self._remotes = remotes
        return self._remotes

    def share(self, encoded: Words, reveal: str, min_rows: int, deadline: float) -> Steps[Handle]:
        """Mask an array and send it."""
        remotes = yield from self._connecting(deadline)
        seeds, number = sharing.fresh_seeds(), os.urandom(16)
        flat = encoded.reshape(1, -1)
        packed = pack_elements(sharing.mask_input(flat, seeds, 0)).reshape(-1)
        given = {"server0": [seeds[0]], "server1": [seeds[1]], "server2": list(seeds)}
        public = {"tensor": number, "shape": list(encoded.shape), "reveal": reveal, "min_rows": min_rows}
        yield from together(
            [
                remote.asking("tensor", deadline, [packed] if role in ANSWERING else [], seeds=given[role], **public)
                for role, remote in remotes.items()
            ]
        )
        return number

    def compute(self, compiled: Compiled, handles: Sequence[Handle], deadline: float) -> Steps[Floats]:
        """Run a Program at the workers and add the two parts of its output."""
        remotes = yield from self._connecting(deadline)
        session = os.urandom(16)
        packed: bytes = msgpack.packb(compiled.program.to_message(), use_bin_type=True)
        program = np.frombuffer(packed, np.uint8)
        fields: dict[str, Any] = {
            "session": session,
            "tensors": list(handles),
            "weights": [list(place) for place in compiled.weights],
            "seconds": max(0.0, deadline - time.monotonic()),
        }
        parts = self._pending[session] = Parts(shape=(1, *compiled.program.output_shape))
        try:
            yield from together(
                [remote.asking("compute", deadline, [program], **fields) for remote in remotes.values()]
            )
            yield from _collecting(parts, remotes, deadline)
        finally:
            for remote in remotes.values():
                remote.tell("close", session=session)
            del self._pending[session]
        return parts.combined(compiled.program).reshape(-1)

    def _take(self, role: str, frame: Frame) -> None:
        session = frame.meta.get("session")
        parts = self._pending.get(session) if isinstance(session, bytes) else None
        if parts is None:
            return
        if frame.kind == "failed":
            parts.error = parts.error or self._remotes[role].rebuilt(frame.meta)
        elif frame.kind == "answer":
            parts.take(self._remotes[role], frame)

    def add_model(self, number: str, program: Program, parts: Sequence[ModelShare], deadline: float) -> Steps[None]:
        """Share a model, which is not served to clients."""
        remotes = yield from self._connecting(deadline)
        public = {"model": number, "name": "for tensors", "program": program.to_message()}
        requests = []
        for part in parts:
            remote = remotes[part.role.label]
            requests.append(remote.asking("share", deadline, part.arrays, seeds=list(part.seeds), **public))
        yield from together(requests)
        self._models.append(number)

    def permit(self, handle: Handle, name: str, deadline: float) -> Steps[None]:
        """Ask all three."""
        remotes = yield from self._connecting(deadline)
        yield from together(
            [remote.asking("permit", deadline, tensor=handle, to=name) for remote in remotes.values()]
        )

    def forget(self, handle: Handle) -> None:
        """Tell all three."""
        for remote in self._remotes.values():
            remote.tell("forget", tensor=handle)

    def close(self) -> None:
        """End the session, and its tensors and models with it."""
        for remote in self._remotes.values():
            for number in self._models:
                remote.tell("drop", model=number)
            remote.close()
        self._remotes = {}


def _collecting(parts: Parts, remotes: Mapping[str, Remote], deadline: float) -> Steps[None]:
    while True:
        for remote in remotes.values():
            remote.read()
        if parts.done:
            return
        if time.monotonic() >= deadline:
            raise DeadlineError("The workers did not answer in time. Try again with a longer timeout.")
        yield Wait(list(remotes.values()), deadline)


class InProcess:
    """Three parties in this process, for trying things out: the workers' code without sockets, and without secrecy."""

    def __init__(self) -> None:
        self._tensors: dict[Handle, tuple[Words, tuple[bytes, bytes]]] = {}
        self._models: dict[str, dict[Role, dict[int, LayerShare]]] = {}
        self._pairs = fresh_pair_keys()

    def share(self, encoded: Words, reveal: str, min_rows: int, deadline: float) -> Steps[Handle]:
        """Mask an array and keep it."""
        yield from ()
        seeds, number = sharing.fresh_seeds(), os.urandom(16)
        self._tensors[number] = sharing.mask_input(encoded.reshape(1, -1), seeds, 0).reshape(-1), seeds
        return number

    def add_model(self, number: str, program: Program, parts: Sequence[ModelShare], deadline: float) -> Steps[None]:
        """Keep the shares of a model."""
        yield from ()
        self._models[number] = {part.role: sharing.layer_shares(program, part) for part in parts}

    def compute(self, compiled: Compiled, handles: Sequence[Handle], deadline: float) -> Steps[Floats]:
        """Run all three parties."""
        yield from ()
        session, plan = os.urandom(16), preprocessing.Plan(compiled.program)
        held = [self._tensors[handle] for handle in handles]
        masked = np.concatenate([one for one, _ in held])[None]
        masks = [
            StoredMask([sharing.input_mask(seeds[side], 0, 1, (one.size,)).reshape(-1) for one, seeds in held])
            for side in (0, 1)
        ]
        layers = {role: self._layers(compiled, role) for role in ROLES}
        pairs = {role: PairKeys(self._pairs[role], session) for role in ROLES}
        streams = {role: pairs[role].block(0) for role in ROLES}
        own = [mask.rows(0, 1) for mask in masks]
        block, _ = prepare_all(plan, layers, streams, own)
        network, servers = MemoryNetwork(), (Role.SERVER0, Role.SERVER1)
        openings = {role: (pairs[role].transcript_key(role.partner, 0), session) for role in servers}
        runs = all_runs(network, plan, layers, block, dict.fromkeys(servers, masked), openings)
        network.run(runs)
        first, second = (runs[role].result for role in servers)
        return output.combine(first, second, compiled.program).reshape(-1)

    def _layers(self, compiled: Compiled, role: Role) -> dict[int, LayerShare]:
        numbers = [number for number, _ in compiled.program.linear_steps()]
        places: list[Weights] = compiled.weights
        return {number: self._models[model][role][step] for number, (model, step) in zip(numbers, places, strict=True)}

    def permit(self, handle: Handle, name: str, deadline: float) -> Steps[None]:
        """There is nobody else."""
        yield from ()

    def forget(self, handle: Handle) -> None:
        """Drop it."""
        self._tensors.pop(handle, None)

    def close(self) -> None:
        """Drop all."""
        self._tensors.clear()
