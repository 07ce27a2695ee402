"""The running hashes of a graph: a chain for each step, over all that led to it, in whatever order messages arrive.

Anything that server0 and server1 do not hold alike ends the query, or makes the two hashes differ that they send the
client with their parts of the answer: then it refuses them (test_client_query.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from harness import Model, small_models
from numpy.typing import NDArray
from syfr.errors import ProtocolError
from syfr.party import memory
from syfr.party.memory import Answer, MemoryChannel, MemoryNetwork
from syfr.party.preprocessing import Plan
from syfr.protocol import sharing, transcript
from syfr.protocol.channel import Array, Tag
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript, seal
from syfr.ring import streams

MODELS = small_models()
BRANCHED = ("branches", "two outputs", "mixed", "rows inside", "moved", "label", "signs of the input")
Message = tuple[Role, Role, Tag]


@dataclass
class Chains:
    """The transcripts of server0 and server1 of the queries that a test runs, in the order they were made."""

    made: list[Transcript] = field(default_factory=list)

    @property
    def seals(self) -> list[bytes]:
        """What each of both servers sends the client at the end of the last query."""
        return [seal([one]) for one in self.made[-2:]]


@pytest.fixture
def chains(monkeypatch: pytest.MonkeyPatch) -> Chains:
    """Filled while the test runs."""
    found = Chains()

    def noted(key: bytes, opening: bytes) -> Transcript:
        found.made.append(Transcript(key, opening))
        return found.made[-1]

    monkeypatch.setattr(memory, "Transcript", noted)
    return found


# ---- a changed message ----


def changed_query(model: Model, wanted: Message, place: int) -> Answer:
    """A query in which one array of one message comes with another lowest bit of every number."""
    send = MemoryChannel.transmit

    def transmit(self: MemoryChannel, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        if (self.role, peer, tag) == wanted:
            arrays = [array ^ array.dtype.type(1) if at == place else array for at, array in enumerate(arrays)]
        send(self, peer, tag, clock, arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryChannel, "transmit", transmit)
        return model.cluster().query(model.inputs(2))


def arrays_received(model: Model) -> list[tuple[Message, int]]:
    """Every array of every message that server0 or server1 receives."""
    return [
        ((sent.sender, sent.receiver, sent.tag), place)
        for sent in model.cluster().query(model.inputs(2)).messages
        if sent.receiver != DEALER
        for place in range(len(sent.arrays))
    ]


PADDED = [name for name in MODELS if name.endswith("padded")]


@pytest.mark.parametrize("name", [*BRANCHED, *PADDED])
def test_a_changed_message_in_any_branch_ends_the_query_or_is_seen_by_the_client(name: str, chains: Chains) -> None:
    model = MODELS[name]
    model.cluster().query(model.inputs(2))
    assert chains.seals[0] == chains.seals[1]
    ends = []
    for message, place in arrays_received(model):
        ends.append(error_of(model, message, place))
        assert ends[-1] is not None or chains.seals[0] != chains.seals[1], message
    assert {end for end in ends if end} == {HOLD_DIFFERENT}


def error_of(model: Model, message: Message, place: int) -> str | None:
    """How a query ends in which an array is changed."""
    try:
        changed_query(model, message, place)
    except ProtocolError as error:
        return str(error)
    return None


HOLD_DIFFERENT = (
    "server0 and server1 hold different inputs for this query; it has ended and nothing was released. "
    "The client must send the same masked input to both."
)


def test_without_what_was_joined_the_client_would_not_see_the_last_values(
    chains: Chains, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["branches"]
    unseen = (Role.SERVER0, Role.SERVER1, (7, "masked")), 1
    changed_query(model, *unseen)
    assert chains.seals[0] != chains.seals[1]
    monkeypatch.setattr(Transcript, "join", lambda self, others: None)
    changed_query(model, *unseen)
    assert chains.seals[0] == chains.seals[1]


# ---- nonces ----


class Noted:
    """Stands for AESGCM, and keeps what it was used for."""

    used: list[tuple[bytes, bytes, bytes, bytes]]
    real: Callable[[bytes], Any]

    def __init__(self, key: bytes) -> None:
        self._key, self._gmac = key, Noted.real(key)

    def encrypt(self, nonce: bytes, data: bytes, known: Any) -> bytes:
        """As AESGCM does."""
        Noted.used.append((self._key, nonce, bytes(data), bytes(known)))
        found: bytes = self._gmac.encrypt(nonce, data, known)
        return found


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """What the keys of running hashes were used for since it was asked last."""
    Noted.used, Noted.real = [], transcript.AESGCM
    monkeypatch.setattr(transcript, "AESGCM", Noted)

    def taken() -> list[Any]:
        found, Noted.used = Noted.used, []
        return found

    return taken


def collisions(found: list[tuple[bytes, bytes, bytes, bytes]]) -> int:
    """Nonces of one key that served for different data, or more often than once at each server."""
    uses: dict[tuple[bytes, bytes], list[Any]] = {}
    for key, nonce, *rest in found:
        uses.setdefault((key, nonce), []).append(rest)
    return sum(len(many) != 2 or many[0] != many[1] for many in uses.values())


@pytest.mark.parametrize("name", MODELS)
def test_no_nonce_of_a_query_serves_twice(name: str, used: Callable[[], list[Any]]) -> None:
    model = MODELS[name]
    cluster = model.cluster()
    for rows in (1, 2):
        cluster.query(model.inputs(rows))
    found = used()
    assert len({key for key, *_ in found}) == 2, "a key for each query"
    assert collisions(found) == 0


def test_chains_that_are_not_numbered_would_use_a_nonce_twice(
    used: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Transcript._start
    monkeypatch.setattr(Transcript, "_start", lambda self, gmac, number: start(self, gmac, 0))
    MODELS["branches"].cluster().query(MODELS["branches"].inputs(1))
    assert collisions(used()) > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_chain_goes_on_only_where_nobody_else_adds_to_it(name: str) -> None:
    # Each chain has one line of users: who goes on with one is the last to add to it.
    plan = Plan(MODELS[name].program)
    objects, adders = [0], dict[int, list[int]]()
    for number, (operation, sources) in enumerate(zip(plan.operations, plan.sources, strict=True)):
        read = {objects[source] for source in sources}
        objects.append(min(read) if plan.goes_on[number] else number + 1)
        if not operation.local or len(read) > 1:
            for one in read:
                adders.setdefault(one, []).append(number)
    for one, numbers in adders.items():
        for earlier, later in itertools.pairwise(numbers):
            # The later one reads what the earlier one gave, or the earlier one only read the chain.
            assert _leads_to(plan, earlier, later) or not plan.goes_on[earlier], (one, earlier, later)


def _leads_to(plan: Plan, earlier: int, later: int) -> bool:
    ahead = {earlier + 1}
    for number in range(earlier + 1, later + 1):
        if not ahead.isdisjoint(plan.sources[number]):
            ahead.add(number + 1)
    return later + 1 in ahead


# ---- any order of arrival ----


@dataclass
class Shuffled(MemoryNetwork):
    """Delivers what is on the way in a random order, that of each link too."""

    seed: int = 0

    def run(self, runs: Any) -> None:
        """As a network does that holds back any message for any time."""
        rng = np.random.default_rng(self.seed)
        for place in rng.permutation(len(runs)):
            list(runs.values())[place].advance()
        while self.on_the_way:
            self.on_the_way.rotate(int(rng.integers(len(self.on_the_way))))
            sent = self.on_the_way.popleft()
            runs[sent.receiver].deliver(sent.sender, sent.tag, sent.clock, sent.arrays)
        for role, run in runs.items():
            if not run.done:
                raise ProtocolError(f"{role.label} still waits for {run.missing}.")


@pytest.fixture
def same_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From each call on, all keys are those after the call before."""
    numbers: Iterator[int] = itertools.count()

    def fresh() -> bytes:
        return next(numbers).to_bytes(16, "big")

    for module in (memory, sharing, streams):
        monkeypatch.setattr(module, "fresh_key", fresh)
    party_streams: Any = __import__("syfr.party.streams", fromlist=["fresh_key"])
    monkeypatch.setattr(party_streams, "fresh_key", fresh)

    def again() -> None:
        nonlocal numbers
        numbers = itertools.count()

    return again


@pytest.mark.parametrize("name", MODELS)
def test_messages_may_arrive_in_any_order(
    name: str, chains: Chains, same_keys: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[name]
    found: list[tuple[NDArray[np.float64], int, list[bytes]]] = []
    for seed in (None, *range(8)):
        network = MemoryNetwork if seed is None else lambda seed=seed: Shuffled(seed=seed)
        monkeypatch.setattr(memory, "MemoryNetwork", network)
        same_keys()
        answer = model.cluster().query(model.inputs(2))
        found.append((answer.values, answer.delays, chains.seals))
    first, delays, (ours, theirs) = found[0]
    assert ours == theirs
    for values, more, seals in found[1:]:
        assert np.array_equal(values, first)
        assert more == delays, "the logical clock counts messages, not their order"
        assert seals == [ours, ours]
