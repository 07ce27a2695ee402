"""Hostile frames to live workers, from every kind of party: connections may end, workers may not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from syfr.errors import SyfrError
from syfr.link import Frame
from syfr.protocol import sharing
from workers import SERVERS, Array, Cluster, Session, Wire, check_serving, cluster_of, perceptron, share_messages

FEW, MANY = 150, 3_000
counts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])

CALLS = ("hello", "share", "part", "serve", "pause", "drop", "status", "describe", "open", "close", "shut", "")
KINDS = ("request", "query", "link", "step", "dealt", "share", "opened", "more", "used", "failed", "began", "ended")
FIELDS = (
    *("session", "start", "rows", "model", "name", "program", "seeds", "requests", "per_client", "half", "digests"),
    *("block", "until", "code", "message", "proof", "id", "call", "clock", "padded"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers for the tests of this file."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


class Fuzzer:
    """Frames that are nearly right, about a session and a model that exist."""

    def __init__(self, seed: int, session: bytes, model: str, program: object) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self._good = [session, model, program, 0, 1, [bytes(16)], [bytes(16), bytes(16)], "protocol"]

    def value(self, deep: int = 2) -> object:
        """Something for a field."""
        chance = self.chance
        if chance.random() < 0.5:
            return chance.choice(self._good)
        plain = [None, True, False, -1, 7, 4096, 4097, 1 << 48, (1 << 63), -(1 << 63), 1.5, float("nan"), float("inf")]
        texts = ["", "x", "\x00", "é" * 50, "0" * 32, b"", b"x" * 15, b"x" * 17, "x" * 1000]
        choice = chance.randrange(4)
        if choice == 0 and deep:
            return [self.value(deep - 1) for _ in range(chance.randint(0, 3))]
        if choice == 1 and deep:
            return {chance.choice(FIELDS): self.value(deep - 1) for _ in range(chance.randint(0, 3))}
        return chance.choice(plain if choice == 2 else texts)

    def arrays(self) -> list[Array]:
        """Arrays of any kind and shape."""
        out: list[Array] = []
        for _ in range(self.chance.choice([0, 0, 1, 1, 2, 4])):
            shape = self.chance.choice([(), (0,), (1, 72), (2, 72), (72,), (12, 20), (20,), (1, 1, 1, 1), (3, 0, 2)])
            out.append(np.zeros(shape, self.chance.choice([np.uint8, np.uint32, np.uint64])))
        return out

    def frame(self, number: int) -> Frame:
        """One frame."""
        chance = self.chance
        kind = chance.choice(KINDS)
        meta: object = {name: self.value() for name in FIELDS if chance.random() < 0.7}
        if kind == "request" and isinstance(meta, dict) and chance.random() < 0.9:
            meta.update(id=number, call=chance.choice(CALLS))
        if kind == "step" and chance.random() < 0.8:
            meta = [self._good[0], *(chance.choice([0, 1, 2, -1, 4096, "x", None, 1 << 50]) for _ in range(6))]
        if chance.random() < 0.05:
            meta = self.value()
        return Frame(kind, meta, self.arrays())


def bombard(cluster: Cluster, fuzzer: Fuzzer, party: str, server: str, count: int) -> int:
    """Send so many frames, on a new connection whenever one ends; how many were needed."""
    used, wire = 0, None
    for number in range(count):
        if wire is None:
            wire = dial(cluster, fuzzer, party, server)
            used += 1
        try:
            wire.send(fuzzer.frame(number))
            wire.inbox += wire.connection.read()
        except SyfrError:
            wire.close()
            wire = None
    if wire is not None:
        wire.close()
    return used


def dial(cluster: Cluster, fuzzer: Fuzzer, party: str, server: str) -> Wire:
    """A connection; that of a worker mostly begins as it must."""
    wire = cluster.dial(server, party)
    if party in SERVERS and fuzzer.chance.random() < 0.9:
        wire.send(Frame("link", {"half": bytes(32)}))
    return wire


@counts
@pytest.mark.parametrize("party", ["client", "owner", "server1", "server2"])
def test_hostile_frames(cluster: Cluster, party: str, count: int) -> None:
    model = perceptron()
    targets = {"server1": ["server0"], "server2": ["server0", "server1"]}.get(party, list(SERVERS))
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        for turn, server in enumerate(targets):
            fuzzer = Fuzzer(100 + turn, session.number, number, model.program.to_message())
            assert bombard(cluster, fuzzer, party, server, count) >= 1
        owner.tell("drop", model=number)
    check_serving(cluster)
    for server in SERVERS:
        assert "Traceback" not in cluster.log(server)


@pytest.mark.parametrize("party", ["client", "owner"])
def test_every_field_with_every_kind_of_value(cluster: Cluster, party: str) -> None:
    """Each field of each call in turn holds what it should not; the rest is right."""
    model = perceptron()
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    wrong: list[object] = [None, True, -1, 1.5, 1 << 63, "", "x" * 500, b"", b"x" * 40, [], [[]], {}, {"a": 1}]
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        fields, arrays = share_messages(model, shares, "d" * 32)
        calls: dict[str, dict[str, object]] = {
            "share": fields["server0"],
            "serve": {"model": number, "requests": 3},
            "pause": {"model": number},
            "drop": {"model": "e" * 32},
        }
        if party == "client":
            right = Session(client, number, model).fields()["server0"]
            calls = {"open": right, "close": {"session": right["session"]}}
        for call, good in calls.items():
            for name in good:
                for value in wrong:
                    if (name, value) in (("requests", None), ("rows", 1)):
                        continue
                    with cluster.dial("server0", party) as wire:
                        try:
                            wire.call(call, arrays["server0"] if call == "share" else (), **{**good, name: value})
                        except SyfrError:
                            continue
                        assert call in ("drop",), f"{call} took {name}={value!r}"
        owner.tell("drop", model=number)
    check_serving(cluster)
    assert "Traceback" not in cluster.log("server0")


def test_the_logs_say_what_happened_without_a_fault_of_ours(cluster: Cluster) -> None:
    for server in SERVERS:
        for line in cluster.log(server).splitlines():
            assert " ERROR " not in line, line
    assert Path(cluster.directory / "server0.log").exists()
