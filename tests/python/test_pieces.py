"""Preprocessing of one row in pieces: the same numbers, answers, delays and bytes as at once, and no more memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Model, small_models
from syfr.errors import NotServedError, ProtocolError, SyfrError
from syfr.party import executor, memory, pieces, preprocessing
from syfr.party.memory import MemoryCluster, MemoryNetwork
from syfr.party.pieces import Filling, Held, split
from syfr.party.streams import BlockStreams
from syfr.protocol import output, sharing
from syfr.protocol.channel import Array
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.ring.streams import KeyStream
from workers import Cluster, cluster_of, digits, perceptron, truncated

MODELS = small_models()

TINY = """
from syfr.party import pieces
pieces.PIECE_BYTES = pieces.PIECES_AHEAD = 1
"""
"""Every step of a row is a piece, and the servers are given one when they have used the last."""

ONE_AT_A_TIME = """
import os
from syfr.party import pieces
add = pieces.Filling.add
def checked(self, part):
    add(self, part)
    if sum(bool(left) for left in self._left) > 1:
        os._exit(3)
pieces.Filling.add = checked
"""
"""A worker that ends when it has two pieces of a row."""

DIES_AT_A_PIECE = """
import os, signal
from syfr.party import session
deal = session.Session.deal
def fatal(self, rows):
    dealt = deal(self, rows)
    if dealt.piece == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return dealt
session.Session.deal = fatal
"""

ONE_WRONG_PIECE = """
from dataclasses import replace
from syfr.party import session
deal, wrong = session.Session.deal, [2]
def careless(self, rows):
    dealt = deal(self, rows)
    if dealt.piece in wrong:
        wrong.clear()
        return replace(dealt, piece=1)
    return dealt
