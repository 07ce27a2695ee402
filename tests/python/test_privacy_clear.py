"""No worker ever receives a number in clear: input, weights and inner values are looked for in all that arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from harness import ONE, Model, dense, model
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from syfr.party.memory import MemoryCluster
from syfr.protocol import sharing
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.ring.fixedpoint import Precision
from syfr.ring.packing import unpack_elements
from syfr.ring.streams import KeyStream
from syfr.steps import Combine, Product, Ranks, Signs

Array = NDArray[Any]
PRECISION = Precision()


def integers(found: Model) -> Model:
    """The model with whole-number weights: no rounding happens, so all inner values are known exactly."""
    rng = np.random.default_rng(20)
    for number, step in found.program.linear_steps():
        found.kernels[number] = rng.integers(-3, 4, step.kernel).astype(np.float64)
        found.biases[number] = rng.integers(1, 9, step.kernel[-1:]).astype(np.float64)
    return found


def integer_layers() -> Model:
    """One layer after the other."""
    return integers(model((6,), [dense(0, 6, 12, "relu"), dense(1, 12, 9, "truncate"), dense(2, 9, 5, "output")]))


def integer_graph() -> Model:
    """Every step that has no weights, exact ones alone."""
    shape = (12,)
    steps = [
        dense(0, 6, 12, "relu"),
        dense(0, 6, 12, "truncate"),
        Signs("clip", 2, shape, (-5 * ONE, 6 * ONE), (1, -1)),
        Signs("bits", 2, shape, (0, ONE), (3 * ONE, 4 * ONE), bits=True),
        Ranks("ranks", 2, shape),
        Product("product", 1, 3, shape, "truncate"),
        Combine("sum", (4, 5, 6), shape, (1, 1, 2), ONE),
        Combine("halves", (7, 7), shape, (ONE, ONE), 0, 14, "truncate"),
        Signs("input", 0, (6,), (0,), (1,)),
        dense(8, 12, 5, "output"),
        dense(9, 6, 4, "output"),
    ]
    return integers(model((6,), steps))


INTEGER_MODELS = [integer_layers, integer_graph]

WINDOW = 3


def encodings(values: Array) -> Iterator[Array]:
    """Real numbers as a worker could hold them: at either scale, row by row."""
    for scale in (1, 2):
        yield PRECISION.encode(values, scale).reshape(-1)


def secrets_of(found: Model, x: Array) -> dict[str, list[Array]]:
    """Input, weights and inner values, encoded, by name."""
    inner = found.plain(x)
    weights = [*found.kernels.values(), *found.biases.values()]
    before_relu = inner[0] @ found.kernels[0] + found.biases[0]
    named = {"input": [x], "weights": weights, "inner": [*inner[1:], before_relu]}
    return {name: [array for values in many for array in encodings(values)] for name, many in named.items()}


def as_elements(array: Array) -> Iterator[tuple[Array, int]]:
    """An array's numbers in every way that ring elements are laid out, and how many of their bits count."""
    if array.dtype == np.uint64:
        yield array.reshape(-1), 64
        yield array.reshape(-1), 48
    elif array.dtype == np.uint32:
        yield array.reshape(-1).astype(np.uint64), PRECISION.truncated_bits
        yield array.reshape(-1).astype(np.uint64), 32
    elif array.size % 6 == 0:
        yield unpack_elements(array.reshape(-1), (array.size // 6,)), 48


def total(mine: Array, theirs: Array) -> Array:
    """What two swapped shares open to."""
    if mine.dtype == np.uint32:
        return mine + theirs
    (first, _), (second, _) = *as_elements(mine), *as_elements(theirs)
    return first + second


def found_in(received: list[Array], secrets: dict[str, list[Array]]) -> set[str]:
    """The names of the secrets of which three neighbouring numbers stand anywhere in what was received."""
    met = set()
    for array in received:
        for elements, bits in as_elements(array):
            keep = np.uint64((1 << bits) - 1)
            windows = {window.tobytes() for window in sliding_window_view(elements & keep, min(WINDOW, elements.size))}
            for name, many in secrets.items():
                for secret in many:
                    if secret.size >= WINDOW:
                        looked_for = sliding_window_view(secret & keep, WINDOW)
                        met |= {name for window in looked_for if window.any() and window.tobytes() in windows}
    return met


def everything_received(cluster: MemoryCluster, found: Model, x: Array) -> dict[Role, list[Array]]:
    """All arrays that each worker received or opened: its share, the masked input, dealt and online messages."""
    received: dict[Role, list[Array]] = {role: [] for role in SERVERS}
    received[Role.SERVER1] += cluster.prepare(x.shape[0])
    inputs: list[Array] = []

    def watch(role: Role, masked: Array) -> Array:
        received[role].append(masked)
        inputs.append(masked)
        return masked

    messages = cluster.query(x, watch).messages
    for sent in messages:
        received[sent.receiver] += sent.arrays
        for other in messages:
            swapped = (other.sender, other.receiver, other.tag) == (sent.receiver, sent.sender, sent.tag)
            if swapped and sent.tag[1] != "agree":
                received[sent.receiver].append(total(other.arrays[-1], sent.arrays[-1]))
    return received


def integer_inputs(found: Model) -> Array:
    """Whole numbers."""
    return np.random.default_rng(21).integers(-5, 6, (3, *found.program.input_shape)).astype(np.float64)


def found_by_worker(found: Model) -> dict[Role, set[str]]:
    """Share the model, run a query, and search what each worker received."""
    x = integer_inputs(found)
    shares = sharing.share_weights(found.program, found.kernels, found.biases)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "share_weights", lambda *_: shares)
        cluster = found.cluster()
    received = everything_received(cluster, found, x)
    for share in shares:
        received[share.role] += [*share.masked.values(), *share.biases.values()]
    secrets = secrets_of(found, x)
    return {role: found_in(arrays, secrets) for role, arrays in received.items()}


@pytest.mark.parametrize("made", INTEGER_MODELS)
def test_no_worker_receives_input_weights_or_inner_values(made: Callable[[], Model]) -> None:
    assert found_by_worker(made()) == {role: set() for role in SERVERS}


@pytest.mark.parametrize("made", INTEGER_MODELS)
@pytest.mark.parametrize(
    ("label", "name"), [("input", "input"), ("kernel", "weights"), ("mask", "inner"), ("R", "inner")]
)
def test_the_search_finds_what_is_not_masked(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[], Model], label: str, name: str
) -> None:
    def dropping(draw: Any) -> Any:
        return lambda self, which, *rest: draw(self, which, *rest) * np.uint32(which != label)

    for draw in ("elements", "integers"):
        monkeypatch.setattr(KeyStream, draw, dropping(getattr(KeyStream, draw)))
    found = found_by_worker(made())
    assert name in found[Role.SERVER0]
    assert name in found[Role.SERVER1]
    assert not found[DEALER]


def test_every_inner_value_is_looked_for_and_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    elements = KeyStream.elements
    monkeypatch.setattr(
        KeyStream, "elements", lambda self, label, shape: elements(self, label, shape) * np.uint64(label != "mask")
    )
    found = integer_graph()
    x = integer_inputs(found)
    received = everything_received(found.cluster(), found, x)[Role.SERVER0]
    inner = found.plain(x)
    for number in range(1, 10):
        if number != 7:  # a local sum: nobody sends it
            secrets = {"it": list(encodings(inner[number]))}
            assert found_in(received, secrets) == {"it"}, found.program.steps[number - 1].layer
