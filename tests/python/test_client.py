"""The client against workers that do as a test says: which model it finds, and what it tells whom."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_client import (
    IN,
    MODEL,
    OUT,
    PROGRAM,
    Described,
    Workers,
    X,
    client_of,
    connected,
    described,
    frames,
)
from fake_worker import refusal, reply
from syfr.errors import (
    CredentialsError,
    DeadlineError,
    InputTypeError,
    NotSharedError,
    ProtocolError,
    ShapeError,
    UnreachableError,
    ValueRangeError,
)
from syfr.face.client import Client
from syfr.face.finding import Found, choose
from syfr.program import Program
from syfr.trust.credentials import Credentials
from syfr.trust.identity import SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(60)


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
        "inputs": [],
        "outputs": [],
        "classes": [],
        "proven": True,
        "delays": 1.0,
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
    for arguments, error, message in [
        ((3, OUT), InputTypeError, "The input shape is 3. Give"),
        ((None, OUT), InputTypeError, "The input shape is missing. Give"),
        ((IN, "text"), InputTypeError, "The output shape is 'text'. Give"),
        ((IN, OUT, 3), InputTypeError, "model is 3"),
        ((IN, OUT, None, -1), ValueRangeError, "timeout is -1"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
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
    with pytest.raises(CredentialsError, match=r"is server[01], not server[01]"):
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
    again = replace(first, number="0" * 32)
    with pytest.raises(ShapeError, match=f"are called 'first': {first.number} and {again.number}. Give the number"):
        choose([first, again, second], *shapes, "first")


def test_a_batch_is_of_any_size_whatever_the_model_says() -> None:
    model = found("fixed", rows=4)
    assert model.fits((4, (2, 2)), (4, (2, 3)))
    assert model.fits((None, (2, 2)), (17, (2, 3)))
    assert model.fits((1, (2, 2)), (1, (2, 3)))
    assert not model.fits((4, (2, 2)), (1, (2, 3)))
    assert not model.fits((4, (2, 2)), (4, (3, 2)))
