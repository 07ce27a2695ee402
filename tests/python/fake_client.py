"""A tiny model on three fake workers, and a client of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fake_worker import FakeWorker, reply
from syfr.face.client import Client
from syfr.link import Frame
from syfr.program import Program
from syfr.steps import Linear
from syfr.trust.credentials import Credentials

MODEL = "0123456789abcdef" * 2
PROGRAM = Program((2, 2), (Linear("d", 0, (2, 3), (2, 2), (2, 3), "output"),))
IN, OUT = (1, 2, 2), (1, 2, 3)
X = np.array([[[0.5, 0.25], [0.0, 1.0]]])

Calls = dict[str, Callable[[Frame], "list[Frame] | None"]]


def described(program: Program = PROGRAM) -> dict[str, Any]:
    """A model as a worker describes it."""
    return {"model": MODEL, "name": "tiny", "program": program.to_message(), "serving": True}


def answer(frame: Frame, value: int, **changes: object) -> list[Frame]:
    """The part of an answer whose every element is ``value``."""
    meta = {key: frame.meta[key] for key in ("session", "start", "rows")}
    part = np.full((frame.meta["rows"], 2, 3), value, np.uint32)
    return [Frame("answer", {**meta, "clock": 2, "seal": bytes(16), **changes}, [part])]


def failed(frame: Frame, code: str, message: str) -> list[Frame]:
    """The end of a query without an answer."""
    meta = {key: frame.meta[key] for key in ("session", "start", "rows")}
    return [Frame("failed", {**meta, "code": code, "message": message})]


def calls(**changes: Callable[[Frame], list[Frame] | None]) -> Calls:
    """What a good worker answers."""
    good: Calls = {
        "describe": lambda frame: reply(frame, models=[described()]),
        "open": reply,
        "close": reply,
        "query": lambda frame: answer(frame, 1 << 14),
    }
    return {**good, **changes}


class Described:
    """What a client is told of a cluster."""

    def __init__(self, addresses: Mapping[str, str], directory: Path) -> None:
        self.addresses, self.directory = dict(addresses), directory


Workers = Callable[..., "tuple[Client, dict[str, FakeWorker]]"]


def client_of(workers: Mapping[str, FakeWorker], credentials: Credentials) -> Client:
    """A client of these workers, in these roles."""
    return Client(Described({role: worker.address for role, worker in workers.items()}, credentials.directory))


def connected(fakes: Workers, **changes: Calls) -> tuple[Client, dict[str, FakeWorker]]:
    """A client that has found its model, and its workers."""
    client, workers = fakes(**changes)
    client.connecting(IN, OUT).wait(20)
    return client, workers


def frames(worker: FakeWorker, name: str) -> list[Frame]:
    """What a worker received: requests by their call, others by their kind."""
    return [frame for frame in worker.received if name in (frame.kind, frame.meta.get("call"))]
