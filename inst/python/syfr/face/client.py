"""The client: finds a model on a cluster by its shapes, and gets predictions from it that only the client can read."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syfr.errors import (
    BusyError,
    CredentialsError,
    NotConnectedError,
    NotSharedError,
    ProtocolError,
    SyfrError,
)
from syfr.face.again import Patience
from syfr.face.answers import ANSWERING
from syfr.face.arguments import (
    array_argument,
    batch_shape_argument,
    path_argument,
    seconds_argument,
    text_argument,
)
from syfr.face.batch import Query
from syfr.face.finding import Found, choose, described, shared_anew
from syfr.face.remote import Remote
from syfr.face.results import Results, results
from syfr.face.session import Pending, Sent, Session
from syfr.face.tasks import Emit, Steps, Task, together
from syfr.party import preprocessing
from syfr.program import Program
from syfr.ring.fixedpoint import WIRE_BYTES
from syfr.trust.identity import SERVERS, Bundle

QUERY_ROWS = 256
QUERY_BYTES = 64 << 20
QUERY_ELEMENTS = 1 << 25
"""A query holds up to so many rows, bytes of masked input and elements of all steps; larger batches go in parts."""

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
        self._sent: tuple[Session, Pending] | None = None
        self.model_info: dict[str, Any] = {}
        self.last_query: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "not connected" if self._model is None else f"connected to {self._model}"
        return f"Client({', '.join(self.addresses.values())}; {state})"

    @property
    def addresses(self) -> dict[str, str]:
        """The workers' addresses by role."""
        return self._cluster.addresses

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
        inputs = batch_shape_argument(in_shape, "The input shape")
        outputs = batch_shape_argument(out_shape, "The output shape")
        name = None if model is None else text_argument(model, "model")
        seconds = seconds_argument(timeout)

        def work(_: Emit) -> Steps[None]:
            deadline = time.monotonic() + seconds
            self.disconnect()
            remotes = yield from self._remotes(deadline)
            try:
                found = yield from described(remotes, deadline)
                chosen = choose(found, inputs, outputs, name)
                rows = inputs[0] or outputs[0] or chosen.program.rows or 1
                session = Session(remotes, chosen.number, chosen.program, rows)
                yield from session.opening(deadline)
            except BaseException:
                _close(remotes)
                raise
            self._session, self._model, self._rows = session, chosen, rows
            self.model_info = _info(chosen, rows)

        return Task(work)

    def querying(self, x: object, timeout: float = 60.0) -> Task[Results]:
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

        def work(emit: Emit) -> Steps[Results]:
            query = Query(self._parts(batch, model.program), len(batch), seconds, emit)
            session = yield from self._ready(time.monotonic() + seconds)
            while not (yield from self._answered(session, query)):
                session = yield from self._ready(query.deadline)
            return results(model.program, query.answer())

        return Task(work)

    def _ready(self, deadline: float) -> Steps[Session]:
        """The session, a new one if the connections of the last were lost; nothing of a query is sent before."""
        patience = Patience(deadline)
        while True:
            try:
                return (yield from self._open(deadline))
            except SyfrError as error:
                if not patience.lasts(error):
                    raise
            yield from patience.waiting()

    def _open(self, deadline: float) -> Steps[Session]:
        if (usable := self._usable()) is not None:
            return usable
        if self._model is None:
            raise NotConnectedError("This client was disconnected. Connect it with connect_to_model() again.")
        remotes = yield from self._remotes(deadline)
        try:
            model = self._model
            try:
                fresh = Session(remotes, model.number, model.program, self._rows)
                yield from fresh.opening(deadline)
            except NotSharedError:  # perhaps its owner has shared it anew
                model = yield from shared_anew(remotes, model, deadline)
                fresh = Session(remotes, model.number, model.program, self._rows)
                yield from fresh.opening(deadline)
        except BaseException:
            _close(remotes)
            raise
        if (usable := self._usable()) is not None:  # another query has opened one meanwhile
            fresh.close()
            return usable
        self._session, self._model = fresh, model
        return fresh

    def _usable(self) -> Session | None:
        if self._session is None:
            return None
        try:
            self._session.refresh()
        except SyfrError:
            self._session.close()
        return self._session if self._session.usable else None

    def _answered(self, session: Session, query: Query) -> Steps[bool]:
        """Send the parts that are left, a few at a time, and collect their answers; False to go on in a new session.

        A part is asked again only when nothing of its answer can have been released: see Pending.refused.
        """
        before = session.traffic
        flying: list[tuple[int, Pending]] = []
        try:
            while True:
                while len(flying) < IN_FLIGHT and query.left:
                    flying.append((query.next, self._send(session, query.part, query.timeout)))
                    query.sent()
                if not flying:
                    break
                place, pending = flying[0]
                query.add(place, pending, (yield from session.collecting(pending, time.monotonic() + query.timeout)))
                del flying[0]
        except SyfrError as error:
            again = yield from self._settled(session, query, flying, error)
            if not again:
                self._give_up(session, flying, error)
                raise
            return False
        except BaseException:
            session.close()
            raise
        finally:
            query.count(session.traffic, before)
        self.last_query = query.figures()
        return True

    def _settled(
        self, session: Session, query: Query, flying: list[tuple[int, Pending]], error: SyfrError
    ) -> Steps[bool]:
        """After an error, hear of every part that is on its way; True when those without an answer may be asked again.

        A part whose frame was not sent whole to both servers is none of them: nobody can have answered it.
        """
        if not query.patience.lasts(error):
            return False
        for place, pending in flying:
            try:
                query.add(place, pending, (yield from session.collecting(pending, time.monotonic() + query.timeout)))
            except SyfrError:
                if not pending.refused:
                    return False
                query.put_back(place)
        if not isinstance(error, BusyError):
            session.close()
        yield from query.patience.waiting()
        return True

    def _give_up(self, session: Session, flying: list[tuple[int, Pending]], error: SyfrError) -> None:
        refused = flying and flying[0][1].error is error and not isinstance(error, ProtocolError)
        if refused:
            session.forget(pending for _, pending in flying)  # the session goes on with the next rows
        else:
            session.close()  # with what is on the way or half sent; the next query opens a new one

    def _parts(self, batch: Floats, program: Program) -> Iterator[Floats]:
        """The batch in parts that one query takes, of whole requests where these fit."""
        if len(batch) == 1:
            yield batch
            return
        elements = sum(math.prod(step.output_shape) for step in program.steps)
        fitting = min(QUERY_BYTES // (WIRE_BYTES * math.prod(program.input_shape)), QUERY_ELEMENTS // elements)
        rows = min(QUERY_ROWS, max(1, fitting))
        if rows > self._rows:
            rows -= rows % self._rows
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]

    def _send(self, session: Session, part: Floats, timeout: float) -> Pending:
        pending = session.send(part, timeout)
        self._sent = session, pending
        return pending

    @property
    def program(self) -> Program:
        """What everybody may know of the model."""
        if self._model is None:
            raise NotConnectedError("This client is not connected. Connect it with connect_to_model() first.")
        return self._model.program

    @property
    def sent(self) -> Sent:
        """The last input as it was shared among the workers; of a batch that was sent in parts the last one."""
        if self._model is None or self._sent is None:
            raise NotConnectedError("Nothing was sent yet. Query a model first.")
        session, pending = self._sent
        return session.sent(pending)

    def sent_view(self) -> dict[str, Floats]:
        """What each worker received of the last input, for teaching: numbers in [0, 1) that tell nothing.

        server0 and server1 see the masked input, 48 bits an element; the dealer sees nothing of it. Of a batch that was
        sent in parts it is the last one.
        """
        sent = self.sent
        bits = sent.program.input_bits or 8 * WIRE_BYTES
        masked = (sent.masked & np.uint64((1 << bits) - 1)).astype(np.float64) / 2.0**bits
        nothing = np.empty((0, *masked.shape[1:]))
        return {role: masked.copy() if role in ANSWERING else nothing for role in SERVERS}

    def disconnect(self) -> None:
        """Close the session and forget the model."""
        if self._session is not None:
            self._session.close()
        self._session = self._model = self._sent = None
        self.model_info = {}

    def bundle(self) -> Bundle:
        """This client's credentials."""
        directory = self._credentials or self._cluster.directory / "client"
        if self._credentials is None and not directory.is_dir():
            raise CredentialsError(
                f"There are no credentials for the cluster at {', '.join(self._cluster.addresses.values())} here. "
                "Start it on this machine first, or name the directory that its owner made for you as `credentials`."
            )
        return Bundle.load(directory)

    def _remotes(self, deadline: float) -> Steps[dict[str, Remote]]:
        bundle = self.bundle()
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


def _info(model: Found, rows: int) -> dict[str, Any]:
    program = model.program
    return {
        "name": model.name,
        "input_shape": _listed(rows, model.inputs),
        "output_shape": _listed(rows, model.outputs),
        "input_range": list(program.input_range),
        "head": program.head,
        "inputs": [part.name for part in program.inputs],
        "outputs": [part.name for part in program.outputs if part.name],
        "classes": list(program.classes),
        "proven": program.proven,
        "delays": float(program_delays(program)),
    }


def _listed(rows: int, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """A shape with its batch axis, or a list of them for several inputs or outputs."""
    found = [[rows, *shape] for shape in shapes]
    return found[0] if len(found) == 1 else found


def program_delays(program: Program) -> int:
    """Message delays between workers for one query, as the operations declare them."""
    return preprocessing.program_cost(program).delays
