"""Calls from R, each crossing over once. What a function raises comes back as data and becomes an R condition there.

An exception may not cross to R as such: reticulate 1.28 reports the first one after Ctrl-C, at the prompt say, as
another interrupt, and gives all others one class.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from syfr.errors import SyfrError
from syfr.face.tasks import Task


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call it: {"value": ...}, or what it raised as {"codes": ..., "message": ..., "trace": ...}.

    The codes are those of a SyfrError and of its base classes, most special first; other exceptions have none.
    """
    try:
        return {"value": function(*args, **kwargs)}
    except SyfrError as error:
        classes = [cls for cls in type(error).__mro__ if issubclass(cls, SyfrError)]
        return {"codes": [cls.code for cls in classes], "message": str(error), "trace": ""}
    except Exception as error:
        return {"codes": [], "message": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def advance(task: Task[Any], seconds: float) -> dict[str, Any]:
    """Let a task go on for so long: {"done": ..., "events": ...}, and its outcome, as of :func:`attempt`, once done."""
    done = task.step(seconds)
    outcome = attempt(task.result) if done else {}
    return {"done": done, "events": task.events(), **outcome}
