"""Running hashes of a graph: steps side by side have chains of their own, whatever the order of their messages."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from harness import Model, dense, graphs, model
from syfr.errors import ProtocolError
from syfr.party.memory import MemoryNetwork, Sent
from syfr.party.preprocessing import Plan
from syfr.protocol.roles import Role
from syfr.steps import Combine, Reshape

SEEDS = range(6)


class AnyOrder(MemoryNetwork):
    """Messages of one party to another arrive in their order; which two parties come next is random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.on_the_way = Drawn(seed)


class Drawn(deque[Sent]):
    """A queue whose next is drawn among the first of each link."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw = np.random.default_rng(seed)

    def popleft(self) -> Sent:
        first: dict[tuple[Role, Role], Sent] = {}
        for sent in self:
            first.setdefault((sent.sender, sent.receiver), sent)
        found = list(first.values())[self.draw.integers(len(first))]
        del self[next(place for place, sent in enumerate(self) if sent is found)]
        return found


def forked() -> Model:
    """Two layers read one value, each through a reshape that no message belongs to."""
    steps = [
        dense(0, 6, 6, "relu"),
        Reshape("left", 1, (6,), (6,)),
        Reshape("right", 1, (6,), (6,)),
        dense(2, 6, 4, "relu"),
        dense(3, 6, 4, "relu"),
        Combine("sum", (4, 5), (4,), (1, 1), then="output"),
    ]
    return model((6,), steps)


def ask(found: Model, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """A query whose messages come in a random order; the answer must be that of the model."""
    monkeypatch.setattr("syfr.party.memory.MemoryNetwork", lambda: AnyOrder(seed))
    x = found.inputs(2, seed + 1)
    np.testing.assert_allclose(found.cluster().query(x).values, found.answer(x), atol=0.02)


def ask_often(found: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several orders."""
    for seed in SEEDS:
        ask(found, monkeypatch, seed)


def test_a_step_goes_on_with_a_hash_that_no_other_adds_to() -> None:
    straight = [dense(0, 6, 6, "relu"), Reshape("flat", 1, (6,), (6,)), dense(2, 6, 4, "output")]
    assert Plan(model((6,), straight).program).goes_on == [True, True, True]
    assert Plan(forked().program).goes_on == [True, True, True, False, False, False]
    assert Plan(graphs()["two outputs"].program).goes_on == [False, True, False]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["forked", "product", "moved", "two outputs"])
def test_messages_may_come_in_any_order(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ask({"forked": forked(), **graphs()}[name], monkeypatch, seed)


def test_steps_side_by_side_cannot_share_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "_going_on", lambda self: [True, True, True, True, True, False])
    with pytest.raises(ProtocolError, match="different inputs"):
        ask_often(forked(), monkeypatch)
