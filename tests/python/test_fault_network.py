"""Links between workers, and to clients, that are cut, slow, late, or break in the midst of a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import syfr as sy
from fault_cluster import PAIRS, SOON, Hosts, Seen, answered, hosts_of
from relay import Relay
from syfr.errors import ClosedError, DeadlineError, NotConnectedError, NotReadyError, UnreachableError
from syfr.face.client import Client
from workers import DEADLINE, SERVERS, perceptron

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(300)

MODEL = perceptron()
LOST = (DeadlineError, ClosedError, UnreachableError, NotConnectedError)
LINKS = [pytest.param(pair, id="-".join(pair), marks=() if pair == PAIRS[0] else pytest.mark.slow) for pair in PAIRS]

@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three workers with a relay in each link, and a model that is served."""
    with hosts_of(tmp_path_factory.mktemp("hosts"), relayed=True, all=SOON) as made:
        with made.owner() as owner:
            owner.shared(MODEL)
        yield made


@pytest.fixture
def client(hosts: Hosts) -> Iterator[Client]:
    """A client that has been answered before."""
    hosts.wait_ready()
    found = hosts.face(MODEL)
    assert answered(found, MODEL)
    yield found
    found.disconnect()
    for relay in hosts.relays.values():
        relay.delay, relay.slow = 0.0, 0.0
        relay.mend()


@pytest.mark.fault("a link between workers is cut for a moment")
@pytest.mark.parametrize("pair", LINKS)
def test_a_short_cut(hosts: Hosts, client: Client, seen: Seen, pair: tuple[str, str]) -> None:
    """TCP sends again what was lost; the link and its keys stay."""
    relay = hosts.relays[pair]
    relay.cut()
    seen.happens()
    asking = client.querying(MODEL.input(8), timeout=DEADLINE)
    asking.step(0.5)
    relay.mend()
    assert abs(asking.wait(DEADLINE) - MODEL.plain(MODEL.input(8))).max() < 0.01
    seen.over()
    seen.tells("the answer, late")


@pytest.mark.slow
@pytest.mark.fault("a link between workers is cut for 5 s")
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_cut_of_five_seconds(tmp_path: Path, seen: Seen, pair: tuple[str, str]) -> None:
    """With the beat that workers have by themselves the link outlives it."""
    with hosts_of(tmp_path, relayed=True) as slow:
        with slow.owner() as owner:
            owner.shared(MODEL)
        client = slow.face(MODEL)
        assert answered(client, MODEL)
        slow.relays[pair].cut()
        seen.happens()
        asking = client.querying(MODEL.input(8), timeout=DEADLINE)
        asking.step(5.0)
        slow.relays[pair].mend()
        assert abs(asking.wait(DEADLINE) - MODEL.plain(MODEL.input(8))).max() < 0.01
        seen.over()
        seen.tells("the answer, late")
        assert "lost the link" not in slow.log(pair[0])
        client.disconnect()


@pytest.mark.fault("a link between workers is cut for good")
@pytest.mark.parametrize("pair", LINKS)
def test_a_cut_for_good(hosts: Hosts, client: Client, seen: Seen, pair: tuple[str, str]) -> None:
    """Packets vanish and nobody says so: the silence is noticed, and the client told who does not hear whom."""
    hosts.relays[pair].cut()
    began = time.monotonic()
    found = seen.error(
        lambda: client.querying(MODEL.input(8), timeout=6).wait(DEADLINE), NotReadyError, DeadlineError, match="server"
    )
    assert time.monotonic() - began < DEADLINE
    assert pair[0] in str(found)
    assert pair[1] in str(found)
    hosts.relays[pair].mend()
    seen.happens()
    hosts.wait_ready()
    assert answered(client, MODEL)
    seen.over()


@pytest.mark.fault("a link between workers breaks in the midst of a frame, at every step")
@pytest.mark.parametrize("share", [0.5, *(pytest.param(n / 8, marks=pytest.mark.slow) for n in (0, 1, 2, 3, 5, 6, 7))])
@pytest.mark.parametrize("pair", LINKS)
def test_half_a_frame(hosts: Hosts, client: Client, seen: Seen, pair: tuple[str, str], share: float) -> None:
    """The bytes stop somewhere, then the connection ends: the query is asked again over the next link."""
    relay = hosts.relays[pair]
    before = relay.passed[0]
    assert answered(client, MODEL, 8)
    relay.cut_after(int(share * (relay.passed[0] - before)) + 1)
    asking = client.querying(MODEL.input(8), timeout=DEADLINE)
    while not relay.held.is_set():
        if asking.step(0.01):
            asking = client.querying(MODEL.input(8), timeout=DEADLINE)
    seen.happens()
    relay.reset()
    relay.mend()
    assert abs(asking.wait(DEADLINE) - MODEL.plain(MODEL.input(8))).max() < 0.01
    seen.over()
    seen.tells("the answer, late")


@pytest.mark.fault("a slow link, and messages that overtake each other on different links")
@pytest.mark.parametrize("pair", LINKS)
def test_a_slow_link(hosts: Hosts, client: Client, seen: Seen, pair: tuple[str, str]) -> None:
    """What one link brings at once, another brings much later; every message has a name, so the order is the same."""
    seen.happens()
    hosts.relays[pair].delay, hosts.relays[pair].slow = 0.08, 2e5
    assert answered(client, MODEL, 8)
    other = hosts.face(MODEL)
    both = [client.querying(MODEL.input(3)), other.querying(MODEL.input(5))]
    for rows, asking in zip((3, 5), both, strict=True):
        assert abs(asking.wait(DEADLINE) - MODEL.plain(MODEL.input(rows))).max() < 0.01
    seen.over()
    seen.tells("the answer, late")
    other.disconnect()


@pytest.mark.fault("the connection of a client is cut")
@pytest.mark.parametrize("name", ["server0", *(pytest.param(name, marks=pytest.mark.slow) for name in SERVERS[1:])])
def test_a_client_that_is_cut_off(hosts: Hosts, client: Client, seen: Seen, name: str) -> None:
    with Relay(hosts.hosts[name]) as relay:
        addresses = hosts.hosts | {name: relay.address}
        workers = [sy.TFEWorker(address, auto_managed=False) for address in addresses.values()]
        far = Client(sy.TFECluster(*workers), hosts.credentials.directory / "client")
        far.connecting((1, 12), (1, 4)).wait(DEADLINE)
        assert answered(far, MODEL)
        relay.cut()
        began = time.monotonic()
        if name == "server2":
            assert answered(far, MODEL), "the dealer hears nothing of the client once the session is open"
            seen.tells("the answer")
        else:
            seen.error(lambda: far.querying(MODEL.input(1), timeout=1.5).wait(DEADLINE), *LOST, match="server")
        assert time.monotonic() - began < DEADLINE
        assert answered(client, MODEL), "others go on"
        relay.mend()
        seen.happens()
        assert answered(far, MODEL)
        seen.over()
        far.disconnect()


def test_addresses_of_every_kind(tmp_path: Path) -> None:
    """IPv6, IPv4 and a name, in one cluster; whoever starts first waits for the others."""
    made = Hosts(tmp_path)
    made.hosts["server1"] = made.reserve("::1")["server1"]
    made.hosts["server2"] = made.hosts["server2"].replace("127.0.0.1", "localhost")
    made.write_config()
    try:
        for name in reversed(SERVERS):
            made.start(name)
        made.wait_ready()
        with made.owner() as owner:
            owner.shared(MODEL)
        client = made.face(MODEL)
        assert answered(client, MODEL)
        client.disconnect()
    finally:
        made.stop()
