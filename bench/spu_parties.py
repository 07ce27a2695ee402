"""SecretFlow SPU on the models of this benchmark: three party processes on loopback, and a client that times them.

Runs in an environment of its own (peers.py makes it), which has spu and not syfr:
`python spu_parties.py WEIGHTS.npz MODEL ROWS RUNS` prints one line of JSON. The weights and the input are secret to all
three parties. No TLS; the protocol is ABY3 on 64 bits, with the cheaper of its truncations.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np
import spu
from numpy.typing import NDArray
from spu import libspu
from spu.utils import frontend

PARTIES = 3
FRACTION_BITS = 14
Arrays = dict[str, NDArray[np.float32]]


def network(x: Any, weights: dict[str, Any], convolutions: int) -> Any:
    """Convolutions of stride 2 with pooling fused in and ReLU, then dense layers with ReLU but for the last."""
    layers = len(weights) // 2
    for layer in range(layers):
        kernel, bias = weights[f"kernel{layer}"], weights[f"bias{layer}"]
        product = convolution(x, kernel) if layer < convolutions else x.reshape(x.shape[0], -1) @ kernel
        x = product + bias
        if layer < layers - 1:
            x = jax.numpy.maximum(x, 0)
    return x


def convolution(x: Any, kernel: Any) -> Any:
    """Of stride 2, as one matrix product of windows: SPU takes several times longer for its own convolution."""
    height, width, channels, depth = kernel.shape
    down, across = ((size - span) // 2 + 1 for size, span in zip(x.shape[1:3], (height, width), strict=True))
    rows = x.shape[0]
    # lax.slice, since an index becomes a gather, which SPU does value by value.
    parts = [
        jax.lax.slice(x, (0, i, j, 0), (rows, i + 2 * down - 1, j + 2 * across - 1, channels), (1, 2, 2, 1))
        for i in range(height)
        for j in range(width)
    ]
    windows = jax.numpy.concatenate(parts, axis=-1).reshape(-1, height * width * channels)
    return (windows @ kernel.reshape(-1, depth)).reshape(rows, down, across, depth)


def config(profile: bool = False) -> Any:
    """ABY3 with what makes it faster."""
    made = libspu.RuntimeConfig(
        protocol=libspu.ProtocolKind.ABY3, field=libspu.FieldType.FM64, fxp_fraction_bits=FRACTION_BITS
    )
    made.trunc_allow_msb_error = True
    made.experimental_disable_mmul_split = True
    made.enable_pphlo_profile = profile
    return made


def compiled(weights: Arrays, x: NDArray[np.float32], convolutions: int) -> Any:
    """The program of SPU."""
    names = ["x", *weights]

    def flat(image: Any, *values: Any) -> Any:
        return network(image, dict(zip(weights, values, strict=True)), convolutions)

    executable, _ = frontend.compile(
        frontend.Kind.JAX,
        flat,
        [x, *weights.values()],
        {},
        names,
        [libspu.Visibility.VIS_SECRET] * len(names),
        lambda outputs: [f"out{place}" for place in range(len(outputs))],
    )
    return executable


# ---- a party ----


def party(rank: int, addresses: list[str], code: bytes, pipe: Connection) -> None:
    """Runs the program whenever shares of an input arrive."""
    description = libspu.link.Desc()
    for number, address in enumerate(addresses):
        description.add_party(f"party{number}", address)
    link = libspu.link.create_brpc(description, rank)
    executable = libspu.Executable()
    executable.ParseFromString(code)
    quiet, talking = spu.Runtime(link, config()), None
    shares: list[tuple[str, Any]] = []
    while (said := pipe.recv()) is not None:
        kind, name, parts = said
        if kind == "weight":
            shares.append((name, unpacked(parts)))
            quiet.set_var(*shares[-1])
            pipe.send(True)
            continue
        runtime = quiet
        if kind == "profile":
            runtime = talking = talking or spu.Runtime(link, config(profile=rank == 0))
            for share in shares:
                talking.set_var(*share)
        runtime.set_var(name, unpacked(parts))
        runtime.run(executable)
        pipe.send(packed(runtime.get_var("out0")))


def packed(share: Any) -> tuple[bytes, list[bytes]]:
    """A share as bytes."""
    return share.meta, list(share.share_chunks)


def unpacked(parts: tuple[bytes, list[bytes]]) -> Any:
    """And back."""
    share = libspu.Share()
    share.meta, share.share_chunks = parts
    return share


# ---- the client ----


class Parties:
    """Three processes with the weights, and the pipes to them."""

    def __init__(self, weights: Arrays, x: NDArray[np.float32], convolutions: int) -> None:
        code = compiled(weights, x, convolutions).SerializeToString()
        self._io = spu.Io(PARTIES, config())
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(PARTIES)]
        addresses = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
        for sock in sockets:
            sock.close()
        context = multiprocessing.get_context("spawn")
        ends = [context.Pipe() for _ in range(PARTIES)]
        self._pipes = [near for near, _ in ends]
        self._processes = [
            context.Process(target=party, args=(rank, addresses, code, far), daemon=True)
            for rank, (_, far) in enumerate(ends)
        ]
        for process in self._processes:
            process.start()
        for name, value in weights.items():
            self._all("weight", name, value)

    def _all(self, kind: str, name: str, value: NDArray[np.float32]) -> list[Any]:
        shares = self._io.make_shares(value, libspu.Visibility.VIS_SECRET)
        for pipe, share in zip(self._pipes, shares, strict=True):
            pipe.send((kind, name, packed(share)))
        return [pipe.recv() for pipe in self._pipes]

    def query(self, x: NDArray[np.float32], kind: str = "query") -> NDArray[np.float32]:
        """One query, from the input to the decoded answer."""
        found: NDArray[np.float32] = self._io.reconstruct([unpacked(parts) for parts in self._all(kind, "x", x)])
        return found

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()


def main(words: list[str]) -> None:
    """Time it."""
    path, model, rows, runs = words
    with np.load(path) as stored:
        prefix = f"{model}/"
        found = {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}
    x = np.ascontiguousarray(found.pop("x")[: int(rows)], np.float32)
    expected, convolutions = found.pop("expected")[: int(rows)], int(found.pop("convolutions"))
    parties = Parties({name: value.astype(np.float32) for name, value in found.items()}, x, convolutions)
    try:
        error = float(np.abs(parties.query(x) - expected).max())
        parties.query(x)
        seconds = []
        for _ in range(int(runs)):
            began = time.perf_counter()
            parties.query(x)
            seconds.append(time.perf_counter() - began)
        parties.query(x, "profile")  # party 0 writes its bytes and sends among the log lines
    finally:
        parties.close()
    print(json.dumps({"seconds": seconds, "error": error, "version": spu.__version__}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
