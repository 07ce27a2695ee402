"""At full size: every message looks uniform, and no stream is used twice."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from harness import ONE, Model, blinded_elements, dense, model, small_models
from numpy.typing import NDArray
from syfr.party.memory import Sent
from syfr.party.streams import PURPOSES, BlockStreams, PairKeys
from syfr.protocol import sharing
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.protocol.sharing import mask_input
from syfr.ring.fixedpoint import Precision
from syfr.ring.streams import KeyStream
from syfr.steps import Combine, Product, Ranks, Signs, Step, Take
from views import looks_uniform

Array = NDArray[Any]
PRECISION = Precision()


def wide_layers() -> Model:
    """A model with many values a layer."""
    return model((5,), [dense(0, 5, 2_000, "relu"), dense(1, 2_000, 600, "truncate"), dense(2, 600, 300, "output")])


def wide_graph() -> Model:
    """The same of the steps that have no weights."""
    shape = (1_000,)
    steps = [
        dense(0, 5, 1_000, "truncate"),
        Signs("relu", 1, shape, (0,), (1,)),
        Signs("bits", 1, shape, (-ONE, 0, ONE), (ONE, -ONE, ONE), bits=True),
        Signs("curve", 1, shape, (-ONE, ONE), (900, -700), 300, 5, 14),
        Take("some", 1, (128,), 0, tuple(range(128))),
        Ranks("ranks", 5, (128,)),
        Product("product", 1, 2, shape, "truncate"),
        Combine("sum", (2, 3, 4, 7), shape, (1, 2, 3, 4), 0, 14, "truncate"),
        dense(8, 1_000, 150, "output"),
        Combine("output", (6,), (128,), (1,), then="output"),
    ]
    return model((5,), steps)


WIDE = {"layers": wide_layers, "graph": wide_graph}


def zeros(found: Model) -> Model:
    """The model with all weights zero, so that only the masks vary."""
    for weights in (found.kernels, found.biases):
        weights.update({number: 0.0 * values for number, values in weights.items()})
    return found


def assert_bytes(values: Array) -> None:
    """Bits side by side, each uniform; their bytes too, and where one byte differs from the next."""
    assert looks_uniform(np.unpackbits(values), 2)
    assert looks_uniform(values, 256)
    in_line = values.reshape(-1)
    assert looks_uniform(in_line[1:] ^ in_line[:-1], 256)


def assert_bits(values: Array, bits: int) -> None:
    """Every four neighbouring bits uniform."""
    assert int(values.max()) < 1 << bits
    assert all(looks_uniform((values >> shift) & 15, 16) for shift in range(0, bits - 3, 4))


def compared(step: Step) -> int:
    """How many numbers of a row a step compares, each with one other."""
    size = math.prod(step.output_shape)
    return size * (size - 1) // 2 if isinstance(step, Ranks) else size


def assert_message_uniform(sent: Sent, step: Step) -> None:
    """One message of the online phase, of this step."""
    values = sent.arrays[-1]
    if sent.tag[1] == "opened":
        assert_bits(values, PRECISION.truncated_bits)
    elif sent.tag[1] == "compare":
        assert_bytes(values)
        elements = blinded_elements(values, PRECISION.digits, compared(step))
        assert all(looks_uniform(elements >> np.uint64(6 * place) & np.uint64(63), 64) for place in range(6))
    elif sent.tag[1] == "answer":
        assert_bytes(values)
    else:
        assert sent.tag[1] == "masked"
        assert all(looks_uniform(values.reshape(-1, 6)[:, place], 256) for place in range(6))


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize(("name", "messages"), [("layers", 8 + 4), ("graph", 4 + 6 + 6 + 8 + 6 + 4 + 4)])
def test_every_message_looks_uniform(name: str, messages: int, zero: bool) -> None:
    found = zeros(WIDE[name]()) if zero else WIDE[name]()
    cluster = found.cluster()
    x = found.inputs(12) * (not zero)
    dealt = cluster.prepare(12)
    for array in dealt:
        assert_bytes(array)
        assert all(looks_uniform(array.reshape(-1, 6)[:, place], 256) for place in range(6))
    received = cluster.query(x).messages
    assert len(received) == messages
    for sent in received:
        assert_message_uniform(sent, found.program.steps[sent.tag[0]])


def test_masked_inputs_and_shared_weights_look_uniform() -> None:
    masked = mask_input(np.zeros((100, 784), np.uint64), sharing.fresh_seeds(), 5)
    assert looks_uniform(masked.view(np.uint8), 256)
    found = zeros(wide_layers())
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
    for name in ("elements", "integers", "below", "bits"):
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


@pytest.mark.parametrize("name", ["curve", "label", "product"])
def test_a_purpose_that_stands_for_two_is_noticed(
    name: str, constructed: list[KeyStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = BlockStreams.common
    monkeypatch.setattr(BlockStreams, "common", lambda self, peer, number, _: common(self, peer, number, "mask"))
    found = small_models()[name]
    found.cluster().query(found.inputs(1))
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
