"""Logs of a worker: lines for people, or one JSON object a line for machines. Never a secret in either."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """One object a line: "time" (UTC), "worker", "level", "message", and "trace" when something was raised."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, timezone.utc)
        fields = {
            "time": when.isoformat(timespec="milliseconds"),
            "worker": self._worker,
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_to_standard_error(worker: str, form: str) -> None:
    """Let this process log there, in one of FORMATS."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter(f"%(asctime)s {worker} %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter(worker) if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def read_line(line: str) -> dict[str, str]:
    """The fields of a line that was logged as JSON; of any other line, such as Python's own, only the message."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "message" not in found:
        return {"message": line}
    return {str(key): str(value) for key, value in found.items()}
