"""Signs of masked values hide them exactly: tiny formats, each worker's joint view over all compares of a value.

All knots of a step compare with the same R', whose thresholds are dealt once. So what must not depend on x is the
joint view over both compares; with what is fresh for each compare used for both instead, exactly those that it blinds
learn whether x lies between the knots.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from counting import DEALT, SHARED, Count, differs, who_notices
from single import signs
from syfr.protocol.roles import DEALER, Role
from syfr.ring.fixedpoint import Precision

TINY = Precision(1, 4, 2)
"""kappa = 3: two digits of one bit."""
WIDE_DIGITS = Precision(1, 5, 2)
"""kappa - 1 = 3: a digit of two bits above one of a single bit."""

RELU = signs((0,), (1,))
TWO = signs((0, 1), (1, -1), slope=1)
BITS = signs((-1, 1), (1, 2), bits=True)
CURVE = signs((0, 1), (3, -1), slope=1, constant=1, scale_bits=1)

SERVER0, SERVER1, SERVER2 = ({role} for role in (Role.SERVER0, Role.SERVER1, DEALER))


def secrets_of(count: Count) -> list[tuple[int, ...]]:
    """Every x that lies in the format's range of all its knots."""
    half = 1 << (count.precision.truncated_bits - 1)
    knots = count.step.knots  # type: ignore[union-attr]
    return [(x,) for x in range(-half, half) if all(-half <= x - knot < half for knot in knots)]


FROM1 = ("input1", "tau", "flip", "mask1")
FROM0 = ("input0", "tau", "flip", "mask0")

COUNTS = {
    "server0, one knot": Count(Role.SERVER0, RELU, TINY, ("input0", *FROM1), 3, mask_bits=4, ring_bits=4),
    "server0, compare": Count(Role.SERVER0, RELU, TINY, (*SHARED, "input1", "tau", "mask1"), 4, ring_bits=2),
    "server0, wide digits": Count(Role.SERVER0, RELU, WIDE_DIGITS, FROM1, 3, mask_bits=5, ring_bits=5),
    "server0, two knots": Count(Role.SERVER0, TWO, TINY, FROM1, 4, mask_bits=4, ring_bits=4),
    "server0, bits": Count(Role.SERVER0, BITS, TINY, FROM1, 4, mask_bits=4, ring_bits=4),
    "server0, curve": Count(Role.SERVER0, CURVE, TINY, (*FROM1, "R1"), 2, mask_bits=4, ring_bits=4),
    "server0, padded": Count(Role.SERVER0, RELU, TINY, (*FROM1, "pads1"), 2, ring_bits=3, padded=True),
    "server1, one knot": Count(Role.SERVER1, RELU, TINY, (*FROM0, "thresholds", "dealt"), 1, ring_bits=2),
    "server1, two knots": Count(Role.SERVER1, TWO, TINY, (*FROM0, "thresholds", "dealt"), 1),
    "server1, two knots, given": Count(
        Role.SERVER1, TWO, TINY, ("input1", *FROM0), 1, mask_bits=4, ring_bits=4, given=DEALT
    ),
    "server1, bits": Count(Role.SERVER1, BITS, TINY, (*FROM0, "thresholds", "dealt"), 2, ring_bits=1),
    "server1, bits, given": Count(Role.SERVER1, BITS, TINY, FROM0, 4, mask_bits=4, ring_bits=4, given=DEALT),
    "server1, curve, given": Count(Role.SERVER1, CURVE, TINY, (*FROM0, "R0"), 2, mask_bits=4, ring_bits=4, given=DEALT),
    "server1, padded": Count(Role.SERVER1, RELU, TINY, (*FROM0, "pads0"), 2, ring_bits=3, given=DEALT, padded=True),
    "server2, one knot": Count(DEALER, RELU, TINY, ("input0", "input1", "tau", *SHARED)),
    "server2, wide digits": Count(DEALER, RELU, WIDE_DIGITS, SHARED, 8, mask_bits=4),
    "server2, two knots": Count(DEALER, TWO, TINY, SHARED, 1),
    "server2, bits": Count(DEALER, BITS, TINY, SHARED, 1),
}
"""server1's shares of the thresholds are counted where they are few; the dealer's view of both compares together."""


