"""The errors a user can meet.

Every class carries a ``code``: the wire sends it between processes, and the R package turns it into the
condition class ``syfr_error_<code>``. A message says in one sentence what is wrong and in the next what to do.
"""

from __future__ import annotations


class SyfrError(Exception):
    """Base of every error raised by syfr."""

    code = "error"


class ShapeError(SyfrError):
    """An array does not have the shape the model asks for."""

    code = "shape"


class ValueRangeError(SyfrError):
    """A value is NA, NaN, infinite, or outside the declared input range."""

    code = "range"


class InputTypeError(SyfrError):
    """An argument has a type that cannot be used here."""

    code = "type"


class UnsupportedLayerError(SyfrError):
    """A layer of the model, or one of its arguments, cannot be computed privately."""

    code = "unsupported_layer"


class RangeCheckError(SyfrError):
    """A value inside the network could leave the range that fixed point can hold."""

    code = "range_check"


class NotServedError(SyfrError):
    """The model is shared, but no request is open for it."""

    code = "not_served"


class NotSharedError(SyfrError):
    """The model has not been shared with the workers."""

    code = "not_shared"


class NotConnectedError(SyfrError):
    """A query was made before the client was connected to a model."""

    code = "not_connected"


class CredentialsError(SyfrError):
    """A key or certificate is missing, expired, unsafe on disk, or of another cluster."""

    code = "credentials"


class RefusedError(SyfrError):
    """A worker refused what was asked, because the asker's certificate does not allow it."""

    code = "refused"


class BusyError(SyfrError):
    """A worker has as many queries waiting as it takes; ask again later."""

    code = "busy"


class ProtocolError(SyfrError):
    """A frame does not belong where it arrived, or two workers disagree; the query has ended."""

    code = "protocol"


class DeadlineError(SyfrError):
    """A call did not end before its timeout."""

    code = "deadline"


class ClosedError(SyfrError):
    """The connection or the object has been closed."""

    code = "closed"


class WorkerError(SyfrError):
    """A worker failed."""

    code = "worker"


class NotReadyError(WorkerError):
    """A worker cannot work now, since it has no link to another one or is stopping; nothing of the call was done."""

    code = "not_ready"


class UnreachableError(WorkerError):
    """A worker does not answer at its address."""

    code = "unreachable"


class PortInUseError(WorkerError):
    """The address of a worker is taken by another program."""

    code = "port_in_use"


def error_classes() -> dict[str, type[SyfrError]]:
    """Every error class by its code, for rebuilding an error that came over the wire."""
    found: dict[str, type[SyfrError]] = {}
    waiting: list[type[SyfrError]] = [SyfrError]
    while waiting:
        cls = waiting.pop()
        found[cls.code] = cls
        waiting.extend(cls.__subclasses__())
    return found