session.Session.deal = careless
"""


# ---- ranges of steps ----


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 2, 3], [range(3)]),
        ([5, 5, 1, 9, 2], [range(2), range(2, 4), range(4, 5)]),
        ([40, 0, 0, 3], [range(3), range(3, 4)]),
        ([0, 0, 40, 0], [range(4)]),
        ([0, 20, 20], [range(2), range(2, 3)]),
    ],
)
def test_steps_are_taken_together_as_far_as_they_fit(sizes: list[int], expected: list[range]) -> None:
    assert split(sizes, 10) == expected


def test_a_piece_is_used_when_the_last_of_its_steps_is() -> None:
    filling, used = Filling([range(3), range(3, 5)]), []
    filling.used = used.append
    filling.add({0: "a", 2: "b"})
    filling.take(2)
    filling.take(1)  # local: nothing was prepared
    filling.add({3: "c", 4: "d"})
    assert used == []
    filling.take(0)
    filling.take(4)
    filling.take(3)
    assert used == [0, 1]
    assert not filling


def test_a_piece_is_held_until_both_servers_have_used_it() -> None:
    held = Held()
    held.add(0, 0, 10)
    held.add(0, 1, 5)
    held.add(1, 0, 10)
    for server in (Role.SERVER0, Role.SERVER0):
        held.used(server, 0, 0)
    assert held.size == 25
    held.used(Role.SERVER1, 0, 0)
    assert held.size == 15
    held.forget(lambda row: row == 0)
    assert held.size == 10


# ---- in memory ----


class Known(BlockStreams):
    """Streams whose own draws are known too, so that two runs can be compared."""

    def own(self) -> KeyStream:
        """A stream that is always the same; each step asks for one."""
        return KeyStream(bytes(16))


def known(cluster: MemoryCluster, role: Role, block: int = 0) -> Known:
    """The streams of a role."""
    return Known(cluster.keys[role]._keys, block)


def masks_of(cluster: MemoryCluster) -> list[Any]:
    """Both lambdas of the first row."""
    return [sharing.input_mask(seed, 0, 1, cluster.program.input_shape) for seed in cluster.seeds]


def one_by_one(cluster: MemoryCluster) -> list[range]:
    """A piece for every step that has anything to prepare."""
    return split([operation.row_bytes() for operation in cluster.plan.operations], 1)


def dealt_in_pieces(cluster: MemoryCluster) -> Iterator[tuple[dict[Role, dict[int, Any]], list[Array]]]:
    """What each role has of every piece, and what was sent."""
    masks, plan = masks_of(cluster), cluster.plan
    dealer = preprocessing.Dealer(plan, cluster.layers[DEALER], known(cluster, DEALER), masks[0] + masks[1])
    servers = {
        role: preprocessing.Preparer(plan, role, cluster.layers[role], known(cluster, role), masks[role])
        for role in (Role.SERVER0, Role.SERVER1)
    }
    for steps in one_by_one(cluster):
        kept, message = dealer.deal(steps)
        found = {role: each.prepare(steps, message if role else None) for role, each in servers.items()}
        yield {**found, DEALER: kept}, message


def same(left: object, right: object) -> bool:
    """Whether two things that were prepared have the same numbers."""
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right)
    if isinstance(left, (tuple, list)):
        pairs = zip(left, right, strict=True)  # type: ignore[call-overload]
        return all(same(one, other) for one, other in pairs)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if hasattr(left, "__dict__"):
        return type(left) is type(right) and same(vars(left), vars(right))
    return left == right


@pytest.mark.parametrize("name", MODELS)
def test_pieces_are_what_is_made_at_once(name: str) -> None:
    cluster = MODELS[name].cluster()
    streams = {role: known(cluster, role) for role in SERVERS}
    whole, message = memory.prepare_all(cluster.plan, cluster.layers, streams, masks_of(cluster))
    found: dict[Role, dict[int, Any]] = {role: {} for role in SERVERS}
    sent: list[Array] = []
    for parts, arrays in dealt_in_pieces(cluster):
        sent += arrays
        for role, part in parts.items():
            assert not part.keys() & found[role].keys()
            found[role].update(part)
    assert same(sent, message)
    assert same(found, whole)


def run_late(model: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int, int, list[int]]:
    """A query whose pieces come when it can do nothing without: answer, delays, bytes online, pieces used."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    cluster = model.cluster()
    plan = cluster.plan
    x = model.inputs(1)
    fillings = {role: Filling(plan.pieces) for role in SERVERS}
    used: list[int] = []
    fillings[Role.SERVER0].used = used.append
    coming = dealt_in_pieces(cluster)

    def next_piece() -> None:
        parts, _ = next(coming)
        for role, part in parts.items():
            fillings[role].add(part)

    next_piece()
    masked = sharing.mask_input(cluster.program.encode_input(x), cluster.seeds, 0)
    masked = sharing.low_bits(masked, cluster.program.input_bits)
    network = MemoryNetwork()
    openings = {role: (cluster.keys[role].transcript_key(role.partner, 0), bytes(16)) for role in SERVERS[:2]}
    inputs = {role: masked.copy() for role in SERVERS[:2]}
    runs = memory.all_runs(network, plan, cluster.layers, fillings, inputs, openings)
    for run in runs.values():
        run.advance()
    for piece in range(1, len(plan.pieces) + 1):
        while network.on_the_way:
            sent = network.on_the_way.popleft()
            runs[sent.receiver].deliver(sent.sender, sent.tag, sent.clock, sent.arrays)
        if piece < len(plan.pieces):
            assert not any(runs[role].done for role in SERVERS[:2])
            next_piece()
            for role, run in runs.items():
                run.deliver(role, (piece, executor.PIECE), -1, ())
    assert all(run.done for run in runs.values())
    parts = [runs[role].result for role in SERVERS[:2]]
    online = sum(array.nbytes for sent in network.record for array in sent.arrays)
    delays = max(run.channel.clock for run in runs.values())
    return output.combine(parts[0], parts[1], cluster.program), delays, online, used


@pytest.mark.parametrize("name", MODELS)
def test_a_query_that_waits_for_pieces_gives_the_same_in_as_many_delays_and_bytes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[name]
    answer, delays, online, used = run_late(model, monkeypatch)
    cost = preprocessing.program_cost(model.program, model.padded)
    assert delays == cost.delays
    assert online == cost.online_bytes + preprocessing.hash_bytes(model.program, model.padded)
    np.testing.assert_allclose(answer, model.answer(model.inputs(1)), atol=0.02)
    assert sorted(used) == list(range(len(used)))
    assert len(used) == sum(not operation.local for operation in model.cluster().plan.operations)


def test_a_piece_of_another_shape_is_refused() -> None:
    cluster = MODELS["relu"].cluster()
    masks = masks_of(cluster)
    dealer = preprocessing.Dealer(cluster.plan, cluster.layers[DEALER], known(cluster, DEALER), masks[0] + masks[1])
    _, message = dealer.deal(range(1))
    server = preprocessing.Preparer(
        cluster.plan, Role.SERVER1, cluster.layers[Role.SERVER1], known(cluster, Role.SERVER1), masks[1]
    )
    with pytest.raises(ProtocolError, match="another shape"):
        server.prepare(range(1, 2), message)


