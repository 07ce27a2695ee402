"""Attacks on a query: each is refused, and each gets further as soon as the one check that stops it is taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from harness import Model, small_models
from syfr.errors import ProtocolError
from syfr.party import memory
from syfr.party.memory import MemoryChannel, MemoryCluster, MemoryNetwork
from syfr.protocol import output
from syfr.protocol.channel import Array, Channel, Like, Run, Tag
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.steps import Ranks, Signs, follows

MODELS = small_models()
SWAPPING = [name for name in MODELS if name != "output"]


@dataclass
class Watched(MemoryNetwork):
    """Goes on after a party has failed, as the others would, and keeps every error."""

    errors: dict[Role, ProtocolError] = field(default_factory=dict)
    finished: set[Role] = field(default_factory=set)

    def run(self, runs: Any) -> None:
        """Drive all parties to their ends."""
        for role, run in runs.items():
            self._try(role, run.advance)
        while self.on_the_way:
            sent = self.on_the_way.popleft()
            if sent.receiver not in self.errors:
                run = runs[sent.receiver]
                self._try(sent.receiver, lambda run=run, sent=sent: run.deliver(  # type: ignore[misc]
                    sent.sender, sent.tag, sent.clock, sent.arrays))
        self.finished = {role for role, run in runs.items() if run.done}
        if self.errors:
            raise next(iter(self.errors.values()))

    def _try(self, role: Role, action: Callable[[], None]) -> None:
        try:
            action()
        except ProtocolError as error:
            self.errors[role] = error

    @property
    def names(self) -> list[Tag]:
        """Names of all messages that were sent."""
        return [sent.tag for sent in self.record]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The network of the one query that a test runs."""
    watched = Watched()
    monkeypatch.setattr(memory, "MemoryNetwork", lambda: watched)
    return watched


def one_unit_more(role: Role, masked: Words) -> Words:
    """A client that gives server1 another input."""
    return masked + np.uint64(1) if role is Role.SERVER1 else masked


def released(*_: Any) -> None:
    """Stands where a part of an answer is made."""
    raise AssertionError("a part of an answer was made")


@pytest.mark.parametrize("name", MODELS)
def test_two_different_inputs_are_refused_before_anything_depends_on_them(
    name: str, network: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "masked_quotient", released)
    model = MODELS[name]
    with pytest.raises(ProtocolError, match="different inputs"):
        model.cluster().query(model.inputs(2), one_unit_more)
    assert set(network.errors) == {Role.SERVER0, Role.SERVER1}, "both notice"
    assert all("different inputs" in str(error) for error in network.errors.values())
    # The first swap of every step carries the hashes; nothing follows it, neither to the dealer nor to the partner. A
    # lift compares only masks of the client with each other before it swaps, and no weight.
    assert sorted(network.names) == sorted(first_messages(model) * 2)


def first_messages(model: Model) -> list[Tag]:
    """What server0 and server1 send each other before they have compared hashes, or the dealer in a lift."""
    steps = model.program.steps
    if model.program.untrusted_clients:
        return [(len(steps), kind) for kind in ("answer", "compare", "masked")]
    unchecked, found = {0}, []
    for number, step in enumerate(steps):
        if not unchecked.isdisjoint(step.sources):
            if follows(step) == "nothing" and not isinstance(step, (Signs, Ranks)):
                unchecked.add(number + 1)
            else:
                found.append((number, "opened" if follows(step) in ("relu", "truncate") else "agree"))
    return found


@pytest.mark.parametrize("name", SWAPPING)
def test_without_the_comparison_of_hashes_different_inputs_get_through(
    name: str, network: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transcript, "require", lambda self, digest: None)
    model = MODELS[name]
    model.cluster().query(model.inputs(2), one_unit_more)
    assert not network.errors
    assert (len(model.program.steps) - 1, "agree") in network.names


def test_only_the_last_comparison_guards_a_single_layer(network: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Transcript, channel: Channel, tag: Tag) -> None:
        return None

    monkeypatch.setattr(Transcript, "agree", nothing)
    single, deep = MODELS["output"], MODELS["relu"]
    x = single.inputs(2)
    answer = single.cluster().query(x, one_unit_more).values
    # server1's part is off by one product with -B1, a random number: the client would learn the mask of the weights.
    assert np.abs(answer - single.plain(x)[-1]).max() > 1
    monkeypatch.setattr(memory, "MemoryNetwork", Watched)
    with pytest.raises(ProtocolError, match="different inputs"):
        deep.cluster().query(deep.inputs(2), one_unit_more)


def test_without_a_comparison_before_it_a_compare_would_show_the_dealer_two_inputs(
    network: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Transcript, channel: Channel, tag: Tag) -> None:
        return None

    monkeypatch.setattr(Transcript, "agree", nothing)
    model = MODELS["signs of the input"]
    with pytest.raises(ProtocolError, match="different inputs"):
        model.cluster().query(model.inputs(2), one_unit_more)
    assert (0, "compare") in network.names


