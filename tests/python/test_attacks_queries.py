"""A client that cheats: each attack gets nothing from the workers, and what it wanted from a build without the check.

The build without a check is the same worker, started with a few lines that take the check out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from syfr.errors import ClosedError, NotConnectedError, ProtocolError, RefusedError, SyfrError
from syfr.link import Frame
from syfr.protocol import sharing
from syfr.ring.packing import pack_elements
from workers import (
    SERVERS,
    Client,
    Cluster,
    Model,
    Session,
    changed,
    check_serving,
    cluster_of,
    dense,
    perceptron,
    share_messages,
    truncated,
)

NO_HASH = """
from syfr.protocol.transcript import Transcript
Transcript.require = lambda self, digest: None
"""
NO_ORDER = """
from syfr.party import pool, session
def accept(self, place):
    claim = self.model.serving.reserve(self.client.name, self.requests(place.rows), place.rows)
    query = self.queries[place.start] = session.Query(place, claim)
    return query
def take(self, start, stop):
    first, last, block = self._blocks[0]
    return 1, pool.take_rows(block, start - first, start - first + 1)
session.Session.accept = accept
pool.Pool.take = take
"""
NO_MEMORY_OF_NUMBERS = """
from syfr.party.peers import PeerLinks
PeerLinks.session_keys = lambda self, number: self.keys
"""
NO_PROOF = """
from syfr.party import sessions
sessions.opening_proof = lambda session, seed: b"agreed"
"""
NO_OWNERSHIP = """
from syfr.errors import ClosedError
from syfr.party.fields import Place
from syfr.party.sessions import Sessions
def ask(self, client, frame, fields):
    place = Place.read(fields, 4096)
    self._queries.ask(self._sessions[place.session], place, frame.arrays, 60.0)
Sessions.ask = ask
Sessions.close = lambda self, client, fields: self.end(fields["session"], ClosedError("closed"))
"""
NO_COMPARISON = """
from syfr.party import models
models.COMPARED = dict.fromkeys(models.COMPARED, ("program",))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers with all their checks."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def serving(cluster: Cluster, model: Model, requests: int | None = None) -> str:
    """Share and serve a model; its number."""
    with cluster.owner() as owner:
        return owner.shared(model, requests)


# ---- two different inputs ----


def two_inputs(cluster: Cluster, model: Model) -> list[Frame]:
    """What a client gets for sending one input to server0 and another to server1."""
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        frame = session.frame(model.input(1), 0)
        mallory.wires["server0"].send(frame)
        mallory.wires["server1"].send(changed(frame))
        answers = [mallory.wires[server].get() for server in SERVERS[:2]]
        if answers[0].kind == "failed":
            session.next_row = 1
            session.check()  # the session itself goes on
        return answers


@pytest.mark.parametrize("make", [dense, perceptron, truncated])
def test_two_different_inputs_are_refused_and_nothing_is_released(cluster: Cluster, make: type) -> None:
    for answer in two_inputs(cluster, make()):
        assert answer.kind == "failed"
        assert answer.meta["code"] == "protocol"
        assert not answer.arrays
    check_serving(cluster)


def test_without_the_hash_two_different_inputs_are_answered(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_HASH) as careless:
        assert [answer.kind for answer in two_inputs(careless, perceptron())] == ["answer", "answer"]


# ---- rows that were used ----


def replay(cluster: Cluster, model: Model) -> list[Frame]:
    """What a client gets for another input under the masks of a row that was answered."""
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model, 8)
        session.check()
        second = session.frame(model.input(1, seed=5), 0)
        for server in SERVERS[:2]:
            mallory.wires[server].send(second)
        return [mallory.wires[server].get() for server in SERVERS[:2]]


def test_a_row_is_computed_once(cluster: Cluster) -> None:
    for answer in replay(cluster, dense()):
        assert answer.kind == "failed"
        assert "taken once" in answer.meta["message"]
    check_serving(cluster)


def test_without_the_order_of_rows_masks_serve_twice(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_ORDER) as careless:
        assert [answer.kind for answer in replay(careless, dense())] == ["answer", "answer"]


