"""What users of Python see while a call blocks. R shows the same events in its own way and never comes here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EACH, EVERY = 10, 100
"""Of the requests that were served the first ten are told each, then every hundredth, and the last."""


def nothing(*_: object, **__: object) -> None:
    """Tell nobody."""


def show(event: Mapping[str, Any]) -> None:
    """Print what must be seen: a command to run, requests that were served, a worker that is left running."""
    if event["event"] == "manual_command":
        copy = f"copy {event['copy']} there, and beside the copy run" if "copy" in event else "run"
        print(f"To start {event['worker']} on {event['host']}, {copy}:\n  {event['command']}", flush=True)
    elif event["event"] == "worker_ended":
        print(f"{event['worker']} at {event['address']} has ended and is started again.", flush=True)
    elif event["event"] == "served":
        served, of = event["served"], event["of"]
        if served <= EACH or served % EVERY == 0 or served == of:
            print(f"Served {served}{'' if of is None else f' of {of}'} requests.", flush=True)
    elif event["event"] == "worker_left":
        print(f"{event['worker']} at {event['address']} is left running. {event['remedy']}", flush=True)
