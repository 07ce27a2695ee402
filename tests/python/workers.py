"""Three real workers on free ports, and an owner and clients that speak the control protocol; for the tests.

Everything blocks with a deadline. The drivers do what they are told, also what an honest party would not do.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from syfr.errors import DeadlineError, SyfrError, error_classes
from syfr.hosts import join_address
from syfr.link import Connection, Frame, Limits
from syfr.program import Program
from syfr.protocol import output, sharing
from syfr.ring.packing import pack_elements
from syfr.steps import Geometry, Linear, Reshape, Step
from syfr.trust.credentials import Bundle, create_credentials

SERVERS = ("server0", "server1", "server2")
DEADLINE = 30.0
LIMITS = Limits(header=1 << 22)

Array = NDArray[Any]


# ---- models ----


@dataclass
class Model:
    """A Program with weights in clear, and its plaintext twin."""

    program: Program
    kernels: dict[int, NDArray[np.float64]]
    biases: dict[int, NDArray[np.float64]]

    def input(self, rows: int, seed: int = 0) -> NDArray[np.float64]:
        """Values in the declared range."""
        return np.random.default_rng(seed).random((rows, *self.program.input_shape))

    def plain(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The network in clear."""
        values = [x]
        for number, step in enumerate(self.program.steps):
            value = values[step.source]
            if isinstance(step, Reshape):
                values.append(value.reshape(len(x), *step.output_shape))
                continue
            value = _product(step, value, self.kernels[number]) + self.biases[number]
            values.append(np.maximum(value, 0) if step.then == "relu" else value)
        return values[-1]


def _product(step: Linear, x: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    if step.geometry is None:
        return x @ kernel
    down, across = step.geometry.strides
    windows: Any = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # type: ignore[call-overload]
    product: NDArray[np.float64] = np.einsum("nhwcij,ijco->nhwo", windows[:, ::down, ::across], kernel)
    return product


def model_of(input_shape: tuple[int, ...], steps: Sequence[Step], seed: int = 0, rows: int | None = None) -> Model:
    """Steps with random weights."""
    program = Program(input_shape, tuple(steps), rows=rows)
    program.check()
    random = np.random.default_rng(seed)
    linear = program.linear_steps()
    kernels = {n: random.normal(size=s.kernel) / np.sqrt(np.prod(s.kernel[:-1])) for n, s in linear}
    return Model(program, kernels, {n: random.normal(size=s.kernel[-1]) * 0.1 for n, s in linear})


def dense(inputs: int = 6, outputs: int = 3, seed: int = 0, rows: int | None = None) -> Model:
    """One layer, the output: the dealer has no part in a query but to count it."""
    return model_of((inputs,), [Linear("dense", 0, (inputs, outputs), (inputs,), (outputs,), "output")], seed, rows)


def perceptron(seed: int = 1) -> Model:
    """A dense layer with ReLU and the output: four delays, small messages."""
    steps = [
        Linear("hidden", 0, (12, 20), (12,), (20,), "relu"),
        Linear("logits", 1, (20, 4), (20,), (4,), "output"),
    ]
    return model_of((12,), steps, seed)


def truncated(seed: int = 2) -> Model:
    """A layer that nothing follows but a truncation, beside one with ReLU."""
    steps = [
        Linear("bare", 0, (8, 10), (8,), (10,), "truncate"),
        Linear("hidden", 1, (10, 7), (10,), (7,), "relu"),
        Linear("logits", 2, (7, 4), (7,), (4,), "output"),
    ]
    return model_of((8,), steps, seed)


def digits(seed: int = 3) -> Model:
    """Three convolutions with 16, 32 and 64 filters, pooling folded in, and a dense layer, for 28 x 28 images."""
    place = Geometry(strides=(2, 2))
    steps: list[Step] = [
        Linear("conv1", 0, (4, 4, 1, 16), (28, 28, 1), (13, 13, 16), "relu", place),
        Linear("conv2", 1, (4, 4, 16, 32), (13, 13, 16), (5, 5, 32), "relu", place),
        Linear("conv3", 2, (4, 4, 32, 64), (5, 5, 32), (1, 1, 64), "relu", place),
        Reshape("flatten", 3, (1, 1, 64), (64,)),
        Linear("dense", 4, (64, 10), (64,), (10,), "output"),
    ]
    return model_of((28, 28, 1), steps, seed)


# ---- the workers ----


@dataclass
class Reserved:
    """An address of loopback that no other test is given; a worker, which asks to reuse addresses, can listen there."""

    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.host, 0))
        self.address = join_address(self.host, self._socket.getsockname()[1])

    def close(self) -> None:
        """Give it up."""
        self._socket.close()


