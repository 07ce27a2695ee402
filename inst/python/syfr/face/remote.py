"""A connection of an owner or a client to one worker: requests and their replies, without ever waiting.

Every error that comes from here names the worker, its address, and what to do.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from syfr.errors import (
    ClosedError,
    CredentialsError,
    DeadlineError,
    ProtocolError,
    SyfrError,
    UnreachableError,
    error_classes,
)
from syfr.face.dialling import dial
from syfr.face.tasks import Steps, Wait
from syfr.link import Connection, Frame, Limits
from syfr.trust.identity import Bundle

LIMITS = Limits(header=1 << 24, body=1 << 28, unsent=1 << 32)
LONGEST_MESSAGE = 1000

Arrays = Sequence[NDArray[Any]]


class Remote:
    """One worker as its owner or a client sees it.

    Args:
        role: "server0", "server1" or "server2"; anybody else at the address is refused.
        address: "host:port".
        bundle: the credentials of the owner or the client.

    Attributes:
        received: called with every frame that is not a reply.
    """

    def __init__(self, role: str, address: str, bundle: Bundle) -> None:
        self.role, self.address = role, address
        self._bundle = bundle
        self._connection: Connection | None = None
        self._numbers = itertools.count(1)
        self._replies: dict[int, dict[str, Any] | None] = {}
        self._error: SyfrError | None = None
        self.received: Callable[[Frame], None] | None = None

    def __repr__(self) -> str:
        return f"Remote({self.name}, open={self.open})"

    @property
    def name(self) -> str:
        """For messages: "server0 at localhost:4000"."""
        return f"{self.role} at {self.address}"

    @property
    def open(self) -> bool:
        """Whether requests can be sent."""
        return self._connection is not None and self._connection.open and self._error is None

    def fileno(self) -> int:
        """The descriptor to wait for, negative once closed."""
        return -1 if self._connection is None else self._connection.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits to be sent."""
        return self._connection is not None and self._connection.wants_write

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received so far."""
        return (0, 0) if self._connection is None else (self._connection.sent, self._connection.received)

    def connecting(self, deadline: float) -> Steps[None]:
        """Connect, once for each object.

        Raises:
            UnreachableError: nobody listens at the address, or nobody answers.
            CredentialsError: who listens is not this worker of this cluster, or refuses our certificate.
        """
        try:
            sock = yield from dial(self.address, deadline)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnreachableError(
                f"{self.name} does not answer ({reason}). Start the cluster, or check the address and the firewall."
            ) from error
        try:
            self._connection = Connection(sock, self._bundle.client_context(), server_side=False)
        except OSError as error:
            sock.close()
            raise self._named(ClosedError("The connection was closed by the other end.")) from error
        weakref.finalize(self, self._connection.close).atexit = False
        try:
            yield from self._handshake(self._connection, deadline)
        except BaseException:
            self.close()
            raise

    def _handshake(self, connection: Connection, deadline: float) -> Steps[None]:
        while True:
            try:
                if connection.handshake(LIMITS):
                    break
            except SyfrError as error:
                raise self._named(error) from error
            if time.monotonic() >= deadline:
                raise DeadlineError(
                    f"Something listens as {self.name}, but it does not answer as a worker. "
                    "Check the address, or start the worker again."
                )
            yield Wait([self], deadline)
        if connection.identity is None or connection.identity.role != self.role:
            raise CredentialsError(
                f"The worker at {self.address} is {connection.identity}, not {self.role}. "
                "Give the three addresses in the order of the roles."
            )

    def asking(self, call: str, deadline: float, arrays: Arrays = (), **fields: object) -> Steps[dict[str, Any]]:
        """Send a request and wait for what the worker replies; raises the error that it replies with."""
        number = next(self._numbers)
        self._replies[number] = None
        try:
            self.send(Frame("request", {"id": number, "call": call, **fields}, arrays))
            while True:
                self.read()
                reply = self._replies[number]
                if reply is not None:
                    break
                if time.monotonic() >= deadline:
                    raise DeadlineError(
                        f"{self.name} did not answer '{call}' in time. Try again with a longer timeout, or restart it."
                    )
                yield Wait([self], deadline)
        finally:
            del self._replies[number]
        if reply.get("ok") is not True:
            raise self.rebuilt(reply)
        return reply

    def tell(self, call: str, **fields: object) -> None:
        """Send a request whose reply nobody waits for; nothing happens when the connection is lost."""
        if self.open:
            try:
                self.send(Frame("request", {"id": next(self._numbers), "call": call, **fields}))
            except SyfrError:
                return

    def send(self, frame: Frame) -> None:
        """Send a frame, or keep what the socket does not take now."""
        self.send_encoded(frame.encode())

    def send_encoded(self, data: bytes) -> None:
        """The same for a frame that was encoded."""
        try:
            self._connected().send_encoded(data)
        except SyfrError as error:
            raise self._lost(error) from error

    def read(self) -> None:
        """Take in what has arrived and send what was kept; raises when the connection is lost."""
        connection = self._connected()
        try:
            connection.flush()
            frames = connection.read()
        except SyfrError as error:
            raise self._lost(error) from error
        for frame in frames:
            self._take(frame)

    def _connected(self) -> Connection:
        if self._error is not None:
            raise self._error
        if self._connection is None:
            raise ClosedError(f"The connection to {self.name} is closed. Connect again.")
        return self._connection

    def _take(self, frame: Frame) -> None:
        if not isinstance(frame.meta, dict):
            raise self._lost(ProtocolError("A frame without fields arrived."))
        if frame.kind == "reply":
            number = frame.meta.get("id")
            if isinstance(number, int) and number in self._replies:
                self._replies[number] = frame.meta
        elif self.received is not None:
            self.received(frame)

    def rebuilt(self, meta: dict[str, Any]) -> SyfrError:
        """The error that a worker reports, as an exception that names the worker."""
        cls = error_classes().get(str(meta.get("code")), SyfrError)
        text = "".join(letter for letter in str(meta.get("message")) if letter.isprintable())[:LONGEST_MESSAGE]
        return self._naming(cls, text)

    def _lost(self, error: SyfrError) -> SyfrError:
        if self._error is None:
            self._error = self._named(error)
            if self._connection is not None:
                self._connection.close()
        return self._error

    def _named(self, error: SyfrError) -> SyfrError:
        text = str(error)
        if isinstance(error, ClosedError):
            text = f"{text} Look whether the worker still runs, and connect again."
        return self._naming(type(error), text)

    def _naming(self, cls: type[SyfrError], text: str) -> SyfrError:
        return cls(text if text.startswith(self.role) else f"{self.name}: {text}")

    def close(self) -> None:
        """Close the connection without waiting."""
        if self._error is None:
            self._error = ClosedError(f"The connection to {self.name} is closed. Connect again.")
        if self._connection is not None:
            self._connection.close()
