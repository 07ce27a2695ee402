"""The client: finds a model on a cluster by its shapes, and gets predictions from it that only the client can read."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syfr.errors import (
    CredentialsError,
    NotConnectedError,
    NotSharedError,
    ProtocolError,
    ShapeError,
    SyfrError,
)
from syfr.face.arguments import (
    Batch,
    array_argument,
    batch_shape_argument,
    path_argument,
    seconds_argument,
    text_argument,
)
from syfr.face.remote import Remote
from syfr.face.session import ANSWERING, Pending, Session
from syfr.face.tasks import Emit, Steps, Task, together
from syfr.program import Program
from syfr.protocol import lift, relu, truncation
from syfr.ring.fixedpoint import WIRE_BYTES
from syfr.trust.identity import SERVERS, Bundle

QUERY_ROWS = 256
QUERY_BYTES = 64 << 20
"""A query holds up to so many rows and bytes of masked input; larger batches are sent in parts."""

IN_FLIGHT = 2
"""Parts of one batch that are on the way at a time, so that the workers need not wait for the client."""

Floats = NDArray[np.float64]


class Described(Protocol):
    """What a client must know of a cluster: where the workers are, and where this user's credentials for it."""

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses by role."""

    @property
    def directory(self) -> Path:
        """The directory of the cluster's credentials."""


@dataclass(frozen=True)
class Found:
    """A model as all three workers describe it."""

    number: str
    name: str
    program: Program
    serving: bool

    def fits(self, inputs: Batch, outputs: Batch) -> bool:
        """Whether its shapes are the ones asked for; a batch size that either side leaves open fits."""
        rows = [size for size in (inputs[0], outputs[0], self.program.rows) if size is not None]
        shapes = inputs[1] == self.program.input_shape and outputs[1] == self.program.output_shape
        return shapes and len(set(rows)) <= 1

    def __str__(self) -> str:
        rows = self.program.rows
        shapes = [_batch_shape(rows, shape) for shape in (self.program.input_shape, self.program.output_shape)]
        return f"'{self.name}' from {shapes[0]} to {shapes[1]}"