@dataclass
class Cluster:
    """Three worker processes of a throw-away cluster. ``patches`` is Python that a worker runs before it starts."""

    directory: Path
    patches: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    reserved: list[Reserved] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hosts = self.reserve()
        self.credentials = create_credentials(self.directory / "credentials", self.hosts, ["client", "mallory"])
        self.config = self.directory / "cluster.json"
        self.config.write_text(json.dumps(self.hosts))

    def reserve(self, host: str = "127.0.0.1") -> dict[str, str]:
        """Addresses by worker, kept from others until the cluster stops."""
        fresh = [Reserved(host) for _ in SERVERS]
        self.reserved += fresh
        return {name: reserved.address for name, reserved in zip(SERVERS, fresh, strict=True)}

    def bundle(self, name: str) -> Bundle:
        """The credentials of a party."""
        return self.credentials.bundle(name)

    def start(self, *names: str) -> None:
        """Start workers and wait until they listen."""
        for name in names or SERVERS:
            self.processes[name] = self._launch(name)
        for name in names or SERVERS:
            said = _line(self.processes[name])
            if not said.get("ready"):
                raise AssertionError(f"{name} did not start: {said} {self.log(name)}")

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        credentials = str(self.credentials.directory / name)
        arguments = ["--config", str(self.config), "--credentials", credentials, "--managed", name]
        patch = self.patches.get(name, self.patches.get("all", ""))
        command = f"import sys\nfrom syfr import player\n{patch}\nsys.exit(player.main(sys.argv[1:]))"
        source = str(Path(__file__).resolve().parents[2] / "inst" / "python")
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": source},
                start_new_session=True,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one worker; a killed one is waited for."""
        self.processes[name].send_signal(number)
        if number is signal.SIGKILL:
            self._reap(name)

    def _reap(self, name: str) -> None:
        process = self.processes.pop(name)
        process.wait(DEADLINE)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def alive(self, name: str) -> bool:
        """Whether the worker's process runs."""
        return name in self.processes and self.processes[name].poll() is None

    def log(self, name: str) -> str:
        """What a worker wrote to standard error."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Kill all workers."""
        for name in list(self.processes):
            self.processes[name].kill()
            self._reap(name)
        for reserved in self.reserved:
            reserved.close()

    def owner(self) -> Owner:
        """The owner, connected."""
        return Owner(self)

    def client(self, name: str = "client") -> Client:
        """A client, connected."""
        return Client(self, name)

    def dial(self, name: str, as_whom: str) -> Wire:
        """One connection to one worker."""
        return Wire(self.hosts[name], self.bundle(as_whom))

    def wait_ready(self) -> None:
        """Wait until all links between the workers are up."""
        stop = time.monotonic() + DEADLINE
        with self.owner() as owner:
            while not all(wire.call("hello")["ready"] for wire in owner.wires.values()):
                if time.monotonic() > stop:
                    raise AssertionError("The workers did not find each other.")
                time.sleep(0.01)


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait until it holds, with a deadline."""
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it does not come true"
        time.sleep(0.02)


def changed(frame: Frame, by: int = 1) -> Frame:
    """The same query with another masked input."""
    masked = np.asarray(frame.arrays[0]).copy()
    masked[0, 0] += by
    return Frame(frame.kind, frame.meta, [masked])


def _line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    if process.stdout is None or not select.select([process.stdout], [], [], 300)[0]:
        raise AssertionError("A worker said nothing.")
    said = process.stdout.readline()
    return dict(json.loads(said)) if said else {}


@contextlib.contextmanager
def cluster_of(directory: Path, **patches: str) -> Iterator[Cluster]:
    """Workers that are ready, and gone afterwards. ``patches`` go by worker, or ``all``."""
    cluster = Cluster(directory, patches)
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()


# ---- one connection ----


class Wire:
    """A blocking connection to one worker.

    Args:
        bundle: credentials; its context is made here.
    """

    def __init__(self, address: str, bundle: Bundle, limits: Limits = LIMITS) -> None:
        host, port = address.rsplit(":", 1)
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=DEADLINE)
        self.connection = Connection(sock, bundle.client_context(), server_side=False)
        self.inbox: list[Frame] = []
        self._number = 0
        try:
            self._until(lambda: self.connection.handshake(limits), self._wait)
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def send(self, frame: Frame) -> None:
        """Send a frame whole."""
        self.connection.send(frame)
        self._until(lambda: not self.connection.wants_write, self._flush)

    def get(self, wanted: Callable[[Frame], bool] = lambda _: True, timeout: float = DEADLINE) -> Frame:
        """The first frame that is wanted; others stay in the inbox."""
        found: list[Frame] = []

        def look() -> bool:
            found.extend(frame for frame in self.inbox if wanted(frame))
            return bool(found)

        self._until(look, self._read, timeout)
        self.inbox.remove(found[0])
        return found[0]

    def ask(self, call: object, arrays: Sequence[Array] = (), **meta: object) -> int:
        """Send a request; its number."""
        self._number += 1
        self.send(Frame("request", {"id": self._number, "call": call, **meta}, arrays))
        return self._number

    def reply(self, number: int, timeout: float = DEADLINE) -> dict[str, Any]:
        """The fields of the reply; raises the error that it carries."""
        meta = self.get(lambda f: f.kind == "reply" and f.meta["id"] == number, timeout).meta
        if meta["ok"]:
            return dict(meta)
        raise error_classes()[meta["code"]](meta["message"])

    def call(self, call: object, arrays: Sequence[Array] = (), **meta: object) -> dict[str, Any]:
        """Request and reply."""
        return self.reply(self.ask(call, arrays, **meta))

    def ended(self, timeout: float = DEADLINE) -> bool:
        """Wait for the end of the connection; False when it is still there."""
        try:
            self.get(lambda _: False, timeout)
        except DeadlineError:
            return False
        except SyfrError:
            return True
        return False

    def _until(self, over: Callable[[], bool], wait: Callable[[float], None], timeout: float = DEADLINE) -> None:
        stop = time.monotonic() + timeout
        while not over():
            left = stop - time.monotonic()
            if left <= 0:
                raise DeadlineError("The worker did not answer the test in time.")
            wait(left)

    def _wait(self, seconds: float) -> None:
        writing = [self.connection] if self.connection.wants_write else []
        select.select([self.connection] if not writing else [], writing, [], seconds)

    def _flush(self, seconds: float) -> None:
        readable, _, _ = select.select([self.connection], [self.connection], [], seconds)
        if readable:  # a worker that refuses what comes tells so while it comes
            self.inbox += self.connection.read()
        self.connection.flush()

    def _read(self, seconds: float) -> None:
        if select.select([self.connection], [], [], seconds)[0]:
            self.inbox += self.connection.read()


class _Three:
    """Connections of one party to the three workers."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.wires: dict[str, Wire] = {}
        for server in SERVERS:
            self.wires[server] = cluster.dial(server, name)

    def close(self) -> None:
        """Close all."""
        for wire in self.wires.values():
            wire.close()

    def ask_all(
        self, call: str, meta: Mapping[str, Mapping[str, object]], arrays: Mapping[str, Sequence[Array]]
    ) -> None:
        """The same call at all three, each with its own fields; raises the first error once all have answered."""
        numbers = {n: w.ask(call, arrays.get(n, ()), **meta.get(n, {})) for n, w in self.wires.items()}
        errors = []
        for name, wire in self.wires.items():
            try:
                wire.reply(numbers[name])
            except SyfrError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def tell(self, call: str, **meta: object) -> None:
        """The same call with the same fields."""
        self.ask_all(call, dict.fromkeys(SERVERS, meta), {})