def test_any_changed_bit_of_any_row_is_noticed(network: Watched) -> None:
    model = MODELS["convolutions"]
    rng = np.random.default_rng(22)
    for _ in range(30):
        place, bit = tuple(rng.integers(0, (3, 6, 5, 2))), np.uint64(1 << int(rng.integers(0, 48)))

        def changed(role: Role, masked: Words, place: Any = place, bit: np.uint64 = bit) -> Words:
            masked = masked.copy()
            masked[place] ^= bit if role is Role.SERVER0 else np.uint64(0)
            return masked

        with pytest.raises(ProtocolError):
            model.cluster().query(model.inputs(3), changed)


# ---- messages between workers that are not as they must be ----

Meddle = Callable[[Role, Role, Tag, Sequence[Array]], Sequence[tuple[Role, Tag, Sequence[Array]]]]


def meddled_query(model: Model, meddle: Meddle, cluster: MemoryCluster | None = None) -> Any:
    """A query in which ``meddle`` says what is sent instead of each message."""
    send = MemoryChannel.transmit

    def transmit(self: MemoryChannel, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        for receiver, name, changed in meddle(self.role, peer, tag, arrays):
            send(self, receiver, name, clock, changed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryChannel, "transmit", transmit)
        return (cluster or model.cluster()).query(model.inputs(2))


def all_messages(model: Model) -> list[tuple[Role, Role, Tag]]:
    """Sender, receiver and name of every message of a query."""
    return [(sent.sender, sent.receiver, sent.tag) for sent in model.cluster().query(model.inputs(2)).messages]


ATTACKED = ("output", "mixed", "untrusted, padded", "label")
MESSAGES = [(name, *message) for name in ATTACKED for message in all_messages(MODELS[name])]


def label(value: object) -> str | None:
    """A short name for a test's parameter."""
    return f"{value[0]}-{value[1]}" if isinstance(value, tuple) else getattr(value, "label", None)


def only(wanted: tuple[Role, Role, Tag], change: Callable[[Sequence[Array]], list[Any]]) -> Meddle:
    """Meddle with one message, leave the others as they are."""

    def meddle(sender: Role, receiver: Role, tag: Tag, arrays: Sequence[Array]) -> Any:
        if (sender, receiver, tag) != wanted:
            return [(receiver, tag, arrays)]
        return [(receiver, tag, changed) for changed in change(arrays)]

    return meddle


@pytest.mark.parametrize(("name", "sender", "receiver", "tag"), MESSAGES, ids=label)
def test_a_message_that_comes_twice_ends_the_query(name: str, sender: Role, receiver: Role, tag: Tag) -> None:
    with pytest.raises(ProtocolError, match=f"{sender.label} sent the message '{tag[1]}' of step {tag[0]} twice"):
        meddled_query(MODELS[name], only((sender, receiver, tag), lambda arrays: [arrays, arrays]))


def test_without_the_memory_of_names_a_second_message_is_taken_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["relu"]
    wanted = (DEALER, Role.SERVER0, (0, "answer"))
    nothing: Any = type("Nothing", (set,), {"add": lambda self, key: None})
    begin = Channel.__init__

    def forgetful(self: Channel, role: Role) -> None:
        begin(self, role)
        self._seen = nothing()

    monkeypatch.setattr(Channel, "__init__", forgetful)
    with pytest.raises(ProtocolError, match="which nobody expects"):
        meddled_query(model, only(wanted, lambda arrays: [arrays, arrays]))
    monkeypatch.setattr(Channel, "require_all_read", lambda self: None)
    meddled_query(model, only(wanted, lambda arrays: [arrays, arrays]))


@pytest.mark.parametrize("tag", [(99, "opened"), (0, "masked2"), (1, "answer")])
@pytest.mark.parametrize("name", ["output", "relu", "truncate"])
def test_a_message_that_nobody_expects_ends_the_query(
    name: str, tag: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddle(sender: Role, receiver: Role, own: Tag, arrays: Sequence[Array]) -> Any:
        more = [(receiver, tag, arrays)] if sender is Role.SERVER0 and own[0] == 0 and own[1] in "opened agree" else []
        return [*more, (receiver, own, arrays)]

    with pytest.raises(ProtocolError, match=f"server0 sent the message '{tag[1]}' of step {tag[0]}, which nobody"):
        meddled_query(MODELS[name], meddle)
    monkeypatch.setattr(Channel, "require_all_read", lambda self: None)
    meddled_query(MODELS[name], meddle)


def test_a_message_after_the_end_is_refused() -> None:
    async def nothing() -> None:
        return None

    coroutine: Any = nothing()
    run = Run(coroutine, MemoryNetwork().channel(Role.SERVER0))
    run.advance()
    assert run.done
    with pytest.raises(ProtocolError, match="which nobody expects"):
        run.deliver(Role.SERVER1, (0, "opened"), 0, [])


CHANGES: dict[str, Callable[[Sequence[Array]], list[Any]]] = {
    "another type": lambda arrays: [[*arrays[:-1], arrays[-1].astype(np.uint16)]],
    "a signed type": lambda arrays: [[*arrays[:-1], arrays[-1].view(arrays[-1].dtype.name.lstrip("u"))]],
    "one row": lambda arrays: [[*arrays[:-1], arrays[-1][:1]]],
    "one value more": lambda arrays: [[*arrays[:-1], np.concatenate([arrays[-1], arrays[-1]], axis=-1)]],
    "another rank": lambda arrays: [[*arrays[:-1], arrays[-1][None]]],
    "one array more": lambda arrays: [[*arrays, arrays[-1]]],
    "one array less": lambda arrays: [list(arrays[:-1])],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "sender", "receiver", "tag"), MESSAGES, ids=label)
def test_arrays_of_another_shape_or_type_end_the_query(
    name: str, sender: Role, receiver: Role, tag: Tag, change: str
) -> None:
    with pytest.raises(ProtocolError, match=f"{sender.label} sent arrays .* for '{tag[1]}' of step {tag[0]}"):
        meddled_query(MODELS[name], only((sender, receiver, tag), CHANGES[change]))


def test_without_the_check_of_shapes_one_value_would_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["truncate"]
    meddle = only(
        (Role.SERVER0, Role.SERVER1, (0, "opened")), lambda arrays: [[arrays[0], arrays[1][:, :1]]]
    )
    with pytest.raises(ProtocolError, match="sent arrays"):
        meddled_query(model, meddle)
    monkeypatch.setattr(Like, "__eq__", lambda self, other: True)
    with pytest.raises(ProtocolError, match="different inputs"):  # the running hash has the opened values, too
        meddled_query(model, meddle)
    monkeypatch.setattr(Transcript, "require", lambda self, digest: None)
    meddled_query(model, meddle)


def test_a_dealer_that_answers_the_two_differently_is_noticed_at_the_next_swap() -> None:
    def flipped(arrays: Sequence[Array]) -> list[Any]:
        return [[arrays[0] ^ np.uint8(1)]]

    with pytest.raises(ProtocolError, match="hold different"):
        meddled_query(MODELS["relu"], only((DEALER, Role.SERVER1, (0, "answer")), flipped))


TO_SERVERS = [
    message
    for message in [*MESSAGES, *(("branches", *message) for message in all_messages(MODELS["branches"]))]
    # The dealer cannot know what is old. In the padded form no swap, and so no hash, follows the last answer.
    if message[2] is not DEALER and (message[0], message[3]) != ("untrusted, padded", (0, "answer"))
]


@pytest.mark.parametrize(("name", "sender", "receiver", "tag"), TO_SERVERS, ids=label)
def test_a_message_of_an_earlier_query_ends_the_query(name: str, sender: Role, receiver: Role, tag: Tag) -> None:
    cluster = MODELS[name].cluster()
    earlier = cluster.query(MODELS[name].inputs(2)).messages
    (old,) = (sent.arrays for sent in earlier if (sent.sender, sent.receiver, sent.tag) == (sender, receiver, tag))
    with pytest.raises(ProtocolError, match="hold different"):
        meddled_query(MODELS[name], only((sender, receiver, tag), lambda _: [old]), cluster)


# ---- the running hash itself ----


def digest_of(*arrays: Array, key: bytes = bytes(16), opening: bytes = b"opening") -> bytes:
    """The hash after some arrays."""
    transcript = Transcript(key, opening)
    for array in arrays:
        transcript.absorb(array)
    return transcript.digest.tobytes()


def test_the_running_hash_depends_on_key_opening_values_and_their_order() -> None:
    a, b = np.arange(5, dtype=np.uint64), np.arange(7, dtype=np.uint32)
    seen = [
        digest_of(),
        digest_of(a),
        digest_of(a, b),
        digest_of(b, a),
        digest_of(a[:4], a[4:], b),
        digest_of(a, b, key=b"k" * 16),
        digest_of(a, b, opening=b"other"),
        digest_of(a, b + np.uint32(1)),
    ]
    assert len(set(seen)) == len(seen)
    assert all(len(digest) == 16 for digest in seen)
    assert digest_of(a, b) == digest_of(a.copy(), b.copy())


def test_the_key_of_the_running_hash_is_the_querys_and_the_pairs() -> None:
    cluster = MODELS["relu"].cluster()
    keys = cluster.keys[Role.SERVER0]
    found = {keys.transcript_key(Role.SERVER1, start) for start in range(5)}
    assert len(found) == 5
    assert found == {cluster.keys[Role.SERVER1].transcript_key(Role.SERVER0, start) for start in range(5)}
    assert not found & {cluster.keys[DEALER].transcript_key(Role.SERVER0, start) for start in range(5)}


def test_a_transcript_does_not_show_its_key() -> None:
    assert repr(Transcript(b"k" * 16, b"")) == "Transcript(<REDACTED>)"