# ---- between workers ----


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers with pieces of one step, who end when they have more than one of a row."""
    with cluster_of(tmp_path_factory.mktemp("pieces"), all=TINY + ONE_AT_A_TIME, server2=TINY) as made:
        yield made


def serve(cluster: Cluster, model: Any) -> str:
    """Share and serve; the model's number."""
    with cluster.owner() as owner:
        return owner.shared(model)


@pytest.mark.parametrize(("make", "delays"), [(digits, 12), (perceptron, 4), (truncated, 6)])
def test_workers_answer_in_as_many_delays_with_one_piece_at_a_time(cluster: Cluster, make: Any, delays: int) -> None:
    model = make()
    with cluster.client() as client:
        session = client.open(serve(cluster, model), model)
        assert [session.check(seed=seed) for seed in range(3)] == [delays] * 3
        assert session.check(rows=3, seed=5) == delays


def test_two_sessions_go_on_side_by_side(cluster: Cluster) -> None:
    model = digits()
    number = serve(cluster, model)
    with cluster.client() as client, cluster.client("mallory") as other:
        sessions = [client.open(number, model), other.open(number, model)]
        x = model.input(1)
        for start, session in [(session.send(x), session) for session in sessions]:
            np.testing.assert_allclose(session.collect(start)[0], model.plain(x), atol=0.01)


def test_a_query_that_fails_in_the_middle_of_its_pieces_leaves_the_session_as_it_was(cluster: Cluster) -> None:
    model = digits()
    with cluster.client() as client:
        session = client.open(serve(cluster, model), model)
        frame = session.frame(model.input(1), 0)
        client.wires["server0"].send(frame)
        changed = np.asarray(frame.arrays[0]).copy()
        changed[0, 0] += 1
        frame.arrays = [changed]
        client.wires["server1"].send(frame)
        for server in ("server0", "server1"):
            with pytest.raises(ProtocolError):
                session.part(server, 0)
        session.next_row = 1
        assert [session.check(seed=seed) for seed in range(2)] == [12, 12]


NEVER_IDLE = """
from syfr.party import sessions
sessions.Sessions.idle = lambda self: False
"""
"""A worker that always has something else to do."""


def test_a_query_gets_its_pieces_whatever_else_goes_on(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=TINY + NEVER_IDLE) as busy, busy.client() as client:
        for model in (digits(), perceptron()):
            session = client.open(serve(busy, model), model)
            session.check()
            session.check(rows=3)


@pytest.mark.parametrize(("refusals", "size", "ahead"), [(1, 60_000, 200_000), (3, 60_000, 480_000)])
def test_a_session_goes_on_after_rows_whose_pieces_nobody_used(
    tmp_path: Path, refusals: int, size: int, ahead: int
) -> None:
    """Room for less than a row, and for two: what was dealt of refused ones must not stand in the way."""
    model = digits()
    limits = f"from syfr.party import pieces\npieces.PIECE_BYTES, pieces.PIECES_AHEAD = {size}, {ahead}\n"
    with cluster_of(tmp_path, all=limits) as three, three.owner() as owner, three.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        owner.tell("pause", model=number)
        for _ in range(refusals):
            with pytest.raises(NotServedError):
                session.check()
        owner.serve(number)
        session.check()
        session.check(rows=2)


def test_a_wrong_piece_ends_the_session_and_no_more(tmp_path: Path) -> None:
    model = digits()
    with cluster_of(tmp_path, all=TINY, server2=TINY + ONE_WRONG_PIECE) as careless, careless.client() as client:
        number = serve(careless, model)
        session = client.open(number, model)
        with pytest.raises(SyfrError, match="out of order"):
            session.check()
        assert client.open(number, model).check() == 12


def test_a_dealer_that_ends_between_pieces_fails_the_query(tmp_path: Path) -> None:
    model = digits()
    with cluster_of(tmp_path, all=TINY, server2=TINY + DIES_AT_A_PIECE) as mortal, mortal.client() as client:
        session = client.open(serve(mortal, model), model)
        start = session.send(model.input(1))
        for server in ("server0", "server1"):
            with pytest.raises(SyfrError, match="server2"):
                session.part(server, start)


