"""The client against workers that do as a test says: which model it finds, what it sends, whom it believes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import plain
import pytest
from fake_worker import FakeWorker, Respond, by_call, fake_workers, refusal, reply
from syfr.client import Client, Found, apply_head, choose
from syfr.credentials import Credentials
from syfr.errors import (
    ClosedError,
    CredentialsError,
    DeadlineError,
    InputTypeError,
    NotConnectedError,
    NotServedError,
    NotSharedError,
    ProtocolError,
    ShapeError,
    SyfrError,
    UnreachableError,
    ValueRangeError,
)
from syfr.identity import SERVERS
from syfr.link import Frame
from syfr.program import Linear, Program
from syfr.protocol import sharing
from syfr.ring.packing import unpack_elements

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(60)

MODEL = "0123456789abcdef" * 2
PROGRAM = Program((2, 2), (Linear("d", 0, (2, 3), (2, 2), (2, 3), "output"),), rows=None)
IN, OUT = (1, 2, 2), (1, 2, 3)
X = np.array([[[0.5, 0.25], [0.0, 1.0]]])

Calls = dict[str, Callable[[Frame], "list[Frame] | None"]]


def described(program: Program = PROGRAM) -> dict[str, Any]:
    return {"model": MODEL, "name": "tiny", "program": program.to_message(), "serving": True}


def answer(frame: Frame, value: int, **changes: object) -> list[Frame]:
    """The part of an answer whose every element is ``value``."""
    meta = {key: frame.meta[key] for key in ("session", "start", "rows")}
    part = np.full((frame.meta["rows"], 2, 3), value, np.uint32)
    return [Frame("answer", {**meta, "clock": 2, **changes}, [part])]


def failed(frame: Frame, code: str, message: str) -> list[Frame]:
    meta = {key: frame.meta[key] for key in ("session", "start", "rows")}
    return [Frame("failed", {**meta, "code": code, "message": message})]


def calls(**changes: Callable[[Frame], list[Frame] | None]) -> Calls:
    """What a good worker answers."""
    good: Calls = {
        "describe": lambda frame: reply(frame, models=[described()]),
        "open": reply,
        "close": reply,
        "query": lambda frame: answer(frame, 1 << 14),
    }
    return {**good, **changes}


class Described:
    """What a client is told of a cluster."""

    def __init__(self, addresses: Mapping[str, str], directory: Path) -> None:
        self.addresses, self.directory = dict(addresses), directory


Workers = Callable[..., "tuple[Client, dict[str, FakeWorker]]"]


@pytest.fixture
def fakes(credentials: Credentials) -> Iterator[Workers]:
    """Makes a client of three fake workers; ``server1={"describe": ...}`` changes what one answers."""
    with ExitStack() as stack:

        def make(**changes: Calls) -> tuple[Client, dict[str, FakeWorker]]:
            responds: dict[str, Respond] = {role: by_call(calls(**changes.get(role, {}))) for role in SERVERS}
            workers = stack.enter_context(fake_workers(credentials, responds))
            client = client_of(workers, credentials)
            stack.callback(client.disconnect)
            return client, workers

        yield make


def client_of(workers: Mapping[str, FakeWorker], credentials: Credentials) -> Client:
    return Client(Described({role: worker.address for role, worker in workers.items()}, credentials.directory))


def connected(fakes: Workers, **changes: Calls) -> tuple[Client, dict[str, FakeWorker]]:
    client, workers = fakes(**changes)
    client.connecting(IN, OUT).wait(20)
    return client, workers


def frames(worker: FakeWorker, name: str) -> list[Frame]:
    """What a worker received: requests by their call, others by their kind."""
    return [frame for frame in worker.received if name in (frame.kind, frame.meta.get("call"))]


# ---- connecting ----


def test_connecting_gives_each_worker_the_seeds_it_may_have(fakes: Workers) -> None:
    client, workers = connected(fakes)
    assert client.connected
    opened = {role: frames(worker, "open")[0].meta for role, worker in workers.items()}
    first, second = opened["server2"]["seeds"]
    assert opened["server0"]["seeds"] == [first]
    assert opened["server1"]["seeds"] == [second]
    assert first != second
    assert len({meta["session"] for meta in opened.values()}) == 1
    assert {meta["model"] for meta in opened.values()} == {MODEL}
    assert {meta["rows"] for meta in opened.values()} == {1}


def test_what_a_connected_client_knows(fakes: Workers) -> None:
    client, _ = connected(fakes)
    assert client.model_info == {
        "name": "tiny",
        "input_shape": [1, 2, 2],
        "output_shape": [1, 2, 3],
        "input_range": [0.0, 1.0],
        "head": "linear",
        "delays": 0.0,
    }
    assert repr(client).endswith("connected to 'tiny' from (rows, 2, 2) to (rows, 2, 3))")


def test_seeds_and_masks_show_nowhere(fakes: Workers) -> None:
    client, workers = connected(fakes)
    client.querying(X).wait(20)
    seeds = frames(workers["server2"], "open")[0].meta["seeds"]
    shown = "".join(map(repr, [client, client._session, client._sent]))
    assert "REDACTED" in shown
    for seed in seeds:
        assert repr(seed) not in shown
        assert seed.hex() not in shown


@pytest.mark.parametrize("shapes", [((1, 2, 3), OUT), (IN, (1, 3, 2)), ((2, 2, 2), OUT), ((1, 4), OUT)])
def test_shapes_that_no_model_has(fakes: Workers, shapes: tuple[object, object]) -> None:
    client, _ = fakes()
    with pytest.raises(ShapeError, match=r"'tiny' from \(rows, 2, 2\) to \(rows, 2, 3\)"):
        client.connecting(*shapes).wait(20)
    assert not client.connected


def test_bad_arguments_are_refused_before_anything_is_sent(fakes: Workers) -> None:
    client, workers = fakes()
    for arguments, error in [
        ((3, OUT), InputTypeError),
        ((IN, "text"), InputTypeError),
        ((IN, OUT, 3), InputTypeError),
        ((IN, OUT, None, -1), ValueRangeError),
    ]:
        with pytest.raises(error):
            client.connecting(*arguments)
    assert not any(worker.received for worker in workers.values())


def test_a_model_that_the_workers_describe_differently_is_not_used(fakes: Workers) -> None:
    other = Program((2, 2), PROGRAM.steps, head="softmax")
    client, workers = fakes(server1={"describe": lambda frame: reply(frame, models=[described(other)])})
    with pytest.raises(ProtocolError, match="'tiny' differently"):
        client.connecting(IN, OUT).wait(20)
    assert not any(frames(worker, "open") for worker in workers.values())


@pytest.mark.parametrize("models", [None, 3, ["text"], [{"model": MODEL}], [{**described(), "program": {"steps": []}}]])
def test_a_description_that_cannot_be_read(fakes: Workers, models: object) -> None:
    client, _ = fakes(server2={"describe": lambda frame: reply(frame, models=models)})
    with pytest.raises(ProtocolError):
        client.connecting(IN, OUT).wait(20)


def test_a_model_that_one_worker_lacks_is_not_there(fakes: Workers) -> None:
    client, _ = fakes(server1={"describe": lambda frame: reply(frame, models=[])})
    with pytest.raises(NotSharedError, match="No model is shared"):
        client.connecting(IN, OUT).wait(20)


def test_an_error_of_a_worker_names_it(fakes: Workers) -> None:
    client, workers = fakes(server1={"open": lambda frame: refusal(frame, "not_shared", "It has\x1b[31m gone.")})
    with pytest.raises(NotSharedError) as caught:
        client.connecting(IN, OUT).wait(20)
    assert str(caught.value) == f"server1 at {workers['server1'].address}: It has[31m gone."


def test_a_worker_that_is_not_there(fakes: Workers, credentials: Credentials) -> None:
    _, workers = fakes()
    workers["server1"].close()
    client = client_of(workers, credentials)
    with pytest.raises(UnreachableError, match=f"server1 at {workers['server1'].address} does not answer .*Start"):
        client.connecting(IN, OUT).wait(20)


def test_a_worker_that_does_not_reply(fakes: Workers) -> None:
    client, _ = fakes(server0={"describe": lambda _: None})
    with pytest.raises(DeadlineError, match=r"server0 at .* did not answer 'describe'"):
        client.connecting(IN, OUT, timeout=0.3).wait(20)


def test_workers_in_the_wrong_order(fakes: Workers, credentials: Credentials) -> None:
    _, workers = fakes()
    swapped = {"server0": workers["server1"], "server1": workers["server0"], "server2": workers["server2"]}
    with pytest.raises(CredentialsError, match="is server1, not server0"):
        client_of(swapped, credentials).connecting(IN, OUT).wait(20)
    assert not any(worker.received for worker in workers.values())


def test_no_credentials(tmp_path: Path) -> None:
    cluster = Described({role: f"localhost:{4000 + place}" for place, role in enumerate(SERVERS)}, tmp_path / "none")
    with pytest.raises(CredentialsError, match=r"There are no credentials .*`credentials`"):
        Client(cluster).connecting(IN, OUT).wait(20)
    with pytest.raises(CredentialsError, match="cannot be used"):
        Client(cluster, tmp_path / "other").connecting(IN, OUT).wait(20)


# ---- choosing ----


def found(name: str, serving: bool = True, **changes: Any) -> Found:
    fields = {"input_shape": (2, 2), "steps": PROGRAM.steps, **changes}
    return Found(name.encode().hex(), name, Program(**fields), serving)


def test_a_served_model_is_preferred() -> None:
    idle, served = found("idle", serving=False), found("served")
    shapes = (1, (2, 2)), (1, (2, 3))
    assert choose([idle, served], *shapes, None) is served
    assert choose([idle, served], *shapes, "idle") is idle
    assert choose([idle], *shapes, None) is idle


def test_several_models_of_the_same_shapes_are_told_apart_by_name_or_number() -> None:
    first, second = found("first"), found("second")
    shapes = (None, (2, 2)), (1, (2, 3))
    with pytest.raises(ShapeError, match=r"'first' .* 'second' .*Name one"):
        choose([first, second], *shapes, None)
    assert choose([first, second], *shapes, "second") is second
    assert choose([first, second], *shapes, first.number) is first
    with pytest.raises(NotSharedError, match="No model called 'third'"):
        choose([first, second], *shapes, "third")


def test_a_model_with_a_fixed_batch_wants_that_batch() -> None:
    model = found("fixed", rows=4)
    assert model.fits((4, (2, 2)), (4, (2, 3)))
    assert model.fits((None, (2, 2)), (None, (2, 3)))
    assert not model.fits((1, (2, 2)), (1, (2, 3)))
    assert not model.fits((4, (2, 2)), (1, (2, 3)))


# ---- querying ----


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
    monkeypatch.setattr("syfr.client.QUERY_ROWS", 4)
    client, workers = connected(fakes)
    task = client.querying(np.repeat(X, 10, 0))
    assert task.wait(20).shape == (10, 2, 3)
    assert [event["rows"] for event in task.events() if event["event"] == "answered"] == [4, 8, 10]
    assert [frame.meta["rows"] for frame in frames(workers["server0"], "query")] == [4, 4, 2]


def test_parts_are_whole_requests(fakes: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.client.QUERY_ROWS", 7)
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


def test_a_query_that_is_not_served_leaves_the_session_as_it_is(fakes: Workers) -> None:
    served: list[int] = []

    def query(frame: Frame) -> list[Frame]:
        served.append(frame.meta["start"])
        return failed(frame, "not_served", "No more.") if len(served) == 1 else answer(frame, 1)

    client, workers = connected(fakes, server0={"query": query})
    with pytest.raises(NotServedError, match=r"server0 at .*: No more\."):
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
        lambda _: [Frame("answer", ["no", "fields"])],
    ],
)
def test_answers_of_another_form_are_refused(fakes: Workers, change: Callable[[Frame], list[Frame]]) -> None:
    client, _ = connected(fakes, server1={"query": change})
    with pytest.raises(ProtocolError, match="server1"):
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


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