class Client:
    """A client of the models on one cluster. Making one connects to nothing.

    Args:
        cluster: a description of the cluster, with ``addresses`` and ``directory``.
        credentials: the directory of this client's bundle; by default the one called "client" that the cluster's own
            directory has on the machine where the cluster was started.

    Attributes:
        model_info: what is known of the model, once connected.
        last_query: figures of the last query that was answered.
    """

    def __init__(self, cluster: Described, credentials: str | Path | None = None) -> None:
        self._cluster = cluster
        self._credentials = None if credentials is None else path_argument(credentials, "credentials")
        self._session: Session | None = None
        self._model: Found | None = None
        self._rows = 1
        self._sent: Pending | None = None
        self.model_info: dict[str, Any] = {}
        self.last_query: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "not connected" if self._model is None else f"connected to {self._model}"
        return f"Client({', '.join(self._cluster.addresses.values())}; {state})"

    @property
    def connected(self) -> bool:
        """Whether a model was found; connections that were lost since are set up again by the next query."""
        return self._model is not None

    def connecting(
        self, in_shape: object, out_shape: object, model: str | None = None, timeout: float = 60.0
    ) -> Task[None]:
        """Connect to the model with these shapes, batch axis first.

        Args:
            model: its name, when several have the same shapes.

        Raises:
            ShapeError: no model there has the shapes; the message lists those that are there.
            UnreachableError, CredentialsError: a worker is not there, or this client has no certificate for it.
        """
        inputs, outputs = batch_shape_argument(in_shape, "in_shape"), batch_shape_argument(out_shape, "out_shape")
        name = None if model is None else text_argument(model, "model")
        seconds = seconds_argument(timeout)

        def work(_: Emit) -> Steps[None]:
            deadline = time.monotonic() + seconds
            self.disconnect()
            remotes = yield from self._remotes(deadline)
            try:
                found = yield from _described(remotes, deadline)
                chosen = choose(found, inputs, outputs, name)
                rows = chosen.program.rows or inputs[0] or outputs[0] or 1
                session = Session(remotes, chosen.number, chosen.program, rows)
                yield from session.opening(deadline)
            except BaseException:
                _close(remotes)
                raise
            self._session, self._model, self._rows = session, chosen, rows
            self.model_info = _info(chosen, rows)

        return Task(work)

    def querying(self, x: object, timeout: float = 60.0) -> Task[Floats]:
        """The model's predictions for a batch.

        Up to 256 rows are sent as one query, more in parts, with an event "answered" after each; ``timeout`` is for
        each part.

        Raises, at once:
            NotConnectedError: no model is connected.
            ShapeError, InputTypeError, ValueRangeError: the input cannot be what is meant.
        """
        if self._model is None:
            raise NotConnectedError("This client is not connected. Connect it with connect_to_model() first.")
        batch = array_argument(x, self._model.program)
        seconds = seconds_argument(timeout)
        model = self._model

        def work(emit: Emit) -> Steps[Floats]:
            session = yield from self._ready(model, time.monotonic() + seconds)
            try:
                return (yield from self._answers(session, batch, seconds, emit))
            except NotConnectedError:
                # The workers have ended the session, as when a link between them was lost: once more in a new one.
                session.close()
                session = yield from self._ready(model, time.monotonic() + seconds)
                return (yield from self._answers(session, batch, seconds, emit))

        return Task(work)

    def _ready(self, model: Found, deadline: float) -> Steps[Session]:
        """The session, a new one if the connections of the last were lost."""
        if (usable := self._usable()) is not None:
            return usable
        remotes = yield from self._remotes(deadline)
        fresh = Session(remotes, model.number, model.program, self._rows)
        try:
            yield from fresh.opening(deadline)
        except BaseException:
            _close(remotes)
            raise
        if (usable := self._usable()) is not None:  # another query has opened one meanwhile
            fresh.close()
            return usable
        self._session = fresh
        return fresh

    def _usable(self) -> Session | None:
        if self._session is None:
            return None
        try:
            self._session.refresh()
        except SyfrError:
            self._session.close()
        return self._session if self._session.usable else None

    def _answers(self, session: Session, batch: Floats, timeout: float, emit: Emit) -> Steps[Floats]:
        began, before = time.monotonic(), session.traffic
        parts = self._parts(batch, session.program)
        waiting: list[Pending] = []
        answers: list[Floats] = []
        delays = answered = 0
        try:
            while len(waiting) < IN_FLIGHT and (part := next(parts, None)) is not None:
                waiting.append(self._send(session, part))
            while waiting:
                pending = waiting[0]
                answers.append((yield from session.collecting(pending, time.monotonic() + timeout)))
                delays, answered = max(delays, pending.clock), answered + pending.rows
                emit("answered", rows=answered, of=len(batch))
                del waiting[0]
                if (part := next(parts, None)) is not None:
                    waiting.append(self._send(session, part))
        except BaseException as error:
            refused = waiting and waiting[0].error is error and not isinstance(error, ProtocolError)
            if refused:
                session.forget(waiting)  # the session goes on with the next rows
            else:
                session.close()  # with what is on the way or half sent; the next query opens a new one
            raise
        sent, received = (after - first for after, first in zip(session.traffic, before, strict=True))
        self.last_query = {
            "seconds": time.monotonic() - began,
            "rows": float(len(batch)),
            "bytes_sent": float(sent),
            "bytes_received": float(received),
            "delays": float(delays),
        }
        return apply_head(session.program.head, np.concatenate(answers))

    def _parts(self, batch: Floats, program: Program) -> Iterator[Floats]:
        """The batch in parts that one query takes, of whole requests where these fit."""
        rows = min(QUERY_ROWS, max(1, QUERY_BYTES // (WIRE_BYTES * math.prod(program.input_shape))))
        if rows > self._rows:
            rows -= rows % self._rows
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]

    def _send(self, session: Session, part: Floats) -> Pending:
        self._sent = session.send(part)
        return self._sent

    def sent_view(self) -> dict[str, Floats]:
        """What each worker received of the last input, for teaching: numbers in [0, 1) that tell nothing.

        server0 and server1 see the masked input, 48 bits an element; the dealer sees nothing of it. Of a batch that was
        sent in parts it is the last one.
        """
        if self._model is None or self._sent is None:
            raise NotConnectedError("Nothing was sent yet. Query a model first.")
        bits = 8 * WIRE_BYTES
        masked = (self._sent.masked & np.uint64((1 << bits) - 1)).astype(np.float64) / 2.0**bits
        nothing = np.empty((0, *masked.shape[1:]))
        return {role: masked.copy() if role in ANSWERING else nothing for role in SERVERS}

    def disconnect(self) -> None:
        """Close the session and forget the model."""
        if self._session is not None:
            self._session.close()
        self._session = self._model = self._sent = None
        self.model_info = {}

    def _bundle(self) -> Bundle:
        directory = self._credentials or self._cluster.directory / "client"
        if self._credentials is None and not directory.is_dir():
            raise CredentialsError(
                f"There are no credentials for the cluster at {', '.join(self._cluster.addresses.values())} here. "
                "Start it on this machine first, or name the directory that its owner made for you as `credentials`."
            )
        return Bundle.load(directory)

    def _remotes(self, deadline: float) -> Steps[dict[str, Remote]]:
        bundle = self._bundle()
        remotes = {role: Remote(role, address, bundle) for role, address in self._cluster.addresses.items()}
        try:
            yield from together([remote.connecting(deadline) for remote in remotes.values()])
        except BaseException:
            _close(remotes)
            raise
        return remotes


def _close(remotes: Mapping[str, Remote]) -> None:
    for remote in remotes.values():
        remote.close()


def _described(remotes: Mapping[str, Remote], deadline: float) -> Steps[list[Found]]:
    """The models that all three workers describe alike."""
    replies = yield from together([remote.asking("describe", deadline) for remote in remotes.values()])
    found = [_read_models(remote, reply) for remote, reply in zip(remotes.values(), replies, strict=True)]
    common = []
    for number, first in found[0].items():
        others = [models[number] for models in found[1:] if number in models]
        if len(others) + 1 < len(found):
            continue  # being shared or withdrawn at this moment
        if any(other.program.digest() != first.program.digest() for other in others):
            raise ProtocolError(
                f"The workers describe the model '{first.name}' differently. "
                "Its owner should share it again; do not send it anything."
            )
        serving = first.serving and all(other.serving for other in others)
        common.append(Found(number, first.name, first.program, serving))
    return common


def _read_models(remote: Remote, reply: Mapping[str, Any]) -> dict[str, Found]:
    try:
        return {
            str(item["model"]): Found(
                str(item["model"]), str(item["name"]), Program.from_message(item["program"]), bool(item["serving"])
            )
            for item in reply["models"]
        }
    except (KeyError, TypeError) as error:
        raise ProtocolError(
            f"{remote.name} describes its models in a way that cannot be read. Use one version of syfr everywhere."
        ) from error


def choose(found: list[Found], inputs: Batch, outputs: Batch, name: str | None) -> Found:
    """The model that is meant: by name if one is given, and by its shapes; one that is served before others."""
    if not found:
        raise NotSharedError("No model is shared with these workers. Its owner must share and serve it first.")
    named = [model for model in found if name in (None, model.name, model.number)]
    if not named:
        raise NotSharedError(f"No model called '{name}' is shared there. There are {_listed(found)}.")
    fitting = [model for model in named if model.fits(inputs, outputs)]
    if not fitting:
        asked = f"from {_batch_shape(*inputs)} to {_batch_shape(*outputs)}"
        raise ShapeError(f"No model there goes {asked}. There are {_listed(named)}; give the shapes of one of them.")
    served = [model for model in fitting if model.serving] or fitting
    if len(served) > 1:
        names = ", ".join(f"'{model.name}' ({model.number})" for model in served)
        raise ShapeError(f"Several models there have these shapes: {names}. Name one of them as `model`.")
    return served[0]


def apply_head(head: str, logits: Floats) -> Floats:
    """What the model does after its last linear layer, done by the client, who may see the logits anyway."""
    if head == "softmax":
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if head == "sigmoid":
        # exp of what is never positive, so that nothing overflows
        powers = np.exp(-np.abs(logits))
        return np.asarray(np.where(logits >= 0, 1.0, powers) / (1.0 + powers))
    return logits


def _info(model: Found, rows: int) -> dict[str, Any]:
    program = model.program
    return {
        "name": model.name,
        "input_shape": [rows, *program.input_shape],
        "output_shape": [rows, *program.output_shape],
        "input_range": list(program.input_range),
        "head": program.head,
        "delays": float(program_delays(program)),
    }


def program_delays(program: Program) -> int:
    """Message delays between workers for one query, as the operations declare them."""
    delays = {"relu": relu.cost(1, program.precision).delays, "truncate": truncation.cost(1).delays, "output": 0}
    lifted = 0 if program.input_bits is None else lift.cost(1, program.precision).delays
    return lifted + sum(delays[step.then] for _, step in program.linear_steps())


def _listed(models: list[Found]) -> str:
    return "; ".join(str(model) for model in models)


def _batch_shape(rows: int | None, shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(size) for size in ("rows" if rows is None else rows, *shape)) + ")"
