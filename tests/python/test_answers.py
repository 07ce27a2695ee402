"""Parts of an answer: only two of the form that is asked for, with one seal, make one."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from syfr.errors import NotServedError, ProtocolError
from syfr.face.answers import Parts
from syfr.face.remote import Remote
from syfr.link import Frame
from syfr.program import Program
from syfr.trust.identity import Bundle

SHAPE = (1, 3)


def give(parts: Parts, role: str, array: Any = None, **meta: object) -> None:
    """A part of ``role``, of the right form unless something else is said."""
    arrays = [np.zeros(SHAPE, np.uint32) if array is None else array]
    remote = Remote(role, "localhost:1", cast(Bundle, None))
    parts.take(remote, Frame("answer", {"clock": 4, "seal": b"same", **meta}, arrays))


def refused(parts: Parts) -> str:
    """What is said when the parts are added."""
    with pytest.raises(ProtocolError) as found:
        parts.combined(cast(Program, None))
    return str(found.value)


def test_two_parts_are_an_answer_and_the_first_of_each_counts() -> None:
    parts = Parts(shape=SHAPE)
    give(parts, "server0")
    give(parts, "server0", np.ones(SHAPE, np.uint32), seal=b"other")
    give(parts, "server2")
    assert not parts.done
    give(parts, "server1", clock=5)
    assert parts.done
    assert parts.error is None
    assert parts.clock == 5
    assert not parts.parts["server0"].any()


@pytest.mark.parametrize(
    ("array", "meta"),
    [
        (np.zeros((1, 4), np.uint32), {}),
        (np.zeros((2, 3), np.uint32), {}),
        (np.zeros(SHAPE, np.float64), {}),
        (None, {"seal": None}),
        (None, {"clock": "4"}),
    ],
)
def test_a_part_of_another_form_is_none(array: Any, meta: dict[str, object]) -> None:
    parts = Parts(shape=SHAPE)
    give(parts, "server1", array, **meta)
    assert parts.done
    assert "server1 at localhost:1 gave an answer of another form" in refused(parts)


def test_parts_with_two_seals_are_never_added() -> None:
    parts = Parts(shape=SHAPE)
    give(parts, "server0")
    give(parts, "server1", seal=b"other")
    assert "did not compute the same" in refused(parts)


def test_what_a_worker_says_went_wrong_is_raised() -> None:
    parts = Parts(shape=SHAPE)
    parts.error = NotServedError("No request is open. Ask the owner.")
    assert parts.done
    with pytest.raises(NotServedError):
        parts.combined(cast(Program, None))
