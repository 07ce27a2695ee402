"""A worker that says what a test tells it to say: real sockets, TLS and frames, and no computation behind them."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from syfr.errors import SyfrError
from syfr.link import Connection, Frame, Limits
from syfr.trust.credentials import Credentials

Respond = Callable[[Frame], "list[Frame] | None"]
"""What a fake worker sends when a frame arrives; None for nothing."""

TURN = 0.02


class FakeWorker:
    """Listens on a free port until it is closed.

    Args:
        role: whose certificate it shows.
        respond: called in the worker's thread with every frame.

    Attributes:
        received: every frame so far.
    """

    def __init__(self, role: str, credentials: Credentials, respond: Respond) -> None:
        self.role, self._respond = role, respond
        self.received: list[Frame] = []
        self._bundle = credentials.bundle(role)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._listening.getsockname()[1]}"
        self._connections: list[Connection] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Close all connections at the next turn; the worker goes on listening."""
        for connection in list(self._connections):
            connection.limits = HUNG_UP

    def close(self) -> None:
        """End."""
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        with self._listening:
            while not self._over.is_set():
                for ready in self._wait():
                    if ready is self._listening:
                        sock, _ = self._listening.accept()
                        self._connections.append(Connection(sock, self._bundle.server_context(), server_side=True))
                    else:
                        self._serve(ready)
                for connection in self._connections:
                    if connection.limits is HUNG_UP:
                        connection.close()
                self._connections = [connection for connection in self._connections if not connection.closed]
            for connection in self._connections:
                connection.close()

    def _wait(self) -> list[Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            for connection in self._connections:
                write = selectors.EVENT_WRITE if connection.wants_write else 0
                selector.register(connection, selectors.EVENT_READ | write)
            return [key.fileobj for key, _ in selector.select(TURN)]

    def _serve(self, connection: Connection) -> None:
        try:
            if not connection.open and not connection.handshake(Limits(header=1 << 24)):
                return
            connection.flush()
            for frame in connection.read():
                self.received.append(frame)
                for answer in self._respond(frame) or []:
                    connection.send(answer)
        except SyfrError:
            connection.close()


HUNG_UP = Limits(header=1)


def reply(frame: Frame, **fields: object) -> list[Frame]:
    """A good reply to a request."""
    return [Frame("reply", {"id": frame.meta["id"], "ok": True, **fields})]


def refusal(frame: Frame, code: str, message: str) -> list[Frame]:
    """An error in reply to a request."""
    return [Frame("reply", {"id": frame.meta["id"], "ok": False, "code": code, "message": message})]


def by_call(calls: Mapping[str, Callable[[Frame], list[Frame] | None]]) -> Respond:
    """Answers requests by their call, and other frames by their kind; everything else with silence."""

    def respond(frame: Frame) -> list[Frame] | None:
        name = frame.meta.get("call") if frame.kind == "request" else frame.kind
        return calls[name](frame) if name in calls else None

    return respond


@contextmanager
def fake_workers(credentials: Credentials, responds: Mapping[str, Respond]) -> Iterator[dict[str, FakeWorker]]:
    """A fake worker for each role given."""
    with ExitStack() as stack:
        workers = {role: FakeWorker(role, credentials, respond) for role, respond in responds.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        yield workers
