"""ReLU and truncation hide their input exactly: tiny formats, each worker's joint view counted over all randomness.

A joint view is everything that one worker draws, is dealt and receives. Its distribution must be the same for every
secret z. Three things keep the count small and exact:

* What a worker knows from the start is independent of z, so the requirement may be checked for each of its values
  apart; where there are many, a *condition* fixes several of them at random and the view includes which one.
* Masked values and dealt ring shares only pass through additions and products with public numbers in Z_2^64, so the
  run modulo a small power of two is the run in that smaller ring.
* server1 receives its dealt shares as (true value) - (server0's uniform share): each is equally likely for every z.
  In the runs named "given" they are fixed like any other known value, and server0's shares follow from them.

Then each source of randomness is replaced by a constant, and exactly the workers that it blinds must notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from harness import Outcome, blinded_elements, run_relu, run_truncation, true_thresholds
from layouts import from_thirds
from numpy.typing import NDArray
from syfr.protocol import relu
from syfr.protocol.roles import DEALER, Role
from syfr.ring.compare import digit_widths, thresholds_of
from syfr.ring.fixedpoint import Precision
from syfr.ring.packing import from_octets, octets_above, thirds_in, unpack_elements
from syfr.ring.planes import unpack_bits
from views import Integers, View, digits_of, every

Array = NDArray[Any]

KNOWN = {
    Role.SERVER0: ("R0", "thresholds", "dealt", "flip", "multipliers", "masks", "rotation", "mask0", "pads0"),
    Role.SERVER1: ("R1", "flip", "multipliers", "masks", "rotation", "mask1", "pads1"),
    DEALER: ("R0", "R1", "thresholds", "dealt", "tau", "mask0", "mask1", "pads0", "pads1"),
}
"""What each draws itself; server0 and server1 besides know their shares of z."""


@dataclass(frozen=True)
class Count:
    """One exact count for one party.

    Attributes:
        party: whose view.
        precision: the tiny format.
        enumerated: the random values that run over all their combinations; "share" is the party's share of z.
        conditions: how many random choices of all other values.
        ring_bits: masked values and dealt shares are taken modulo 2^ring_bits.
        given: whether server1's dealt shares are fixed by the condition, and server0's follow.
        dropped: the value that is replaced by a constant.
        dealt: ring shares dealt for each value.
        padded: whether it is the form of three delays.
    """

    party: Role
    precision: Precision
    enumerated: tuple[str, ...]
    conditions: int
    ring_bits: int = 1
    given: bool = False
    dropped: str = ""
    dealt: int = 5
    padded: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """How many values each random value has."""
        widths = digit_widths(self.precision.compared_bits, self.precision.digits)
        degree = len(widths)
        ring, masks = 1 << self.ring_bits, 1 << self.precision.truncated_bits
        return {
            "share": 1 << self.precision.value_bits,
            "R0": masks,
            "R1": masks,
            "thresholds": 1 << thresholds_of(widths),
            "dealt": ring**self.dealt,
            "tau": 2,
            "flip": 2,
            "multipliers": ((1 << degree) - 1) ** degree,
            "masks": 1 << degree**2,
            "rotation": degree,
            "mask0": ring,
            "mask1": ring,
            "pads0": ring**2,
            "pads1": ring**2,
        }

    def combinations(self) -> dict[str, Integers]:
        """The number of every random value in every combination, and of the condition."""
        sizes = self.sizes
        at = every(condition=self.conditions, **{name: sizes[name] for name in self.enumerated if name != self.dropped})
        rng = np.random.default_rng(17)
        for name, size in sizes.items():
            fixed = rng.integers(0, size, self.conditions)
            at.setdefault(name, fixed[at["condition"]])
        if self.dropped:
            at[self.dropped] = np.zeros_like(at["condition"])
        return at

    def draws(self, at: dict[str, Integers]) -> dict[str, Array]:
        """The arrays of all draws, one row."""
        degree, planes = self.sizes["rotation"], self.sizes["thresholds"].bit_length() - 1
        thresholds = digits_of(at["thresholds"], 2, planes)[None]
        dealt = digits_of(at["dealt"], 1 << self.ring_bits, self.dealt)[None]
        if self.given:
            thresholds = (self._true_thresholds(at) - thresholds) % 2
            dealt = self._true_dealt(at) - dealt
        ring = 1 << self.ring_bits
        return {
            **{name: digits_of(at[name], ring, 2)[None] for name in ("pads0", "pads1")},
            **{name: at[name][None] for name in ("R0", "R1", "tau", "flip", "rotation", "mask0", "mask1")},
            "thresholds": thresholds,
            "dealt": dealt.astype(np.uint64),
            "multipliers": digits_of(at["multipliers"], (1 << degree) - 1, degree)[None] + 1,
            "masks": digits_of(at["masks"], 2, degree**2)[None],
        }

    def _mask(self, at: dict[str, Integers]) -> Integers:
        return (at["R0"] + at["R1"]) % (1 << self.precision.truncated_bits)

    def _true_thresholds(self, at: dict[str, Integers]) -> Integers:
        low = self._mask(at) % (1 << (self.precision.truncated_bits - 1))
        found: Integers = true_thresholds(low, self.precision.compared_bits, self.precision)[None]
        return found

    def _true_dealt(self, at: dict[str, Integers]) -> Integers:
        mask, tau = self._mask(at), at["tau"]
        top = mask >> (self.precision.truncated_bits - 1)
        wrap = (at["R0"] + at["R1"]) >> self.precision.truncated_bits
        found: Integers = np.stack([top, wrap] if self.dealt == 2 else [tau, tau * mask, top, wrap, tau * top])[None]
        return found


@dataclass
class Seen:
    """A run of all combinations for one secret, from one party's side."""

    count: Count
    at: dict[str, Integers]
    view: View = field(default_factory=View)

    def known(self) -> None:
        """The condition, the party's share of z and what it draws itself."""
        self.view.see(self.at["condition"], self.count.conditions)
        own = KNOWN[self.count.party] + (() if self.count.party == DEALER else ("share",))
        for name in own:
            if name in self.count.enumerated:
                self.view.see(self.at[name], self.count.sizes[name])

    def from_partner(self, outcome: Outcome) -> None:
        """The swapped values of server0 or server1: one masked share, or two padded ones."""
        party = self.count.party
        self.view.see(outcome.received(party, "opened"), 1 << self.count.precision.truncated_bits)
        self._elements(outcome.received(party, "masked"), 2 if self.count.padded else 1)

    def answer(self, outcome: Outcome) -> None:
        """The dealer's bit, and the partner's pad for it."""
        bits = unpack_bits(outcome.received(self.count.party, "answer", place=0), self.at["share"].size)
        self.view.see(bits, 2)
        if self.count.padded:
            self._elements(outcome.received(self.count.party, "answer"), 1)

    def _elements(self, packed: Array, each: int) -> None:
        ring = 1 << self.count.ring_bits
        elements = unpack_elements(packed.reshape(-1), (each, self.at["share"].size))
        self.view.see(elements % np.uint64(ring), ring)

    def dealt(self, elements: Array, thresholds: Array | None = None) -> None:
        """What the dealer sent to server1; in a run "given" it is the condition's."""
        ring = 1 << self.count.ring_bits
        size = self.at["share"].size
        shares = elements % np.uint64(ring)
        if self.count.given:
            assert np.array_equal(shares, digits_of(self.at["dealt"], ring, self.count.dealt))
            return
        self.view.see(shares, ring)
        if thresholds is not None:
            planes = self.count.sizes["thresholds"].bit_length() - 1
            self.view.see(unpack_bits(thresholds.reshape(planes, -1), size), 2)


