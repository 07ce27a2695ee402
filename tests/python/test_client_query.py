"""Queries to workers that do as a test says: what is sent, who is believed, how it goes on after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import plain
import pytest
from cluster_processes import wait_until
from fake_client import (
    OUT,
    PROGRAM,
    Workers,
    X,
    answer,
    connected,
    failed,
    frames,
)
from fake_worker import FakeWorker
from syfr.errors import (
    ClosedError,
    DeadlineError,
    InputTypeError,
    NotConnectedError,
    NotServedError,
    ProtocolError,
    ShapeError,
    SyfrError,
    ValueRangeError,
    WorkerError,
)
from syfr.face.results import apply_head
from syfr.link import Frame
from syfr.program import Program
from syfr.protocol import sharing
from syfr.ring.packing import unpack_elements
from syfr.trust.identity import SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(60)


def test_a_query_before_connecting(fakes: Workers) -> None:
    client, _ = fakes()
    with pytest.raises(NotConnectedError, match=r"connect_to_model\(\) first"):
        client.querying(X)
    with pytest.raises(NotConnectedError):
        client.sent_view()


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros((1, 5)), ShapeError),
        ("text", InputTypeError),
        (X * np.nan, ValueRangeError),
        (X + np.inf, ValueRangeError),
        (X * 255, ValueRangeError),
    ],
)
def test_bad_input_is_refused_at_the_door_and_the_client_goes_on(
    fakes: Workers, x: object, error: type[SyfrError]
) -> None:
    client, workers = connected(fakes)
    with pytest.raises(error):
        client.querying(x)
    assert not any(frames(worker, "query") for worker in workers.values())
    assert client.querying(X).wait(20).shape == OUT


def test_server0_and_server1_get_the_same_masked_input_and_the_dealer_none(fakes: Workers) -> None:
    client, workers = connected(fakes)
    values = client.querying(X).wait(20)
    np.testing.assert_array_equal(values, np.full(OUT, 2.0))
    assert not frames(workers["server2"], "query")
    first, second = (frames(workers[role], "query") for role in SERVERS[:2])
    assert len(first) == len(second) == 1
    np.testing.assert_array_equal(first[0].arrays[0], second[0].arrays[0])
    assert first[0].meta["start"] == 0
    seeds = frames(workers["server2"], "open")[0].meta["seeds"]
    masked = sharing.mask_input(PROGRAM.precision.encode(X), (seeds[0], seeds[1]), 0)
    received = unpack_elements(first[0].arrays[0].reshape(-1), X.shape)
    np.testing.assert_array_equal(received, masked & np.uint64((1 << 48) - 1))


def test_a_row_is_masked_once(fakes: Workers) -> None:
    client, workers = connected(fakes)
    for rows in (1, 3, 2):
        client.querying(np.repeat(X, rows, 0)).wait(20)
    queries = frames(workers["server0"], "query")
    assert [(frame.meta["start"], frame.meta["rows"]) for frame in queries] == [(0, 1), (1, 3), (4, 2)]
    rows = np.concatenate([frame.arrays[0] for frame in queries])
    assert len(np.unique(rows, axis=0)) == 6


def test_masks_made_ahead_are_those_of_their_rows(fakes: Workers) -> None:
    client, workers = connected(fakes)
    sizes = (1, 1, 3, 3, 1)
    for rows in sizes:
        client.querying(np.repeat(X, rows, 0)).wait(20)
    seeds = frames(workers["server2"], "open")[0].meta["seeds"]
    for frame, rows in zip(frames(workers["server1"], "query"), sizes, strict=True):
        encoded = PROGRAM.precision.encode(np.repeat(X, rows, 0))
        masked = sharing.mask_input(encoded, (seeds[0], seeds[1]), frame.meta["start"])
        received = unpack_elements(frame.arrays[0].reshape(-1), masked.shape)
        np.testing.assert_array_equal(received, masked & np.uint64((1 << 48) - 1))


def test_the_view_of_the_workers(fakes: Workers) -> None:
    client, workers = connected(fakes)
    client.querying(X).wait(20)
    view = client.sent_view()
    assert view["server2"].shape == (0, 2, 2)
    np.testing.assert_array_equal(view["server0"], view["server1"])
    received = unpack_elements(frames(workers["server0"], "query")[0].arrays[0].reshape(-1), X.shape)
    np.testing.assert_array_equal(view["server0"], received.astype(np.float64) / 2.0**48)


def test_figures_of_a_query(fakes: Workers) -> None:
    client, _ = connected(fakes, server1={"query": lambda frame: answer(frame, 0, clock=12)})
    client.querying(np.repeat(X, 2, 0)).wait(20)
    figures = client.last_query
    assert figures["rows"] == 2.0
    assert figures["delays"] == 12.0
    assert figures["seconds"] > 0
    assert figures["bytes_sent"] > 2 * 2 * 4 * 6
    assert figures["bytes_received"] > 2 * 2 * 6 * 4


def test_a_large_batch_goes_in_parts(fakes: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.face.client.QUERY_ROWS", 4)
    client, workers = connected(fakes)
    task = client.querying(np.repeat(X, 10, 0))
    assert task.wait(20).shape == (10, 2, 3)
    assert [event["rows"] for event in task.events() if event["event"] == "answered"] == [4, 8, 10]
    assert [frame.meta["rows"] for frame in frames(workers["server0"], "query")] == [4, 4, 2]


def test_a_part_holds_no_more_than_workers_have_room_for(fakes: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.face.client.QUERY_ELEMENTS", 13)
    client, workers = connected(fakes)
    client.querying(np.zeros((5, 2, 2))).wait(20)
    assert [frame.meta["rows"] for frame in frames(workers["server0"], "query")] == [2, 2, 1]


def test_parts_are_whole_requests(fakes: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.face.client.QUERY_ROWS", 7)
    client, workers = fakes()
    client.connecting((3, 2, 2), (3, 2, 3)).wait(20)
    client.querying(np.repeat(X, 8, 0)).wait(20)
    assert [frame.meta["rows"] for frame in frames(workers["server0"], "query")] == [6, 2]


def test_queries_may_be_on_the_way_together(fakes: Workers) -> None:
    client, _ = connected(fakes)
    first, second = client.querying(X), client.querying(np.repeat(X, 2, 0))
    first.step(0)
    second.step(0)
    assert second.wait(20).shape == (2, 2, 3)
    assert first.wait(20).shape == (1, 2, 3)


@pytest.mark.parametrize(("code", "error"), [("not_served", NotServedError), ("worker", WorkerError)])
def test_a_query_that_a_worker_refuses_leaves_the_session_as_it_is(
    fakes: Workers, code: str, error: type[SyfrError]
) -> None:
    served: list[int] = []

    def query(frame: Frame) -> list[Frame]:
        served.append(frame.meta["start"])
        return failed(frame, code, "Not now.") if len(served) == 1 else answer(frame, 1)

    client, workers = connected(fakes, server0={"query": query})
    with pytest.raises(error, match=r"server0 at .*: Not now\."):
        client.querying(X).wait(20)
    client.querying(X).wait(20)
    assert served == [0, 1]
    assert len(frames(workers["server0"], "open")) == 1


@pytest.mark.parametrize("role", SERVERS)
def test_a_connection_that_is_lost_is_set_up_again_by_the_next_query(fakes: Workers, role: str) -> None:
    client, workers = connected(fakes)
    client.querying(X).wait(20)
    workers[role].hang_up()
    wait_until(lambda: not workers[role]._connections)
    assert client.querying(X).wait(20).shape == OUT
    assert len(frames(workers["server0"], "open")) == 2
    sessions = {frame.meta["session"] for frame in frames(workers["server0"], "open")}
    seeds = {frame.meta["seeds"][0] for frame in frames(workers["server0"], "open")}
    assert len(sessions) == len(seeds) == 2


def test_a_session_that_the_workers_ended_is_opened_again(fakes: Workers) -> None:
    known: list[bytes] = []

    def query(frame: Frame) -> list[Frame]:
        known.append(frame.meta["session"])
        return failed(frame, "not_connected", "Not open.") if len(known) == 1 else answer(frame, 1)

    client, _ = connected(fakes, server1={"query": query})
    assert client.querying(X).wait(20).shape == OUT
    assert len(set(known)) == 2


def test_a_worker_that_hangs_up_during_a_query(fakes: Workers) -> None:
    workers: dict[str, FakeWorker] = {}

    def query(_: Frame) -> None:
        workers["server1"].hang_up()

    client, made = connected(fakes, server1={"query": query})
    workers.update(made)
    with pytest.raises(ClosedError, match="server1"):
        client.querying(X).wait(20)


def test_an_answer_that_does_not_come(fakes: Workers) -> None:
    client, _ = connected(fakes, server1={"query": lambda _: None})
    with pytest.raises(DeadlineError, match=r"server1 at \S+ did not answer"):
        client.querying(X, timeout=0.3).wait(20)


def test_an_answer_that_came_in_time_is_taken_by_a_task_that_is_resumed_late(fakes: Workers) -> None:
    client, _ = connected(fakes)
    task = client.querying(X, timeout=0.3)
    task.step(0)
    time.sleep(0.5)
    assert task.step(1) is True
    assert task.result().shape == OUT


def test_a_cancelled_query_gives_up_its_session(fakes: Workers) -> None:
    client, workers = connected(fakes, server1={"query": lambda _: None})
    task = client.querying(X)
    task.step(0.2)
    task.cancel()
    wait_until(lambda: bool(frames(workers["server0"], "close")))
    second = client.querying(X)
    second.step(0.5)
    second.cancel()
    assert len(frames(workers["server0"], "open")) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: [Frame("answer", {**frame.meta, "clock": 1}, [np.zeros((1, 3, 2), np.uint32)])],
        lambda frame: [Frame("answer", {**frame.meta, "clock": 1}, [np.zeros((1, 2, 3), np.uint64)])],
        lambda frame: [Frame("answer", {**frame.meta, "clock": 1}, [])],
        lambda frame: answer(frame, 1, clock="soon"),
        lambda frame: answer(frame, 1, seal=None),
        lambda _: [Frame("answer", ["no", "fields"])],
    ],
)
def test_answers_of_another_form_are_refused(fakes: Workers, change: Callable[[Frame], list[Frame]]) -> None:
    client, _ = connected(fakes, server1={"query": change})
    with pytest.raises(ProtocolError, match="server1"):
        client.querying(X).wait(20)


def test_parts_of_servers_that_did_not_compute_the_same_are_refused(fakes: Workers) -> None:
    client, _ = connected(fakes, server1={"query": lambda frame: answer(frame, 0, seal=bytes(15) + b"x")})
    with pytest.raises(ProtocolError, match="did not compute the same"):
        client.querying(X).wait(20)


@pytest.mark.parametrize("change", [{"session": b"other"}, {"start": 5}, {"start": "0"}])
def test_answers_to_another_query_are_left_alone(fakes: Workers, change: dict[str, Any]) -> None:
    client, _ = connected(
        fakes, server1={"query": lambda frame: [*answer(frame, 0, **change), *answer(frame, 1 << 14)]}
    )
    np.testing.assert_array_equal(client.querying(X).wait(20), np.full(OUT, 2.0))


def test_the_dealer_and_a_second_answer_change_nothing(fakes: Workers) -> None:
    client, _ = connected(fakes, server0={"query": lambda frame: [*answer(frame, 1 << 14), *answer(frame, 5)]})
    np.testing.assert_array_equal(client.querying(X).wait(20), np.full(OUT, 2.0))


def test_disconnecting_closes_the_session_and_forgets_the_model(fakes: Workers) -> None:
    client, workers = connected(fakes)
    client.disconnect()
    wait_until(lambda: all(frames(worker, "close") for worker in workers.values()))
    assert not client.connected
    assert client.model_info == {}
    with pytest.raises(NotConnectedError):
        client.querying(X)


# ---- heads ----


@pytest.mark.parametrize("head", ["linear", "softmax", "sigmoid"])
def test_heads(head: str) -> None:
    logits = np.random.default_rng(1).normal(0, 5, (4, 3))
    program = Program((2, 2), PROGRAM.steps, head=head)
    np.testing.assert_allclose(apply_head(head, logits), plain.head(program, logits), rtol=1e-12)


def test_heads_do_not_overflow() -> None:
    extreme = np.array([[-5000.0, 0.0, 5000.0]])
    np.testing.assert_array_equal(apply_head("softmax", extreme), [[0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(apply_head("sigmoid", extreme), [[0.0, 0.5, 1.0]])
