"""At full size: every message looks uniform, no stream is used twice, and no worker ever receives a number in clear."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from harness import Model, dense, model, small_models
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from syfr.party.memory import MemoryCluster, Sent
from syfr.party.streams import PURPOSES, PairKeys
from syfr.protocol import sharing
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.protocol.sharing import mask_input
from syfr.ring.fixedpoint import Precision
from syfr.ring.packing import unpack_digits, unpack_elements
from syfr.ring.streams import KeyStream
from views import looks_uniform

Array = NDArray[Any]
PRECISION = Precision()


def wide_model(zero: bool) -> Model:
    """A model with many values a layer; with ``zero`` all weights are zero, so that only the masks vary."""
    found = model((5,), [dense(0, 5, 2_000, "relu"), dense(1, 2_000, 600, "truncate"), dense(2, 600, 300, "output")])
    if zero:
        for weights in (found.kernels, found.biases):
            weights.update({number: 0.0 * values for number, values in weights.items()})
    return found


def assert_words_of_digits(words: Array) -> None:
    """Nine digits modulo 11, each uniform."""
    digits = unpack_digits(np.ascontiguousarray(words.reshape(1, 1, -1)), PRECISION.digits, PRECISION.modulus)[0, :, 0]
    assert int(words.max()) < PRECISION.modulus**PRECISION.digits
    assert all(looks_uniform(digit, PRECISION.modulus) for digit in digits)


def assert_bits(values: Array, bits: int) -> None:
    """Every four neighbouring bits uniform."""
    assert int(values.max()) < 1 << bits
    assert all(looks_uniform((values >> shift) & 15, 16) for shift in range(0, bits - 3, 4))


def assert_message_uniform(sent: Sent) -> None:
    """One message of the online phase."""
    values = sent.arrays[-1]
    if sent.tag[1] == "opened":
        assert_bits(values, PRECISION.truncated_bits)
    elif sent.tag[1] == "compare":
        assert_words_of_digits(values)
    elif sent.tag[1] == "answer":
        assert looks_uniform(np.unpackbits(values), 2)
        assert looks_uniform(values, 256)
    else:
        assert sent.tag[1] == "masked"
        assert all(looks_uniform(values.reshape(-1, 6)[:, place], 256) for place in range(6))


@pytest.mark.parametrize("zero", [True, False])
def test_every_message_looks_uniform(zero: bool) -> None:
    found = wide_model(zero)
    cluster = found.cluster()
    x = found.inputs(12) * (not zero)
    dealt = cluster.prepare(12)
    for array in dealt:
        if array.dtype == np.uint32:
            assert_words_of_digits(array)
        else:
            assert all(looks_uniform(array.reshape(-1, 6)[:, place], 256) for place in range(6))
    messages = cluster.query(x).messages
    assert len(messages) == 8 + 4
    for sent in messages:
        assert_message_uniform(sent)


def test_masked_inputs_and_shared_weights_look_uniform() -> None:
    masked = mask_input(np.zeros((100, 784), np.uint64), sharing.fresh_seeds(), 5)
    assert looks_uniform(masked.view(np.uint8), 256)
    found = wide_model(zero=True)
    for share in sharing.share_weights(found.program, found.kernels, found.biases):
        for array in share.masked.values():
            assert looks_uniform(array.view(np.uint8), 256)
        for bias in share.biases.values():
            assert looks_uniform(bias.view(np.uint8) >> 4, 16)


@pytest.fixture
def constructed(monkeypatch: pytest.MonkeyPatch) -> list[KeyStream]:
    """Every KeyStream made while the test runs, with what it was made from and its first label."""
    found: list[KeyStream] = []
    begin = KeyStream.__init__

    def noted(self: Any, key: bytes, nonce: bytes = bytes(8), start: int = 0) -> None:
        begin(self, key, nonce, start)
        self.made_from = key, nonce, start
        self.label = ""
        found.append(self)

    def labelled(draw: Any) -> Any:
        def note(self: Any, label: str, *rest: Any, **more: Any) -> Any:
            self.label = self.label or label
            return draw(self, label, *rest, **more)

        return note

    monkeypatch.setattr(KeyStream, "__init__", noted)
    for name in ("elements", "integers", "below"):
        monkeypatch.setattr(KeyStream, name, labelled(getattr(KeyStream, name)))
    return found


ENDS = {"kernel": 3, "bias": 1, "input": 2, "tau": 1} | dict.fromkeys(
    ("c0", "mask", "R", "flip", "zero", "thresholds", "pads"), 2
)
"""How often a stream is expanded, by what is drawn from it first: once its owner's, twice a pair's, and a seed's also
by who gave it. The cluster in memory expands the mask of an input once for a server and the dealer."""


def assert_no_stream_serves_twice(constructed: list[KeyStream]) -> None:
    """Each stretch of each stream belongs to one use, and all who know it use it alike."""
    uses: dict[Any, list[Any]] = defaultdict(list)
    for stream in constructed:
        if stream.bytes_used:
            uses[stream.made_from].append((stream.label, stream.bytes_used))  # type: ignore[attr-defined]
    for (_, _, start), ends in uses.items():
        (label, _), *others = ends
        assert len(ends) == ENDS[label], label
        assert all(end == ends[0] for end in others), "one end drew more than the other"
        assert start == 0 or label == "input"
    stretches = defaultdict(list)
    for (key, nonce, start), ends in uses.items():
        stretches[key, nonce].append((16 * start, 16 * start + ends[0][1]))
    for ranges in stretches.values():
        ranges.sort()
        assert all(stop <= start for (_, stop), (start, _) in pairwise(ranges))


def test_no_stream_serves_twice_in_many_queries(constructed: list[KeyStream]) -> None:
    for found in small_models().values():
        cluster = found.cluster()
        cluster.prepare(2)
        cluster.prepare(3)
        for rows in (2, 3, 1, 1, 4):
            cluster.query(found.inputs(rows))
    # Two sessions of two clients, and the model shared again, on the same links.
    first = small_models()["mixed"].cluster()
    second = small_models()["mixed"].cluster()
    pairs = {frozenset(pair): bytes([sum(pair)]) * 16 for pair in ((0, 1), (0, 2), (1, 2))}
    for cluster, session in ((first, b"A" * 16), (second, b"B" * 16)):
        for role in SERVERS:
            keys = {peer: pairs[frozenset((int(role), int(peer)))] for peer in role.peers}
            cluster.keys[role] = PairKeys(keys, session)
        for rows in (1, 2):
            cluster.query(small_models()["mixed"].inputs(rows))
    assert len(constructed) > 500
    assert_no_stream_serves_twice(constructed)


def test_a_block_that_is_made_twice_is_noticed(constructed: list[KeyStream]) -> None:
    found = small_models()["relu"]
    cluster = found.cluster()
    cluster.query(found.inputs(1))
    cluster._blocks = 0
    cluster.query(found.inputs(1))
    with pytest.raises(AssertionError):
        assert_no_stream_serves_twice(constructed)


def test_names_of_streams_do_not_collide(constructed: list[KeyStream]) -> None:
    keys = PairKeys({Role.SERVER1: b"1" * 16, DEALER: b"2" * 16}, b"session")
    for block in (0, 1, 255, 256, 65_536, 2**32 - 1):
        for number in (0, 1, 255, 256, 1_999):
            for purpose in PURPOSES:
                for peer in (Role.SERVER1, DEALER):
                    keys.block(block).common(peer, number, purpose)
    made = [stream.made_from for stream in constructed]  # type: ignore[attr-defined]
    assert len(set(made)) == len(made) == 6 * 5 * len(PURPOSES) * 2
    with pytest.raises(OverflowError):
        keys.block(2**32).common(DEALER, 0, "mask")


def test_online_no_worker_draws_anything(constructed: list[KeyStream]) -> None:
    # All randomness is preprocessing: during a query only the client expands its two seeds, and nothing is dealt.
    found = small_models()["mixed"]
    cluster = found.cluster()
    for rows in (1, 2):
        cluster.prepare(rows)
    constructed.clear()
    for rows in (1, 2):
        messages = cluster.query(found.inputs(rows)).messages
        assert {sent.tag[1] for sent in messages if sent.sender == DEALER} == {"answer"}
    assert [stream.label for stream in constructed] == ["input"] * 4  # type: ignore[attr-defined]


# ---- nothing in clear ----


def integer_model() -> Model:
    """Whole-number weights: no rounding happens, so all inner values are known exactly."""
    found = model((6,), [dense(0, 6, 12, "relu"), dense(1, 12, 9, "truncate"), dense(2, 9, 5, "output")])
    rng = np.random.default_rng(20)
    for number, step in found.program.linear_steps():
        found.kernels[number] = rng.integers(-3, 4, step.kernel).astype(np.float64)
        found.biases[number] = rng.integers(1, 9, step.kernel[-1:]).astype(np.float64)
    return found


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
            if (other.sender, other.receiver, other.tag) == (sent.receiver, sent.sender, sent.tag):
                received[sent.receiver].append(total(other.arrays[-1], sent.arrays[-1]))
    return received


def found_by_worker(found: Model) -> dict[Role, set[str]]:
    """Share the model, run a query, and search what each worker received."""
    x = np.random.default_rng(21).integers(-5, 6, (3, *found.program.input_shape)).astype(np.float64)
    shares = sharing.share_weights(found.program, found.kernels, found.biases)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "share_weights", lambda *_: shares)
        cluster = found.cluster()
    received = everything_received(cluster, found, x)
    for share in shares:
        received[share.role] += [*share.masked.values(), *share.biases.values()]
    secrets = secrets_of(found, x)
    return {role: found_in(arrays, secrets) for role, arrays in received.items()}


def test_no_worker_receives_input_weights_or_inner_values() -> None:
    assert found_by_worker(integer_model()) == {role: set() for role in SERVERS}


@pytest.mark.parametrize(
    ("label", "name"), [("input", "input"), ("kernel", "weights"), ("mask", "inner"), ("R", "inner")]
)
def test_the_search_finds_what_is_not_masked(monkeypatch: pytest.MonkeyPatch, label: str, name: str) -> None:
    def dropping(draw: Any) -> Any:
        return lambda self, which, *rest: draw(self, which, *rest) * np.uint32(which != label)

    for draw in ("elements", "integers"):
        monkeypatch.setattr(KeyStream, draw, dropping(getattr(KeyStream, draw)))
    found = found_by_worker(integer_model())
    assert name in found[Role.SERVER0]
    assert name in found[Role.SERVER1]
    assert not found[DEALER]