def relu_view(count: Count, at: dict[str, Integers], z: int) -> Array:
    """The distribution of one party's view of ReLU for the secret z."""
    total = z + (1 << count.precision.fraction_bits) - 1
    own, other = at["share"].astype(np.uint64)[None], (total - at["share"]).astype(np.uint64)[None]
    z0, z1 = (other, own) if count.party == Role.SERVER1 else (own, other)
    outcome = run_relu(count.precision, z0, z1, count.draws(at), count.padded)
    seen = Seen(count, at)
    seen.known()
    if count.party == DEALER:
        for server in (Role.SERVER0, Role.SERVER1):
            degree = count.sizes["rotation"]
            message = outcome.received(DEALER, "compare", server)
            seen.view.see(blinded_elements(message, degree, at["share"].size), 1 << degree**2)
        return seen.view.distribution()
    if count.party == Role.SERVER1:
        thresholds, whole, lifted = outcome.dealt
        size, octets = at["share"].size, octets_above(count.precision.truncated_bits)
        numbers = from_thirds(thirds_in(whole, (1, relu.WHOLE, size)))
        small = from_octets(lifted.reshape(1, octets, relu.LIFTED, size))
        seen.dealt(np.concatenate([numbers, small], axis=1)[0], thresholds)
    seen.from_partner(outcome)
    seen.answer(outcome)
    return seen.view.distribution()


