"""The owner's side: a Keras model is split into shares, which go to the three workers, and is served by them.

The workers serve by themselves. The owner only opens and closes serving and looks how far it is; an answer never
passes through here.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from syfr.errors import InputTypeError, NotReadyError, NotSharedError
from syfr.face import imports
from syfr.face.arguments import count_argument, seconds_argument, text_argument
from syfr.face.cluster import TFECluster
from syfr.face.sending import send
from syfr.face.tasks import Emit, Steps, Task, pause
from syfr.importing.keras_import import Imported
from syfr.program import Program

SHARE_SECONDS = 300.0
CALL_SECONDS = 60.0
LOOK_AGAIN = 0.05

Limits = dict[str, int | None]

_shared: weakref.WeakKeyDictionary[Any, SharedModel] = weakref.WeakKeyDictionary()
"""What a Keras model was last shared as; it goes with the model."""


class SharedModel:
    """A model whose shares the workers of a cluster hold.

    Attributes:
        number: the workers' name for it, 32 hexadecimal digits, new with every share.
        name: its name for clients.
        program: what everybody may know of it.
    """

    def __init__(
        self,
        cluster: TFECluster,
        number: str,
        name: str,
        program: Program,
        source: Callable[[], Imported | None] = lambda: None,
    ) -> None:
        self.cluster, self.number, self.name, self.program = cluster, number, name, program
        self._source, self._restarts = source, cluster.restarts

    def __repr__(self) -> str:
        unproven = "" if self.proven else "; ranges not proven"
        return f"SharedModel('{self.name}' on {self.cluster}{unproven})"

    @property
    def proven(self) -> bool:
        """Whether no allowed input makes a value leave its range, or only none of the calibration data did."""
        return self.program.proven

    def open_serving(self, num_requests: object = None, per_client: object = None) -> Task[None]:
        """Let the workers answer so many requests, or any number, whether or not this session goes on."""
        limits = _limits(num_requests, per_client)
        return Task(lambda emit: self._open(emit, limits))

    def serving(self, num_requests: object = None, per_client: object = None) -> Task[int]:
        """Open serving and wait until the last request was answered; the result is how many were.

        Each client may ask for ``per_client`` rows until serving is opened again, or for any number. Cancelled, it
        closes serving; the model stays shared, as it does at the limit. Events: "serving", "prepared" (rows of
        queries to come, for the clients that are connected), "served".

        A worker of this session that ends meanwhile is started again; the model is shared anew, and what is left of
        the requests is opened. A worker that was started by hand is waited for.

        Raises:
            NotSharedError: the workers hold no share of it any more.
            WorkerError, ClosedError: a worker has gone.
        """
        limits = _limits(num_requests, per_client)

        def work(emit: Emit) -> Steps[int]:
            try:
                yield from self._open(emit, limits)
                emit("serving", of=limits["requests"])
                return (yield from self._watch(limits, emit))
            except (GeneratorExit, KeyboardInterrupt):
                self.cluster.tell("pause", model=self.number)
                raise

        return Task(work)

    def _watch(self, limits: Limits, emit: Emit) -> Steps[int]:
        used, before = Used(), {"rows": 0, "of": 0}
        while True:
            replies = yield from self.cluster.ask_all("status", time.monotonic() + CALL_SECONDS, emit=emit)
            states = [self._state(reply) for reply in replies.values()]
            found = [state for state in states if state is not None]
            ready = _prepared(found)
            if ready["of"] and ready != before:
                emit("prepared", **ready)
            before = ready
            if used.look(found):
                emit("served", served=used.served, of=limits["requests"])
            if len(found) == len(states):
                if not any(state["serving"] for state in found):
                    return used.served
            elif not (yield from self._continue(limits, used, emit)):
                return used.served
            yield from pause(LOOK_AGAIN)

    def _continue(self, limits: Limits, used: Used, emit: Emit) -> Steps[bool]:
        """Open what is left after a worker was started again; False when nothing is."""
        left = used.left(limits["requests"])
        if left == 0:
            return False
        yield from self._share_anew(emit)
        rest = {**limits, "requests": left, "rows": used.rows if limits["per_client"] is not None else None}
        yield from self._call("serve", emit, **rest)
        used.again()
        return True

    def _state(self, reply: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return next((state for state in reply.get("models", ()) if state.get("model") == self.number), None)

    def dropping(self) -> Task[None]:
        """Close serving and delete the shares at the workers, which go on running."""
        return Task(lambda emit: self._call("drop", emit))

    def shutting_down(self) -> Task[list[dict[str, Any]]]:
        """End the workers that this session has started, and with them every share; see TFECluster.stopping()."""
        return self.cluster.stopping()

    def tracing(self) -> Task[list[dict[str, Any]]]:
        """A trace of the next query, by step; the result is that of the last one that was traced, empty at first."""

        def work(emit: Emit) -> Steps[list[dict[str, Any]]]:
            found = yield from self.cluster.ask_all(
                "trace", time.monotonic() + CALL_SECONDS, emit=emit, model=self.number
            )
            return [{"worker": role, **step} for role, reply in found.items() for step in reply["steps"]]

        return Task(work)

    def _open(self, emit: Emit, limits: Limits) -> Steps[None]:
        if not self._restarted:
            try:
                yield from self._call("serve", emit, **limits)
                return
            except (NotSharedError, NotReadyError) as error:
                # Which of the two comes first depends on whether the worker that was started again has answered first.
                if isinstance(error, NotReadyError) and not self._restarted:
                    raise
        yield from self._share_anew(emit)
        yield from self._call("serve", emit, **limits)

    @property
    def _restarted(self) -> bool:
        """Whether this session has started a worker again since it shared the model."""
        return self.cluster.restarts > self._restarts

    def _share_anew(self, emit: Emit) -> Steps[None]:
        """Share the model under a new number, if a worker has lost its part because this session started it again."""
        imported = self._source() if self._restarted else None
        if imported is None:
            raise NotSharedError(f"The workers no longer hold a share of the model '{self.name}'. Share it again.")
        before = self.number
        self.number = yield from send(self.cluster, self.name, imported, time.monotonic() + SHARE_SECONDS)
        self._restarts = self.cluster.restarts
        self.cluster.tell("drop", model=before)
        emit("shared", name=self.name)

    def _call(self, call: str, emit: Emit, **fields: Any) -> Steps[None]:
        yield from self.cluster.ask_all(
            call, time.monotonic() + CALL_SECONDS, emit=emit, model=self.number, **fields
        )


def _prepared(states: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Rows of queries to come that every worker has prepared, of those that are to be; more than these are not told."""
    of = max((int(state["ahead"]) for state in states), default=0)
    return {"rows": min([of, *(int(state["prepared"]) for state in states)]), "of": of}


