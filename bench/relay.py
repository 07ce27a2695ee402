"""Relays that hold back what passes through them for a while: a way between two places that are far apart.

As a program: reads one line of JSON, {"seconds": 0.02, "ways": [[listening port, target port], ...]}, says "ready", and
relays until its standard input ends. Bytes keep their order; nothing is lost and no rate is limited.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections import deque

CHUNK = 1 << 18
MOST = 1 << 24
"""Bytes on the way in one direction, as a wide pipe would hold them."""


def main() -> None:
    """Relay until standard input ends."""
    task = json.loads(sys.stdin.readline())
    for listening, target in task["ways"]:
        listener = socket.create_server(("127.0.0.1", listening))
        threading.Thread(target=_accept, args=(listener, target, task["seconds"]), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def _accept(listener: socket.socket, target: int, seconds: float) -> None:
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", target))
        except OSError:
            near.close()
            continue
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_carry, args=(source, sink, seconds), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    """One direction of one connection: every chunk leaves so long after it came."""
    waiting: deque[tuple[float, bytes]] = deque()
    held = 0
    ended = False
    try:
        while waiting or not ended:
            timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            listening = [] if ended or held > MOST else [source]
            readable, _, _ = select.select(listening, [], [], timeout)
            if readable:
                chunk = source.recv(CHUNK)
                ended = not chunk
                held += len(chunk)
                if chunk:
                    waiting.append((time.monotonic() + seconds, chunk))
            while waiting and waiting[0][0] <= time.monotonic():
                _, chunk = waiting.popleft()
                held -= len(chunk)
                sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, sink):
            sock.close()


if __name__ == "__main__":
    main()