class Owner(_Three):
    """The owner of models."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, "owner")

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def share(self, model: Model, name: str = "model") -> str:
        """Share a model; its number."""
        number = secrets.token_hex(16)
        shares = sharing.share_weights(model.program, model.kernels, model.biases)
        fields, arrays = share_messages(model, shares, number, name)
        self.ask_all("share", fields, arrays)
        return number

    def serve(self, number: str, requests: int | None = None) -> None:
        """Open requests."""
        self.tell("serve", model=number, requests=requests)

    def shared(self, model: Model, requests: int | None = None) -> str:
        """Share and serve."""
        number = self.share(model)
        self.serve(number, requests)
        return number

    def counters(self, number: str) -> list[dict[str, Any]]:
        """What each worker says of one model."""
        replies = [wire.call("status") for wire in self.wires.values()]
        return [next(model for model in reply["models"] if model["model"] == number) for reply in replies]


def share_messages(
    model: Model, shares: Sequence[sharing.ModelShare], number: str, name: str = "model"
) -> tuple[dict[str, dict[str, object]], dict[str, list[Array]]]:
    """The fields and arrays of a share call, by worker."""
    fields: dict[str, dict[str, object]] = {}
    arrays: dict[str, list[Array]] = {}
    for server, share in zip(SERVERS, shares, strict=True):
        message = model.program.to_message()
        fields[server] = {"model": number, "name": name, "program": message, "seeds": list(share.seeds)}
        arrays[server] = [part for step in share.masked for part in (share.masked[step], share.biases[step])]
    return fields, arrays


class Client(_Three):
    """A client."""

    def __init__(self, cluster: Cluster, name: str = "client") -> None:
        super().__init__(cluster, name)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, number: str, model: Model, rows: int = 1) -> Session:
        """A session."""
        session = Session(self, number, model, rows)
        session.open()
        return session


@dataclass
class Session:
    """A client's session on all three workers."""

    client: Client
    model_number: str
    model: Model
    rows: int = 1
    number: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    seeds: tuple[bytes, bytes] = field(default_factory=sharing.fresh_seeds)
    next_row: int = 0

    def fields(self) -> dict[str, dict[str, object]]:
        """The fields of the open call, by worker."""
        common = {"session": self.number, "model": self.model_number, "rows": self.rows}
        seeds = ([self.seeds[0]], [self.seeds[1]], list(self.seeds))
        return {server: {**common, "seeds": given} for server, given in zip(SERVERS, seeds, strict=True)}

    def open(self) -> None:
        """Open it."""
        self.client.ask_all("open", self.fields(), {})

    def close(self) -> None:
        """Close it."""
        self.client.tell("close", session=self.number)

    def frame(self, x: NDArray[np.float64], start: int, changed: Mapping[str, object] | None = None) -> Frame:
        """The frame of a query, with other fields if so wished."""
        masked = sharing.mask_input(self.model.program.precision.encode(x), self.seeds, start)
        meta = {"session": self.number, "start": start, "rows": len(x), **(changed or {})}
        return Frame("query", meta, [pack_elements(masked).reshape(len(x), -1)])

    def send(self, x: NDArray[np.float64]) -> int:
        """Send the next query; its first row."""
        start, self.next_row = self.next_row, self.next_row + len(x)
        frame = self.frame(x, start)
        for server in SERVERS[:2]:
            self.client.wires[server].send(frame)
        return start

    def collect(self, start: int, timeout: float = DEADLINE) -> tuple[NDArray[np.float64], int]:
        """The answer and its logical time; raises what the workers say went wrong."""
        parts = [self.part(server, start, timeout) for server in SERVERS[:2]]
        clock = max(int(part.meta["clock"]) for part in parts)
        return output.combine(parts[0].arrays[0], parts[1].arrays[0], self.model.program), clock

    def part(self, server: str, start: int, timeout: float = DEADLINE) -> Frame:
        """One server's answer."""

        def ours(frame: Frame) -> bool:
            place = frame.meta if frame.kind in ("answer", "failed") else {}
            return place.get("session") == self.number and place.get("start") == start

        frame = self.client.wires[server].get(ours, timeout)
        if frame.kind == "failed":
            raise error_classes()[frame.meta["code"]](frame.meta["message"])
        return frame

    def query(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """Send and collect."""
        return self.collect(self.send(x))

    def check(self, rows: int = 1, seed: int = 0, tolerance: float = 0.01) -> int:
        """A query of random rows, held against the plaintext; its logical time."""
        x = self.model.input(rows, seed)
        answer, clock = self.query(x)
        np.testing.assert_allclose(answer, self.model.plain(x), atol=tolerance)
        return clock


def check_serving(cluster: Cluster) -> None:
    """The cluster serves an honest owner and client: what every attack must leave as it was."""
    assert all(cluster.alive(name) for name in SERVERS), [cluster.log(name)[-2000:] for name in SERVERS]
    model = perceptron()
    cluster.wait_ready()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model, 2)
        session = client.open(number, model)
        session.check(seed=1)
        session.check(seed=2)
        assert [counted["served"] for counted in owner.counters(number)] == [2, 2, 2]
        owner.tell("drop", model=number)