class Used:
    """What clients have had of one opening of a model, also when it was opened anew for the rest of it."""

    def __init__(self) -> None:
        self.served, self._before, self._most = 0, 0, 0
        self.rows: dict[str, int] = {}

    def look(self, states: Sequence[Mapping[str, Any]]) -> bool:
        """Take in what the workers count; whether more requests were served."""
        counts = [int(state["served"]) for state in states]
        self._most = max([self._most, *counts])
        for state in states:
            for client, rows in state["clients"].items():
                self.rows[client] = max(self.rows.get(client, 0), int(rows))
        served = self._before + min(counts, default=0)
        more, self.served = served > self.served, max(served, self.served)
        return more

    def left(self, requests: int | None) -> int | None:
        """Requests that may still be opened: what any worker has counted is used."""
        self.served = self._before + self._most
        return None if requests is None else max(0, requests - self.served)

    def again(self) -> None:
        """What is left was opened anew: the workers count from 0."""
        self._before, self._most = self.served, 0


def sharing(
    model: object,
    cluster: TFECluster,
    *,
    name: str | None = None,
    timeout: float = SHARE_SECONDS,
    **options: Any,
) -> Task[SharedModel]:
    """Share a Keras model with the workers of a cluster, which is started if this session has not.

    Sharing a model again puts new shares in the place of those it had on the cluster. Events: those of starting,
    "sharing" and "shared".

    Args:
        name: how clients may call it; by default the Keras model's own name.
        options: what else an owner may say of the model; see imports.imported().

    Raises:
        InputTypeError, UnsupportedLayerError, RangeCheckError: at once, when the model cannot be computed privately.
        ProtocolError: the workers found that their parts do not match.
    """
    if not isinstance(cluster, TFECluster):
        raise InputTypeError(f"cluster is of class {type(cluster).__name__}. Give a cluster made by TFECluster().")
    seconds = seconds_argument(timeout)
    imported = imports.imported(model, **options)
    title = text_argument(getattr(model, "name", "model") if name is None else name, "name")

    def work(emit: Emit) -> Steps[SharedModel]:
        if not cluster.started:
            yield from cluster.start_steps(emit)
        again = _same_model(weakref.ref(model), imported, options)
        emit("sharing", name=title)
        number = yield from send(cluster, title, imported, time.monotonic() + seconds)
        shared = SharedModel(cluster, number, title, imported.program, again)
        before = _shared.get(model)
        if before is not None and before.cluster.addresses == cluster.addresses:
            cluster.tell("drop", model=before.number)
        _shared[model] = shared
        emit("shared", name=title)
        return shared

    return Task(work)


def _same_model(
    model: weakref.ref[Any], imported: Imported, options: Mapping[str, Any]
) -> Callable[[], Imported | None]:
    """Imports a model once more, for new shares; None when it has gone, or has changed since it was shared."""
    digest = _digest(imported)

    def again() -> Imported | None:
        found = model()
        fresh = None if found is None else imports.imported(found, **options)
        return fresh if fresh is not None and _digest(fresh) == digest else None

    return again


def _digest(imported: Imported) -> bytes:
    seen = hashlib.sha256(imported.program.digest())
    for number in sorted(imported.weights):
        weights = imported.weights[number]
        seen.update(np.ascontiguousarray(weights.kernel).data)
        seen.update(np.ascontiguousarray(weights.bias).data)
    return seen.digest()


def shared_model(model: object) -> SharedModel:
    """What a Keras model was last shared as; raises NotSharedError."""
    found = _shared.get(model)
    if found is None:
        raise NotSharedError("This model is not shared yet. Share it with a cluster first, with share().")
    return found


def forget(model: object) -> None:
    """The model is no longer shared."""
    _shared.pop(model, None)


def _limits(num_requests: object, per_client: object) -> Limits:
    return {
        "requests": None if num_requests is None else count_argument(num_requests, "num_requests"),
        "per_client": None if per_client is None else count_argument(per_client, "per_client"),
    }
