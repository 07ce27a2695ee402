"""The owner's side: a Keras model is split into shares, which go to the three workers, and is served by them.

The workers serve by themselves. The owner only opens and closes serving and looks how far it is; an answer never
passes through here.
"""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Mapping
from typing import Any

from syfr.errors import InputTypeError, NotSharedError
from syfr.face.arguments import count_argument, flag_argument, range_argument, seconds_argument, text_argument
from syfr.face.cluster import TFECluster
from syfr.face.tasks import Emit, Steps, Task, pause
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import Imported, import_model
from syfr.program import Program
from syfr.protocol import sharing as shares
from syfr.protocol.sharing import ModelShare
from syfr.trust.identity import SERVERS

SHARE_SECONDS = 300.0
CALL_SECONDS = 60.0
LOOK_AGAIN = 0.05

_shared: weakref.WeakKeyDictionary[Any, SharedModel] = weakref.WeakKeyDictionary()
"""What a Keras model was last shared as; it goes with the model."""


class SharedModel:
    """A model whose shares the workers of a cluster hold.

    Attributes:
        number: the workers' name for it, 32 hexadecimal digits, new with every share.
        name: its name for clients.
        program: what everybody may know of it.
    """

    def __init__(self, cluster: TFECluster, number: str, name: str, program: Program) -> None:
        self.cluster, self.number, self.name, self.program = cluster, number, name, program

    def __repr__(self) -> str:
        return f"SharedModel('{self.name}' on {self.cluster})"

    def open_serving(self, num_requests: object = None, per_client: object = None) -> Task[None]:
        """Let the workers answer so many requests, or any number, whether or not this session goes on."""
        limits = _limits(num_requests, per_client)
        return Task(lambda _: self._call("serve", **limits))

    def serving(self, num_requests: object = None, per_client: object = None) -> Task[int]:
        """Open serving and wait until the last request was answered; the result is how many were.

        Each client may ask for ``per_client`` rows until serving is opened again, or for any number. Cancelled, it
        closes serving; the model stays shared, as it does at the limit. Events: "serving", "served".

        Raises:
            NotSharedError: the workers hold no share of it any more.
            WorkerError, ClosedError: a worker has gone.
        """
        limits = _limits(num_requests, per_client)
        requests = limits["requests"]

        def work(emit: Emit) -> Steps[int]:
            try:
                yield from self._call("serve", **limits)
                emit("serving", of=requests)
                return (yield from self._watch(requests, emit))
            except (GeneratorExit, KeyboardInterrupt):
                self.cluster.tell("pause", model=self.number)
                raise

        return Task(work)

    def _watch(self, requests: int | None, emit: Emit) -> Steps[int]:
        shown = 0
        while True:
            replies = yield from self.cluster.ask_all("status", time.monotonic() + CALL_SECONDS)
            states = [self._state(reply) for reply in replies.values()]
            served = min(int(state["served"]) for state in states)
            if served > shown:
                shown = served
                emit("served", served=served, of=requests)
            if not any(state["serving"] for state in states):
                return served
            yield from pause(LOOK_AGAIN)

    def _state(self, reply: Mapping[str, Any]) -> Mapping[str, Any]:
        for state in reply.get("models", ()):
            if state.get("model") == self.number:
                found: Mapping[str, Any] = state
                return found
        raise NotSharedError(f"The workers no longer hold a share of the model '{self.name}'. Share it again.")

    def pausing(self) -> Task[None]:
        """Close serving; the workers keep their shares, and serving can be opened again."""
        return Task(lambda _: self._call("pause"))

    def dropping(self) -> Task[None]:
        """Close serving and delete the shares at the workers, which go on running."""
        return Task(lambda _: self._call("drop"))

    def shutting_down(self) -> Task[list[dict[str, Any]]]:
        """End the workers that this session has started, and with them every share; see TFECluster.stopping()."""
        return self.cluster.stopping()

    def _call(self, call: str, **fields: object) -> Steps[None]:
        yield from self.cluster.ask_all(call, time.monotonic() + CALL_SECONDS, None, None, model=self.number, **fields)


def sharing(
    model: object,
    cluster: TFECluster,
    *,
    name: str | None = None,
    input_range: object = (0.0, 1.0),
    untrusted_clients: object = False,
    timeout: float = SHARE_SECONDS,
) -> Task[SharedModel]:
    """Share a Keras model with the workers of a cluster, which is started if this session has not.

    Sharing a model again puts new shares in the place of those it had on the cluster. Events: those of starting,
    "sharing" and "shared".

    Args:
        name: how clients may call it; by default the Keras model's own name.
        input_range: smallest and largest input, for which no value inside the network leaves its range.
        untrusted_clients: whether a client might send other inputs than these on purpose, to learn about the weights;
            the workers then make sure that it cannot, which takes a few message delays more.

    Raises:
        InputTypeError, UnsupportedLayerError, RangeCheckError: at once, when the model cannot be computed privately.
        ProtocolError: the workers found that their parts do not match.
    """
    if not isinstance(cluster, TFECluster):
        raise InputTypeError(f"cluster is of class {type(cluster).__name__}. Give a cluster made by TFECluster().")
    seconds = seconds_argument(timeout)
    imported = import_model(
        model,
        input_range=range_argument(input_range),
        untrusted_clients=flag_argument(untrusted_clients, "untrusted_clients"),
    )
    check_ranges(imported.program, imported.weights)
    title = text_argument(getattr(model, "name", "model") if name is None else name, "name")

    def work(emit: Emit) -> Steps[SharedModel]:
        if not cluster.started:
            yield from cluster.start_steps(emit)
        shared = SharedModel(cluster, secrets.token_hex(16), title, imported.program)
        emit("sharing", name=title)
        yield from _send(shared, imported, seconds)
        before = _shared.get(model)
        if before is not None and before.cluster.addresses == cluster.addresses:
            cluster.tell("drop", model=before.number)
        _shared[model] = shared
        emit("shared", name=title)
        return shared

    return Task(work)


def _send(shared: SharedModel, imported: Imported, timeout: float) -> Steps[None]:
    program = imported.program
    kernels = {number: weights.kernel for number, weights in imported.weights.items()}
    biases = {number: weights.bias for number, weights in imported.weights.items()}
    parts = dict(zip(SERVERS, shares.share_weights(program, kernels, biases), strict=True))
    same = {"model": shared.number, "name": shared.name, "program": program.to_message()}
    seeds = {role: {"seeds": list(part.seeds)} for role, part in parts.items()}
    arrays = {role: _arrays(part) for role, part in parts.items()}
    try:
        yield from shared.cluster.ask_all("share", time.monotonic() + timeout, seeds, arrays, **same)
    except BaseException:
        shared.cluster.tell("drop", model=shared.number)
        raise


def _arrays(part: ModelShare) -> list[Any]:
    """The masked kernel and the bias share of every linear step in order."""
    return [array for number in sorted(part.masked) for array in (part.masked[number], part.biases[number])]


def shared_model(model: object) -> SharedModel:
    """What a Keras model was last shared as; raises NotSharedError."""
    found = _shared.get(model)
    if found is None:
        raise NotSharedError("This model is not shared yet. Share it with a cluster first, with share().")
    return found


def forget(model: object) -> None:
    """The model is no longer shared."""
    _shared.pop(model, None)


def _limits(num_requests: object, per_client: object) -> dict[str, int | None]:
    return {
        "requests": None if num_requests is None else count_argument(num_requests, "num_requests"),
        "per_client": None if per_client is None else count_argument(per_client, "per_client"),
    }