def truncation_view(count: Count, at: dict[str, Integers], z: int) -> Array:
    """The distribution of one server's view of a truncation for the secret z; the dealer receives nothing."""
    f, k = count.precision.fraction_bits, count.precision.value_bits
    total = z + (1 << (k - 2)) + (1 << f) - 1
    own, other = at["share"].astype(np.uint64)[None], (total - at["share"]).astype(np.uint64)[None]
    z0, z1 = (other, own) if count.party == Role.SERVER1 else (own, other)
    draws = count.draws(at)
    draws = {name: draws[name] for name in ("R0", "R1", "dealt", "mask0", "mask1")}
    outcome = run_truncation(count.precision, z0, z1, draws)
    assert not [sent for sent in outcome.messages if sent.receiver == DEALER]
    seen = Seen(count, at)
    seen.known()
    if count.party == Role.SERVER1:
        octets = octets_above(count.precision.truncated_bits)
        seen.dealt(from_octets(outcome.dealt[0].reshape(1, octets, count.dealt, at["share"].size))[0])
    seen.from_partner(outcome)
    return seen.view.distribution()


def differs(count: Count, secrets: Sequence[int], look: Any = relu_view) -> bool:
    """Whether the party's view of some secret is not distributed as that of the first."""
    at = count.combinations()
    expected = look(count, at, secrets[0])
    return any(not np.array_equal(look(count, at, z), expected) for z in secrets[1:])


def legal(precision: Precision) -> range:
    """Every z that a ReLU may meet."""
    half = 1 << (precision.value_bits - 1)
    return range(-half, half - (1 << precision.fraction_bits) + 1)


TINY = Precision(1, 4, 2)
"""kappa = 3: two digits of one bit."""
THREE_DIGITS = Precision(1, 5, 3)
WIDE_DIGITS = Precision(1, 5, 2)
"""kappa - 1 = 3: a digit of two bits above one of a single bit."""

ALL_OF_COMPARE = ("flip", "multipliers", "masks", "rotation")

COUNTS = {
    "server0": Count(Role.SERVER0, TINY, ("share", "R0", "R1", "tau", "flip", "mask1"), 3, ring_bits=5),
    "server0, compare": Count(Role.SERVER0, TINY, (*ALL_OF_COMPARE, "R1", "tau", "mask1"), 4, ring_bits=4),
    "server0, wide digits": Count(Role.SERVER0, WIDE_DIGITS, ("R0", "R1", "tau", "flip", "mask1"), 4, ring_bits=6),
    "server1": Count(Role.SERVER1, TINY, ("R0", "thresholds", "dealt", "tau", "flip", "mask0"), 8),
    "server1, given": Count(
        Role.SERVER1, TINY, ("share", "R0", "R1", "tau", "flip", "mask0"), 3, ring_bits=5, given=True
    ),
    "server1, wide digits": Count(
        Role.SERVER1, WIDE_DIGITS, ("R0", "R1", "tau", "flip", "mask0"), 4, ring_bits=6, given=True
    ),
    "server0, padded": Count(
        Role.SERVER0, TINY, ("R1", "tau", "flip", "mask1", "pads1"), 3, ring_bits=4, padded=True
    ),
    "server1, padded": Count(
        Role.SERVER1, TINY, ("R0", "tau", "flip", "mask0", "pads0"), 3, ring_bits=4, given=True, padded=True
    ),
    "server2": Count(DEALER, TINY, ("share", "R1", "tau", *ALL_OF_COMPARE), 1),
    "server2, three digits": Count(DEALER, THREE_DIGITS, ALL_OF_COMPARE, 1),
    "server2, wide digits": Count(DEALER, WIDE_DIGITS, ("R1", *ALL_OF_COMPARE), 8),
}
"""The dealer never learns the shares of z; its view is the same for each of their values, so also when they vary."""


