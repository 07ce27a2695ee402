"""Shares at rest: what a worker started by hand keeps survives it, and tells nothing to who has only the files."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from handshakes import HOSTS
from syfr.directories import state_directory
from syfr.errors import CredentialsError, NotServedError, NotSharedError, ProtocolError, SyfrError, WorkerError
from syfr.link import Frame
from syfr.party import state
from syfr.party.state import StateDirectory, seal, unseal
from syfr.player import load_worker
from syfr.protocol import sharing
from syfr.protocol.roles import SERVERS as ROLES
from syfr.protocol.roles import Role
from syfr.trust.credentials import create_credentials
from workers import DEADLINE, SERVERS, Client, Cluster, Model, dense, perceptron, share_messages

NUMBER = "0123456789abcdef" * 2
SECRET = bytes(range(32))


class Manual(Cluster):
    """Workers as they are started by hand: they keep their shares."""

    managed = False

    def state(self, name: str) -> Path:
        """A worker's state directory."""
        with pytest.MonkeyPatch.context() as environment:
            environment.delenv("SYFR_HOME", raising=False)
            environment.setenv("R_USER_DATA_DIR", str(self.directory / "data"))
            return state_directory(list(self.hosts.values()), name)

    def files(self, name: str, number: str) -> set[str]:
        """The kinds of file that a worker keeps of a model."""
        return {path.suffix for path in self.state(name).glob(f"*{number}*")}

    def ended(self, name: str) -> None:
        """Wait for the end of a worker."""
        self._reap(name)

    def restart(self, *names: str) -> None:
        """Kill workers and start them again."""
        for name in names:
            self.signal(name, signal.SIGKILL)
        self.start(*names)
        self.wait_ready()

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        credentials = str(self.credentials.directory / name)
        options = ["--config", str(self.config), "--credentials", credentials]
        source = str(Path(__file__).resolve().parents[2] / "inst" / "python")
        environment = {name: value for name, value in os.environ.items() if name != "SYFR_HOME"}
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "syfr.player", *options, *(["--managed"] if self.managed else []), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment | {"PYTHONPATH": source, "R_USER_DATA_DIR": str(self.directory / "data")},
                start_new_session=True,
            )


class Managed(Manual):
    """Workers that a session has started: they keep nothing."""

    managed = True


def running(cluster: Manual) -> Iterator[Manual]:
    """The cluster, ready, and gone afterwards."""
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manual]:
    """Workers that keep their shares, for all tests of this file."""
    yield from running(Manual(tmp_path_factory.mktemp("manual")))


@pytest.fixture
def manual(workers: Manual) -> Manual:
    """The workers, those started again that a test has ended."""
    for name in SERVERS:
        if not workers.alive(name):
            workers.start(name)
    workers.wait_ready()
    return workers


def usable(cluster: Cluster, number: str, model: Model, name: str = "client") -> None:
    """A client gets a right answer, once the workers have compared their parts; no owner is connected."""
    stop = time.monotonic() + DEADLINE
    while True:
        with Client(cluster, name) as client:
            try:
                session = client.open(number, model)
            except WorkerError:
                if time.monotonic() > stop:
                    raise
                time.sleep(0.02)
                continue
            session.check(seed=5)
            return


# ---- the whole way, with processes ----


@pytest.mark.parametrize("names", [("server2",), SERVERS])
def test_a_model_is_served_after_a_restart_without_its_owner(manual: Manual, names: tuple[str, ...]) -> None:
    model = perceptron()
    with manual.owner() as owner:
        number = owner.shared(model)
    usable(manual, number, model)
    manual.restart(*names)
    usable(manual, number, model)
    assert f"took up its share of the model 'model' ({number})" in manual.log(names[0])


