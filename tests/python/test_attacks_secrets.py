"""Nothing secret in a log, a message or a representation; nothing left behind by many queries."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.errors import SyfrError
from syfr.party.memory import MemoryCluster
from syfr.party.streams import PairKeys
from syfr.protocol import sharing
from syfr.protocol.roles import Role
from syfr.protocol.transcript import Transcript
from syfr.ring.streams import KeyStream
from workers import SERVERS, Cluster, Model, check_serving, cluster_of, dense, perceptron, share_messages

LOUD = """
import logging
logging.getLogger().setLevel(logging.DEBUG)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers that log all there is."""
    with cluster_of(tmp_path_factory.mktemp("cluster"), all=LOUD) as made:
        yield made


def spellings(secret: bytes) -> list[str]:
    """How bytes could be written down."""
    inner = repr(secret)[2:-1]
    return [secret.hex(), base64.b64encode(secret).decode().rstrip("="), inner, str(list(secret))[1:-1]]


def numbers(values: NDArray[np.float64], bits: int) -> list[str]:
    """How real numbers and their ring elements could be written down."""
    found = []
    for value in values.reshape(-1):
        element = round(float(value) * (1 << bits)) % (1 << 64)
        found += [repr(float(value)), f"{value:.8f}"]
        found += [str(element), f"{element:x}"] if element > 1 << 20 else []
    return found


def assert_absent(text: str, secrets_: Iterable[str]) -> None:
    """None of them is in the text."""
    for secret in secrets_:
        assert secret not in text, f"a secret of {len(secret)} characters is there"


def secrets_of(model: Model, shares: Iterable[sharing.ModelShare]) -> list[str]:
    """Weights, biases and what was drawn to share them."""
    bits = model.program.precision.fraction_bits
    found = [text for kernel in model.kernels.values() for text in numbers(kernel, bits)]
    found += [text for bias in model.biases.values() for text in numbers(bias, 2 * bits)]
    for share in shares:
        found += [text for seed in share.seeds for text in spellings(seed)]
        for masked in share.masked.values():
            found += [str(element) for element in masked.reshape(-1)]
    return found


def test_the_search_would_find_what_it_looks_for() -> None:
    model = dense()
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    masked = shares[1].masked[0]
    for leak in (repr(shares[0].seeds), shares[2].seeds[1].hex(), str(model.kernels[0].tolist()), str(masked.tolist())):
        with pytest.raises(AssertionError):
            assert_absent(f"2026 server0 INFO {leak}", secrets_of(model, shares))


def test_the_logs_of_a_workflow_hold_no_secret(cluster: Cluster) -> None:
    model = perceptron()
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    found = secrets_of(model, shares)
    number = "f" * 32
    messages = []
    with cluster.owner() as owner, cluster.client() as client:
        owner.ask_all("share", *share_messages(model, shares, number))
        owner.serve(number, 20)
        session = client.open(number, model)
        found += [text for seed in session.seeds for text in spellings(seed)]
        for turn in range(5):
            session.check(2, seed=turn)
            found += numbers(model.input(2, turn), model.program.precision.fraction_bits)
        forged = session.frame(model.input(2, 7), session.next_row)
        wrong = np.asarray(forged.arrays[0]).copy()
        wrong[0, 0] ^= 1
        client.wires["server0"].send(forged)
        forged.arrays = [wrong]
        client.wires["server1"].send(forged)
        for server in SERVERS[:2]:
            with pytest.raises(SyfrError) as caught:
                session.part(server, session.next_row)
            messages.append(str(caught.value))
        with pytest.raises(SyfrError) as again:
            owner.ask_all("share", *share_messages(model, shares, number))
        messages.append(str(again.value))
        owner.tell("drop", model=number)
    check_serving(cluster)
    for server in SERVERS:
        key = (cluster.credentials.directory / server / "key.pem").read_text().splitlines()[1:-1]
        assert_absent(cluster.log(server), found + key)
    assert_absent("\n".join(messages), found)


def test_objects_that_hold_secrets_do_not_show_them() -> None:
    model = perceptron()
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    made = MemoryCluster(model.program, model.kernels, model.biases)
    made.prepare(1)
    key = os.urandom(16)
    holders: list[object] = [
        *shares,
        *(layer for share in shares for layer in sharing.layer_shares(model.program, share).values()),
        *(layer for layers in made.layers.values() for layer in layers.values()),
        *made.keys.values(),
        PairKeys({Role.SERVER1: key}, key),
        PairKeys({Role.SERVER1: key}, key).block(1),
        Transcript(key, key),
        KeyStream(key),
        *(step for block in (made._ready[0][2][role] for role in made.keys) for step in block.values()),
    ]
    found = [*secrets_of(model, shares), *spellings(key)]
    for holder in holders:
        for shown in (repr(holder), str(holder), f"{holder}"):
            assert_absent(shown, found)
            assert not re.search(r"array\(|\d{6}", shown.replace(hex(id(holder)), "")), type(holder)


def usage(cluster: Cluster) -> list[tuple[int, int]]:
    """Memory in KiB and open descriptors of each worker."""
    found = []
    for server in SERVERS:
        process = Path(f"/proc/{cluster.processes[server].pid}")
        (line,) = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS")]
        found.append((int(line.split()[1]), len(list((process / "fd").iterdir()))))
    return found


def work(cluster: Cluster, number: str, model: Model, turns: int) -> None:
    """Clients that come, ask and go, some without a word."""
    for turn in range(turns):
        with cluster.client() as client:
            session = client.open(number, model)
            for seed in range(25):
                session.check(1 + seed % 3, seed=seed)
            if turn % 3 == 0:
                session.close()
            elif turn % 3 == 1:
                session.send(model.input(3))


def test_descriptors_do_not_grow(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner:
        number = owner.shared(model)
        work(cluster, number, model, 2)
        before = usage(cluster)
        work(cluster, number, model, 6)
        after = usage(cluster)
        owner.tell("drop", model=number)
    for (_, first), (_, last) in zip(before, after, strict=True):
        assert last <= first + 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow(cluster: Cluster) -> None:
    """Deadlines that were called off stay in the loop for a minute, so memory may grow a little at first."""
    model = perceptron()
    with cluster.owner() as owner:
        number = owner.shared(model)
        work(cluster, number, model, 60)
        before = usage(cluster)
        work(cluster, number, model, 120)
        after = usage(cluster)
        owner.tell("drop", model=number)
    for (first, _), (last, _) in zip(before, after, strict=True):
        assert last < first + 20_000, (before, after)