def test_a_frame_that_comes_twice_changes_nothing_for_the_first(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        x = model.input(1)
        frame = session.frame(x, 0)
        for wire in (mallory.wires["server0"], mallory.wires["server0"], mallory.wires["server1"]):
            wire.send(frame)
        kinds = sorted(mallory.wires["server0"].get().kind for _ in range(2))
        assert kinds == ["answer", "failed"]
        assert mallory.wires["server1"].get().kind == "answer"
    check_serving(cluster)


@pytest.mark.parametrize(
    ("start", "rows", "sent"),
    [
        *[(1, 1, 1), (1 << 47, 1, 1), (-1, 1, 1), (1 << 63, 1, 1)],
        *[(0, 0, 1), (0, 2, 1), (0, 4096, 1), (0, 4097, 1), (0, 1, 2)],
    ],
)
def test_rows_that_are_not_next_or_not_there_are_refused(cluster: Cluster, start: int, rows: int, sent: int) -> None:
    model = perceptron()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        frame = session.frame(model.input(sent), 0, {"start": start, "rows": rows})
        for server in SERVERS[:2]:
            mallory.wires[server].send(frame)
            with pytest.raises(SyfrError):
                refused(mallory, server)
    check_serving(cluster)


def refused(client: Client, server: str) -> None:
    """Raise what a worker says against the last frame: a failed query, or the end of the connection."""
    answer = client.wires[server].get()
    if answer.kind == "failed":
        raise ProtocolError(answer.meta["message"])


def test_different_rows_at_the_two_servers_end_the_query(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        mallory.wires["server0"].send(session.frame(model.input(1), 0))
        mallory.wires["server1"].send(session.frame(model.input(2), 0))
        for server in SERVERS[:2]:
            assert mallory.wires[server].get().kind == "failed"
    check_serving(cluster)


def test_too_many_queries_under_way_are_refused(cluster: Cluster) -> None:
    """Sent to server0 alone none of them can end, and each holds memory there."""
    model = dense(600, 3)
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model, 64)
        x, wire = model.input(64), mallory.wires["server0"]
        frames = [session.frame(x, 64 * turn) for turn in range(130)]
        for frame in frames:
            wire.send(frame)
        failed = wire.get(lambda frame: frame.kind == "failed")
        assert failed.meta["start"] == 8192
        assert "under way" in failed.meta["message"]
    check_serving(cluster)


# ---- numbers and seeds of sessions ----


def same_number_twice(cluster: Cluster, model: Model) -> list[bytes]:
    """server0's part of the answers to one input, in two sessions of one number."""
    parts = []
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        for _ in range(2):
            start = session.send(model.input(1))
            parts.append(session.part("server0", start).arrays[0].tobytes())
            session.part("server1", start)
            session.close()
            again = Session(mallory, session.model_number, model, number=session.number, seeds=session.seeds)
            if len(parts) < 2:
                again.open()
            session = again
    return parts


@pytest.mark.parametrize("make", [dense, perceptron])
def test_a_sessions_number_serves_once(cluster: Cluster, make: type) -> None:
    with pytest.raises(ProtocolError, match="not used before"):
        same_number_twice(cluster, make())
    check_serving(cluster)


def test_without_the_memory_of_numbers_masks_come_again(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_MEMORY_OF_NUMBERS) as careless:
        first, second = same_number_twice(careless, dense())
        assert first == second


def unequal_seeds(cluster: Cluster, model: Model) -> tuple[int, int]:
    """The first output for the input 0, and what it should be if it showed a mask of the weights, modulo 2^kappa.

    The dealer is given another seed than server0, which would add (the difference of the two masks)·B to the answer.
    """
    precision = model.program.precision
    kernels = sharing.share_weights(model.program, model.kernels, model.biases)
    (step,) = [step for _, step in model.program.linear_steps()]
    mask = sum(sharing.kernel_mask(seed, 0, step) for seed in kernels[2].seeds)
    with cluster.owner() as owner, cluster.client("mallory") as mallory:
        number = "a" * 32
        owner.ask_all("share", *share_messages(model, kernels, number))
        owner.serve(number)
        session = Session(mallory, number, model)
        other = sharing.fresh_seeds()[0]
        fields = session.fields()
        fields["server2"]["seeds"] = [other, session.seeds[1]]
        try:
            mallory.ask_all("open", fields, {})
            x = np.zeros((1, *model.program.input_shape))
            answer, _ = session.query(x)
        finally:
            owner.tell("drop", model=number)
    apart = sharing.input_mask(other, 0, 1, model.program.input_shape) - sharing.input_mask(
        session.seeds[0], 0, 1, model.program.input_shape
    )
    leaked = (apart @ mask)[0, 0] + precision.encode(model.biases[0], 2)[0]
    modulus = 1 << precision.truncated_bits
    return round(answer[0, 0] * (1 << precision.fraction_bits)) % modulus, int(leaked) >> precision.fraction_bits


def test_different_seeds_are_refused(cluster: Cluster) -> None:
    with pytest.raises((ProtocolError, NotConnectedError)):
        unequal_seeds(cluster, dense())
    check_serving(cluster)


def test_without_the_proof_different_seeds_show_the_mask_of_the_weights(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_PROOF) as careless:
        shown, leaked = unequal_seeds(careless, dense())
        assert (shown - leaked) % (1 << 28) in (0, 1, (1 << 28) - 1)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("what", ["model", "rows", "client"])
def test_workers_that_were_asked_for_different_sessions_do_not_begin(cluster: Cluster, server: str, what: str) -> None:
    """Two shares of one network have the same Program and different masks; they must not meet in one session."""
    model = dense()
    number, other = serving(cluster, model), serving(cluster, replace(model, kernels={0: -model.kernels[0]}))
    with cluster.client("mallory") as mallory, cluster.client("client") as accomplice:
        session = Session(mallory, number, model)
        fields = session.fields()
        if what == "client":
            mallory.wires[server].close()
            mallory.wires[server] = accomplice.wires[server]
        else:
            fields[server][what] = other if what == "model" else 7
        with pytest.raises((ProtocolError, NotConnectedError)):
            open_and_query(mallory, session, fields)
    check_serving(cluster)


def open_and_query(client: Client, session: Session, fields: dict[str, dict[str, object]]) -> None:
    """Open a session as said and use it."""
    client.ask_all("open", fields, {})
    session.query(session.model.input(1))


# ---- sessions of others ----


def steal(cluster: Cluster, model: Model) -> tuple[list[Frame], Session, Client]:
    """A query for another client's session, whose number the attacker is assumed to know."""
    number = serving(cluster, model)
    victim = cluster.client()
    session = victim.open(number, model)
    session.check()
    with cluster.client("mallory") as mallory:
        forged = session.frame(model.input(1, seed=9), 1)
        for server in SERVERS[:2]:
            mallory.wires[server].send(forged)
            mallory.wires[server].call("hello")
        return [frame for server in SERVERS[:2] for frame in mallory.wires[server].inbox], session, victim


def test_a_query_for_anothers_session_is_refused(cluster: Cluster) -> None:
    got, session, victim = steal(cluster, perceptron())
    assert [frame.kind for frame in got] == ["failed", "failed"]
    session.check(seed=3)  # its rows are untouched
    victim.close()
    check_serving(cluster)


@pytest.mark.slow
def test_without_ownership_anothers_rows_are_used_up(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_OWNERSHIP) as careless:
        got, session, victim = steal(careless, perceptron())
        assert got == []
        with pytest.raises((ProtocolError, AssertionError)):
            session.check(seed=3)
        victim.close()


def close_anothers(cluster: Cluster) -> None:
    """Close another client's session; it must go on."""
    model = perceptron()
    number = serving(cluster, model)
    with cluster.client() as victim, cluster.client("mallory") as mallory, cluster.client() as namesake:
        session = victim.open(number, model)
        for other in (mallory, namesake):
            other.tell("close", session=session.number)
        session.check()


def test_anothers_session_cannot_be_closed(cluster: Cluster) -> None:
    close_anothers(cluster)


def test_without_ownership_anothers_session_is_closed(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_OWNERSHIP) as careless, pytest.raises((NotConnectedError, ClosedError)):
        close_anothers(careless)


def test_anothers_number_cannot_be_opened(cluster: Cluster) -> None:
    model = perceptron()
    number = serving(cluster, model)
    with cluster.client() as victim, cluster.client("mallory") as mallory:
        session = victim.open(number, model)
        forged = Session(mallory, number, model, number=session.number)
        with pytest.raises(ProtocolError, match="not used before"):
            forged.open()
        session.check()
        with pytest.raises(NotConnectedError):
            forged.query(model.input(1))


def test_only_the_connection_that_asked_is_answered(cluster: Cluster) -> None:
    """Others wait on connections of their own, even with the same certificate: nothing reaches them."""
    model = perceptron()
    number = serving(cluster, model)
    with cluster.client() as victim, cluster.client() as namesake, cluster.client("mallory") as mallory:
        sessions = [party.open(number, model) for party in (victim, namesake, mallory)]
        for turn in range(5):
            sessions[0].check(seed=turn)
        for other in (namesake, mallory):
            for wire in other.wires.values():
                wire.call("hello")
                assert wire.inbox == []
                assert wire.connection.read() == []


def test_the_dealer_takes_no_query(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        mallory.wires["server2"].send(session.frame(model.input(1), 0))
        assert mallory.wires["server2"].get().kind == "failed"
        session.check()


# ---- shapes and sizes ----


@pytest.mark.parametrize("what", ["none", "two", "words", "short", "long", "flat", "other rows", "deep"])
def test_inputs_of_another_shape_are_refused(cluster: Cluster, what: str) -> None:
    model = perceptron()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        good = np.asarray(session.frame(model.input(1), 0).arrays[0])
        arrays = {
            "none": [],
            "two": [good, good],
            "words": [np.zeros((1, 12), np.uint64)],
            "short": [good[:, :-1].copy()],
            "long": [np.zeros((1, 73), np.uint8)],
            "flat": [good.reshape(-1)],
            "other rows": [np.zeros((2, 72), np.uint8)],
            "deep": [good.reshape(1, 72, 1)],
        }[what]
        frame = Frame("query", {"session": session.number, "start": 0, "rows": 1}, arrays)
        for server in SERVERS[:2]:
            mallory.wires[server].send(frame)
            assert mallory.wires[server].get().kind == "failed"
        session.next_row = 1
        try:
            session.check()
        except ProtocolError:
            session.next_row = 0
            session.check()
    check_serving(cluster)


def test_bytes_above_the_ring_on_the_wire_change_nothing(cluster: Cluster) -> None:
    """All 48 bits of an element may be anything; a client's wild input is only a wrong input."""
    model = dense()
    with cluster.client("mallory") as mallory:
        session = mallory.open(serving(cluster, model), model)
        wild = pack_elements(np.full(6, (1 << 64) - 1, np.uint64)).reshape(1, -1)
        frame = Frame("query", {"session": session.number, "start": 0, "rows": 1}, [wild])
        for server in SERVERS[:2]:
            mallory.wires[server].send(frame)
        assert [mallory.wires[server].get().kind for server in SERVERS[:2]] == ["answer", "answer"]
    check_serving(cluster)


def test_memory_ahead_is_bounded_whatever_a_client_asks_for(cluster: Cluster) -> None:
    """Sessions of 4096 rows a request would have hundreds of megabytes prepared for each."""
    model = perceptron()
    number = serving(cluster, model)
    with cluster.client("mallory") as mallory:
        for _ in range(16):
            mallory.open(number, model, 4096)
        with pytest.raises(RefusedError):
            mallory.open(number, model, 4096)
        with pytest.raises(ProtocolError):
            mallory.open(number, model, 4097)
    check_serving(cluster)


# ---- shares that do not fit together ----


def unequal_shares(cluster: Cluster) -> None:
    """The owner gives server1 other masked weights than server0."""
    model = perceptron()
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    other = {number: masked + np.uint64(1) for number, masked in shares[1].masked.items()}
    number = "b" * 32
    with cluster.owner() as owner:
        try:
            fields, arrays = share_messages(model, [shares[0], replace(shares[1], masked=other), shares[2]], number)
            owner.ask_all("share", fields, arrays)
        finally:
            owner.tell("drop", model=number)


def test_unequal_shares_are_refused(cluster: Cluster) -> None:
    with pytest.raises(ProtocolError, match="do not match"):
        unequal_shares(cluster)
    check_serving(cluster)


@pytest.mark.slow
def test_without_the_comparison_unequal_shares_are_taken(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_COMPARISON) as careless:
        unequal_shares(careless)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("what", ["program", "seeds"])
def test_a_share_that_one_worker_has_otherwise_is_refused(cluster: Cluster, server: str, what: str) -> None:
    model, other = perceptron(), replace(perceptron(), program=replace(perceptron().program, head="softmax"))
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    number = "c" * 32
    fields, arrays = share_messages(model, shares, number)
    if what == "program":
        fields[server]["program"] = other.program.to_message()
    else:
        fields[server]["seeds"] = [bytes(16) for _ in shares[SERVERS.index(server)].seeds]
    with cluster.owner() as owner:
        with pytest.raises(ProtocolError, match="do not match"):
            owner.ask_all("share", fields, arrays)
        owner.tell("drop", model=number)
    check_serving(cluster)