@pytest.mark.parametrize("name", COUNTS)
def test_a_view_of_relu_is_the_same_for_all_secrets(name: str) -> None:
    count = COUNTS[name]
    secrets = legal(count.precision)
    assert not differs(count, secrets[:: 3 if name == "server2, three digits" else 1])


@pytest.mark.slow
def test_the_view_of_server1_over_every_share_and_mask() -> None:
    enumerated = ("share", "R1", *COUNTS["server1"].enumerated)
    assert not differs(replace(COUNTS["server1"], enumerated=enumerated, conditions=1), legal(TINY))


PADDED_COUNTS = (
    replace(COUNTS["server0, padded"], conditions=2),
    replace(COUNTS["server1, padded"], conditions=2),
    replace(COUNTS["server2"], padded=True),
)
SMALL_COUNTS = (
    replace(COUNTS["server0"], conditions=2, ring_bits=4),
    replace(COUNTS["server1"], conditions=4),
    COUNTS["server2"],
)
SERVER0, SERVER1, SERVER2 = ({role} for role in (Role.SERVER0, Role.SERVER1, DEALER))


@pytest.mark.parametrize(
    ("dropped", "who"),
    [
        ("R0", SERVER1),
        ("R1", SERVER0),
        ("tau", SERVER0 | SERVER1),
        ("thresholds", SERVER1),
        ("dealt", SERVER1),
        ("mask0", SERVER1),
        ("mask1", SERVER0),
        ("flip", SERVER2),
        ("multipliers", SERVER2),
        ("masks", SERVER2),
        ("rotation", SERVER2),
    ],
)
def test_without_any_one_random_value_exactly_those_it_blinds_learn_something(dropped: str, who: set[Role]) -> None:
    noticed = {count.party for count in SMALL_COUNTS if differs(replace(count, dropped=dropped), (0, 5, -1, -8, 2))}
    assert noticed == who


@pytest.mark.parametrize(
    ("dropped", "who"),
    [
        ("R0", SERVER1),
        ("R1", SERVER0),
        ("tau", SERVER0 | SERVER1),
        ("mask0", SERVER1),
        ("mask1", SERVER0),
        ("pads0", SERVER1),
        ("pads1", SERVER0),
        ("flip", SERVER2),
    ],
)
def test_the_padded_form_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    noticed = {count.party for count in PADDED_COUNTS if differs(replace(count, dropped=dropped), (0, 5, -1, -8, 2))}
    assert noticed == who


TRUNCATIONS = {
    "server0": Count(Role.SERVER0, TINY, ("share", "R0", "R1", "mask1"), 4, ring_bits=4, dealt=2),
    "server1": Count(Role.SERVER1, TINY, ("R0", "R1", "mask0", "dealt"), 2, ring_bits=4, dealt=2),
    "server1, given": Count(
        Role.SERVER1, TINY, ("share", "R0", "R1", "mask0"), 4, ring_bits=5, dealt=2, given=True
    ),
}


@pytest.mark.parametrize("name", TRUNCATIONS)
def test_a_view_of_truncation_is_the_same_for_all_secrets(name: str) -> None:
    quarter = 1 << (TINY.value_bits - 2)
    assert not differs(TRUNCATIONS[name], range(-quarter, quarter), truncation_view)


@pytest.mark.parametrize(
    ("dropped", "who"),
    [("R0", SERVER1), ("R1", SERVER0), ("dealt", SERVER1), ("mask0", SERVER1), ("mask1", SERVER0)],
)
def test_truncation_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    noticed = {
        count.party
        for count in (TRUNCATIONS["server0"], TRUNCATIONS["server1"])
        if differs(replace(count, dropped=dropped), (0, 3, -4), truncation_view)
    }
    assert noticed == who