def test_restarts_give_no_more_requests_than_were_left(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner, manual.client() as client:
        limited, closed, dropped = owner.shared(model, 3), owner.shared(model, 3), owner.shared(model)
        client.open(limited, model).check()
        owner.tell("pause", model=closed)
        owner.tell("drop", model=dropped)
    manual.restart(*SERVERS)
    usable(manual, limited, model)
    manual.restart("server1")
    usable(manual, limited, model)
    wait_agreed(manual, closed)
    with manual.owner() as owner, manual.client() as client:
        assert [(seen["serving"], seen["served"]) for seen in owner.counters(limited)] == [(False, 3)] * 3
        for number in (limited, closed):
            with pytest.raises(NotServedError):
                client.open(number, model).check()
        with pytest.raises(NotSharedError):
            client.open(dropped, model)
        owner.serve(limited, 1)
        client.open(limited, model).check()


def wait_agreed(cluster: Cluster, number: str) -> None:
    """Wait until all workers have compared their parts of a model."""
    stop = time.monotonic() + DEADLINE
    with cluster.owner() as owner:
        while not all(seen["ready"] for seen in owner.counters(number)):
            if time.monotonic() > stop:
                raise AssertionError("The workers did not compare their parts.")
            time.sleep(0.02)


def test_a_query_that_ran_when_a_worker_was_killed_counts_as_asked(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner, manual.client() as client:
        number = owner.shared(model, 1)
        session = client.open(number, model)
        manual.processes["server1"].send_signal(signal.SIGSTOP)
        session.send(model.input(1))
        stop = time.monotonic() + DEADLINE
        with manual.dial("server0", "owner") as server0:
            while sum(seen["running"] for seen in server0.call("status")["models"]) == 0:
                assert time.monotonic() < stop
                time.sleep(0.02)
        manual.signal("server0", signal.SIGKILL)
        manual.processes["server1"].send_signal(signal.SIGCONT)
    manual.start("server0")
    manual.wait_ready()
    wait_agreed(manual, number)
    with manual.client() as client, pytest.raises(NotServedError):
        client.open(number, model).check()


def test_files_are_private_and_hold_nothing_in_clear(manual: Manual) -> None:
    model, number = dense(40, 30), secrets.token_hex(16)
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    fields, arrays = share_messages(model, shares, number, "the name of the model")
    with manual.owner() as owner:
        owner.ask_all("share", fields, arrays)
        owner.serve(number, 5)
    weights = model.program.precision.encode(model.kernels[0])
    for name in SERVERS:
        directory = manual.state(name)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        files = list(directory.iterdir())
        assert {"state.key", f"{number}.share", f"{number}.serving"} <= {path.name for path in files}
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
        content = b"".join(path.read_bytes() for path in files)
        parts = [b"the name", b"dense", b"program", *shares[SERVERS.index(name)].seeds, *pieces(weights)]
        for array in arrays[name]:
            parts += pieces(array)
        assert not [part for part in parts if part in content]


def pieces(array: np.ndarray) -> list[bytes]:
    """Sixteen bytes from places all over an array."""
    data = np.ascontiguousarray(array).tobytes()
    return [data[start : start + 16] for start in range(0, len(data) - 16, 97)]


def test_dropping_deletes_at_all_workers(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner:
        first, second = owner.shared(model), owner.shared(model, 4)
        assert all(manual.files(name, first) == {".share", ".serving"} for name in SERVERS)
        owner.tell("drop", model=first)
        assert all(manual.files(name, first) == set() for name in SERVERS)
        assert all(manual.files(name, second) == {".share", ".serving"} for name in SERVERS)


def test_a_query_that_ends_after_its_model_brings_no_file_back(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner, manual.client() as client:
        number = owner.shared(model, 4)
        session = client.open(number, model)
        client.wires["server0"].send(session.frame(model.input(1), 0))
        while owner.counters(number)[0]["running"] == 0:
            time.sleep(0.02)
        owner.tell("drop", model=number)
        assert not any(manual.files(name, number) for name in SERVERS)


def test_a_shutdown_by_the_owner_deletes_and_a_signal_does_not(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner:
        number = owner.shared(model)
    manual.processes["server1"].terminate()
    manual.ended("server1")
    assert manual.files("server1", number) == {".share", ".serving"}
    with manual.dial("server0", "owner") as server0:
        server0.call("shutdown")
    manual.ended("server0")
    assert [path.name for path in manual.state("server0").iterdir()] == ["state.key"]


def test_a_worker_that_a_session_has_started_keeps_nothing(tmp_path: Path) -> None:
    for cluster in running(Managed(tmp_path)):
        model = perceptron()
        with cluster.owner() as owner, cluster.client() as client:
            client.open(owner.shared(model, 2), model).check()
        assert not any(cluster.state(name).exists() for name in SERVERS)


def test_a_damaged_file_is_logged_left_alone_and_not_used(manual: Manual) -> None:
    model = perceptron()
    with manual.owner() as owner:
        number, other = owner.shared(model), owner.shared(model)
    path = manual.state("server0") / f"{number}.share"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    manual.restart("server0")
    assert f"leaves {path} alone: it is damaged" in manual.log("server0")
    assert path.read_bytes() == damaged
    with manual.client() as client, pytest.raises(NotSharedError):
        client.open(number, model)
    usable(manual, other, model)


def test_parts_that_no_longer_match_are_not_used(manual: Manual, tmp_path: Path) -> None:
    """The owner's files of another share come back at one worker: the peers see it and nothing is computed."""
    model = perceptron()
    with manual.owner() as owner:
        number = owner.shared(model)
        old = tmp_path / "old"
        shutil.copytree(manual.state("server0"), old)
        owner.tell("drop", model=number)
        shares = sharing.share_weights(model.program, model.kernels, model.biases)
        owner.ask_all("share", *share_messages(model, shares, number))
        owner.serve(number)
    manual.signal("server0", signal.SIGKILL)
    shutil.copy(old / f"{number}.share", manual.state("server0"))
    manual.start("server0")
    manual.wait_ready()
    stop = time.monotonic() + DEADLINE
    while "has another part of the model" not in manual.log("server1"):
        assert time.monotonic() < stop
        time.sleep(0.02)
    with manual.client() as client, pytest.raises(WorkerError, match="has not found yet"):
        client.open(number, model)


def test_a_full_disk_is_an_error_for_the_owner_and_nothing_is_half_kept(manual: Manual) -> None:
    """A directory in the place of a file stands for the disk: it refuses the share."""
    model, number = perceptron(), secrets.token_hex(16)
    obstacle = manual.state("server1") / f".{number}.share.new"
    obstacle.mkdir(mode=0o700, parents=True)
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    fields, arrays = share_messages(model, shares, number)
    with manual.owner() as owner:
        numbers = {name: wire.ask("share", arrays[name], **fields[name]) for name, wire in owner.wires.items()}
        with pytest.raises(WorkerError, match=r"cannot be kept in .*--state-dir"):
            owner.wires["server1"].reply(numbers["server1"])
        for name in ("server0", "server2"):
            with pytest.raises(ProtocolError, match="server1 could not keep its part"):
                owner.wires[name].reply(numbers[name])
        obstacle.rmdir()
        assert not any(manual.files(name, number) for name in SERVERS)
        owner.ask_all("share", fields, arrays)
        owner.serve(number)
    usable(manual, number, model)


# ---- the files ----


def kept(directory: Path, role: str = "server0", cluster: str = "1" * 32) -> StateDirectory:
    """A state directory."""
    return StateDirectory(directory, role, cluster)


def share() -> Frame:
    """What an owner might have sent."""
    return Frame("share", {"model": NUMBER, "seeds": [bytes(16)]}, [np.arange(6, dtype=np.uint64).reshape(2, 3)])


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 100])
def test_sealing_is_undone_whatever_the_size(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(state, "CHUNK", 16)
    plain = bytes(range(size))
    assert unseal(SECRET, b"about", seal(SECRET, b"about", plain)) == plain
    assert seal(SECRET, b"about", plain) != seal(SECRET, b"about", plain)


def test_any_change_of_a_sealed_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "CHUNK", 16)
    sealed = seal(SECRET, b"about", bytes(40))
    head = len(state.FORMAT) + state.SALT_BYTES
    chunks = [sealed[head : head + 32], sealed[head + 32 : head + 64], sealed[head + 64 :]]
    changed = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    changed += [sealed[:length] for length in range(len(sealed))]
    changed += [sealed[:head] + b"".join(chunks[i] for i in order) for order in [(1, 0, 2), (0, 2), (0, 1), (2,)]]
    changed += [sealed + b"\0", sealed + chunks[2]]
    for wrong in changed:
        with pytest.raises(ProtocolError):
            unseal(SECRET, b"about", wrong)
    for secret, about in ((bytes(32), b"about"), (SECRET, b"other")):
        with pytest.raises(ProtocolError):
            unseal(secret, about, sealed)


def test_files_are_read_by_their_worker_cluster_and_number_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path).keep_share(NUMBER, share())
    kept(tmp_path).keep_serving(NUMBER, {"used": 3})
    ((number, frame, counters),) = kept(tmp_path).load()
    assert (number, frame.meta, counters) == (NUMBER, share().meta, {"used": 3})
    np.testing.assert_array_equal(frame.arrays[0], share().arrays[0])
    assert list(kept(tmp_path, role="server1").load()) == []
    assert list(kept(tmp_path, cluster="2" * 32).load()) == []
    (tmp_path / f"{NUMBER}.share").rename(tmp_path / f"{'f' * 32}.share")
    assert list(kept(tmp_path).load()) == []
    assert caplog.text.count("alone: it is damaged, or of another key, worker, cluster or model") == 3
    shutil.copy(tmp_path / f"{NUMBER}.serving", tmp_path / f"{NUMBER}.share")
    assert list(kept(tmp_path).load()) == []


def test_counters_are_the_last_that_were_kept_also_when_these_are_shorter(tmp_path: Path) -> None:
    made = kept(tmp_path)
    made.keep_share(NUMBER, share())
    for rows in ({}, {"a": 1, "a client": 2}, {"a": 3}, {}):
        made.keep_serving(NUMBER, {"rows": rows})
        ((_, _, counters),) = kept(tmp_path).load()
        assert counters == {"rows": rows}


def test_counters_that_are_damaged_are_left_alone_and_the_share_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = kept(tmp_path)
    made.keep_share(NUMBER, share())
    made.keep_serving(NUMBER, {"used": 1})
    path = tmp_path / f"{NUMBER}.serving"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", bytes(4), b"\xff" * len(whole)):
        path.write_bytes(damaged)
        ((_, frame, counters),) = kept(tmp_path).load()
        assert (frame.meta, counters) == (share().meta, None)
    assert caplog.text.count(f"leaves {path} alone") == 5


def test_without_its_key_a_file_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept(tmp_path).keep_share(NUMBER, share())
    (tmp_path / "state.key").unlink()
    assert list(kept(tmp_path).load()) == []
    assert "its key state.key is gone" in caplog.text
    assert (tmp_path / f"{NUMBER}.share").exists()


def test_a_key_that_others_may_read_or_that_is_cut_is_refused(tmp_path: Path) -> None:
    made = kept(tmp_path)
    made.keep_share(NUMBER, share())
    secret = (tmp_path / "state.key").read_bytes()
    assert secret.hex() not in repr(made)
    (tmp_path / "state.key").chmod(0o644)
    with pytest.raises(CredentialsError, match="chmod 600"):
        kept(tmp_path)
    (tmp_path / "state.key").chmod(0o600)
    (tmp_path / "state.key").write_bytes(secret[:-1])
    with pytest.raises(CredentialsError, match="is not a key"):
        kept(tmp_path)


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept(tmp_path)
    made.keep_serving(NUMBER, {"used": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkerError, match="No space left on device"):
        made.keep_share(NUMBER, share())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_kill_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    made = kept(tmp_path)
    made.keep_share(NUMBER, share())
    (tmp_path / f".{NUMBER}.share.new").write_bytes(b"half")
    assert len(list(made.load())) == 1
    assert not (tmp_path / f".{NUMBER}.share.new").exists()


def test_no_error_of_the_player_tells_the_key(tmp_path: Path) -> None:
    cluster = Manual(tmp_path)
    directory = cluster.state("server0")
    directory.mkdir(mode=0o700, parents=True)
    (directory / "state.key").write_bytes(b"secret" * 5)
    (directory / "state.key").chmod(0o600)
    process = cluster._launch("server0")
    said, _ = process.communicate(timeout=DEADLINE)
    cluster.stop()
    assert json.loads(said)["error"] == "credentials"
    assert b"secret" not in said


def test_a_worker_that_cannot_listen_or_keep_anything_says_so_at_its_start(tmp_path: Path) -> None:
    credentials = create_credentials(tmp_path / "cluster", HOSTS).directory / "server0"
    for host, listen, kept_in, message in (
        ("nowhere.invalid:4000", None, "state", "host of nowhere.invalid:4000 is not known.* Correct the address"),
        ("localhost:4000", "x", "state", "'x' has no port.* Write it like 'x:4000'"),
        ("localhost:4000", None, "/proc/syfr/state", "cannot be kept in /proc/syfr/state.* another `state_dir`"),
    ):
        addresses = dict.fromkeys(ROLES, host)
        with pytest.raises(SyfrError, match=message):
            load_worker(Role.SERVER0, addresses, credentials, False, tmp_path / kept_in, listen)