@pytest.mark.parametrize("name", COUNTS)
def test_a_view_of_signs_is_the_same_for_all_secrets(name: str) -> None:
    assert not differs(COUNTS[name], secrets_of(COUNTS[name]))


@pytest.mark.slow
def test_the_dealers_view_of_two_compares_whatever_else_is_random() -> None:
    count = replace(COUNTS["server2, two knots"], conditions=8)
    assert not differs(count, secrets_of(count))


@pytest.mark.parametrize("name", ["server2, one knot", "server2, two knots", "server2, bits"])
def test_unequal_inputs_would_tell_the_dealer_something(name: str) -> None:
    # So hashes are compared before (test_protocol_attacks.py): x may be another owner's than the one who cheats.
    assert differs(replace(COUNTS[name], unequal=1), SOME)


EXACT = (
    replace(COUNTS["server0, two knots"], conditions=2, mask_bits=3, ring_bits=3),
    replace(COUNTS["server1, two knots"], enumerated=("input0", "tau", "thresholds", "dealt", "mask0")),
    replace(COUNTS["server1, two knots, given"], conditions=2, mask_bits=3, ring_bits=3),
    replace(COUNTS["server2, one knot"], enumerated=("input0", *SHARED)),
)
REUSED = (*EXACT[:3], COUNTS["server2, two knots"])
PADDED = (
    replace(COUNTS["server0, padded"], conditions=1),
    replace(COUNTS["server1, padded"], conditions=1),
    replace(EXACT[3], padded=True),
)
TRUNCATED = (
    replace(COUNTS["server0, curve"], conditions=1),
    replace(COUNTS["server1, curve, given"], conditions=1),
    Count(
        Role.SERVER1,
        replace(CURVE, knots=(0,), factors=(3,)),
        TINY,
        ("input0", "R0", "tau", "dealt2", "mask0"),
        mask_bits=4,
        ring_bits=4,
        out_bits=2,
        given=("thresholds", "dealt"),
    ),
)
SOME = [(0,), (1,), (-3,), (3,)]

BLINDED = [
    ("input0", SERVER1),
    ("input1", SERVER0),
    ("tau", SERVER0 | SERVER1),
    ("mask0", SERVER1),
    ("mask1", SERVER0),
]


@pytest.mark.parametrize(
    ("dropped", "who"),
    [
        *BLINDED,
        ("thresholds", SERVER1),
        ("dealt", SERVER1),
        ("flip", SERVER2),
        ("multipliers", SERVER2),
        ("masks", SERVER2),
        ("rotation", SERVER2),
    ],
)
def test_without_any_one_random_value_exactly_those_it_blinds_learn_something(dropped: str, who: set[Role]) -> None:
    assert who_notices(EXACT, SOME, dropped=dropped) == who


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reused", "who"),
    [
        ("tau", SERVER0 | SERVER1),
        ("flip", SERVER2),
        ("multipliers", SERVER2),
        ("masks", SERVER2),
        ("rotation", SERVER2),
        ("dealt", SERVER1),
    ],
)
def test_with_one_random_value_for_both_compares_exactly_those_it_blinds_learn_something(
    reused: str, who: set[Role]
) -> None:
    assert who_notices(REUSED, SOME, reused=reused) == who


@pytest.mark.parametrize(("dropped", "who"), [*BLINDED, ("pads0", SERVER1), ("pads1", SERVER0), ("flip", SERVER2)])
def test_the_padded_form_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    assert who_notices(PADDED, SOME, dropped=dropped) == who


@pytest.mark.parametrize(("dropped", "who"), [*BLINDED, ("R0", SERVER1), ("R1", SERVER0), ("dealt2", SERVER1)])
def test_a_curve_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    assert who_notices(TRUNCATED, SOME, dropped=dropped) == who
