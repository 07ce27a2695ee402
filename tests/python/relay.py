"""A relay between two parties, for faults of the network: what passes through it can be delayed, held, cut or halved.

It forwards bytes and understands none: they are TLS. Two threads a direction: one reads, one waits and writes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

PIECE = 1 << 16


class Relay:
    """Listens on loopback and forwards to ``target``, "host:port".

    Attributes:
        address: where it listens.
        delay: seconds by which everything is late, in each direction.
        held: while set nothing passes, and nobody is told: the network is cut.
        slow: bytes a second that pass, or 0 for any number.
        passed: bytes that went to the target and back.
    """

    def __init__(self, target: str, delay: float = 0.0) -> None:
        host, port = target.rsplit(":", 1)
        self._target = host.strip("[]"), int(port)
        self.delay, self.slow = delay, 0.0
        self.held = threading.Event()
        self.passed = [0, 0]
        self._stop_after: int | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._over = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Hold everything from now on, also new connections: packets vanish."""
        self.held.set()

    def mend(self) -> None:
        """Let pass what was held, and what comes."""
        self._stop_after = None
        self.held.clear()

    def cut_after(self, count: int) -> None:
        """Hold everything once so many more bytes have gone to the target: mostly in the midst of a frame."""
        self._stop_after = self.passed[0] + count

    def reset(self) -> None:
        """End every connection at once, in the midst of whatever passes."""
        for pair in self._pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it all."""
        self._over = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.reset()
        for thread in self._threads:
            thread.join(20)
        for pair in self._pairs:
            for sock in pair:
                sock.close()

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for place, (source, sink) in enumerate([(near, far), (far, near)]):
                late: deque[tuple[float, bytes]] = deque()
                for work, given in ((self._read, (source, late)), (self._write, (sink, late, place))):
                    thread = threading.Thread(target=work, args=given, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _read(self, source: socket.socket, late: deque[tuple[float, bytes]]) -> None:
        while not self._over:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            late.append((time.monotonic() + self.delay, piece))
            if not piece:
                return

    def _write(self, sink: socket.socket, late: deque[tuple[float, bytes]], place: int) -> None:
        while not self._over:
            if not late or time.monotonic() < late[0][0] or self.held.is_set():
                time.sleep(0.0005)
                continue
            piece = late.popleft()[1]
            if not piece:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            if place == 0 and self._stop_after is not None and self.passed[0] + len(piece) > self._stop_after:
                left = self._stop_after - self.passed[0]
                late.appendleft((0.0, piece[left:]))
                piece, self._stop_after = piece[:left], None
                self.cut()
            if self.slow:
                time.sleep(len(piece) / self.slow)
            try:
                sink.sendall(piece)
            except OSError:
                return
            self.passed[place] += len(piece)
