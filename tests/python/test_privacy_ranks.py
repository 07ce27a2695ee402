"""Ranks hide the numbers and their order exactly: joint views over the compares of all pairs, at tiny formats."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from counting import DEALT, SHARED, Count, differs, who_notices
from single import ranks
from syfr.protocol.roles import DEALER, Role
from syfr.ring.fixedpoint import Precision

TINY = Precision(1, 4, 2)
"""kappa = 3: two digits of one bit."""
TINIEST = Precision(1, 3, 1)
"""kappa = 2: one digit, so that three pairs can be counted together."""

FROM1 = ("input1", "tau", "mask1")
FROM0 = ("input0", "tau", "mask0")
TWO = {
    "server0": Count(Role.SERVER0, ranks(2), TINY, (*FROM1, "flip"), 2, ring_bits=2, out_bits=3),
    "server0, compare": Count(Role.SERVER0, ranks(2), TINY, (*FROM1, *SHARED), 1, out_bits=1),
    "server1": Count(Role.SERVER1, ranks(2), TINY, (*FROM0, "thresholds", "dealt"), 1, ring_bits=2),
    "server1, given": Count(Role.SERVER1, ranks(2), TINY, FROM0, 3, ring_bits=3, given=DEALT),
    "server2": Count(DEALER, ranks(2), TINY, ("input0", *SHARED), 2),
}
THREE = {
    "server0": Count(Role.SERVER0, ranks(3), TINIEST, FROM1, 1, mask_bits=2, ring_bits=2),
    "server1": Count(Role.SERVER1, ranks(3), TINIEST, (*FROM0, "dealt"), 1, 2, 1, given=("thresholds",)),
    "server1, thresholds": Count(
        Role.SERVER1, ranks(3), TINIEST, ("input0", "tau", "mask0", "thresholds"), 1, 2, 1, given=("dealt",)
    ),
    "server1, given": Count(Role.SERVER1, ranks(3), TINIEST, FROM0, 1, mask_bits=2, ring_bits=2, given=DEALT),
    "server2": Count(DEALER, ranks(3), TINIEST, SHARED, 8, mask_bits=2),
}
"""Ranks are whole multiples of two units at these formats: masks of two bits show the lowest bit of a rank."""

PAIRS = [(0, 0), (1, 0), (0, 1), (3, 0), (-1, 2), (-2, -2), (-4, -1)]
TRIPLES = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 1), (-1, -1, 0)]
SERVER0, SERVER1, SERVER2 = ({role} for role in (Role.SERVER0, Role.SERVER1, DEALER))


@pytest.mark.parametrize("name", TWO)
def test_a_view_of_two_numbers_is_the_same_whatever_they_are(name: str) -> None:
    assert not differs(TWO[name], PAIRS)


@pytest.mark.parametrize("name", THREE)
def test_a_view_of_three_numbers_is_the_same_whatever_they_are(name: str) -> None:
    assert not differs(THREE[name], TRIPLES)


DROPPED = [
    ("input0", SERVER1),
    ("input1", SERVER0),
    ("tau", SERVER0 | SERVER1),
    ("mask0", SERVER1),
    ("mask1", SERVER0),
    ("thresholds", SERVER1),
    ("dealt", SERVER1),
    ("flip", SERVER2),
    ("multipliers", SERVER2),
    ("masks", SERVER2),
    ("rotation", SERVER2),
]


@pytest.mark.parametrize(("dropped", "who"), DROPPED)
def test_without_any_one_random_value_exactly_those_it_blinds_learn_something(dropped: str, who: set[Role]) -> None:
    counts = (TWO["server0"], TWO["server1"], TWO["server2"])
    assert who_notices(counts, PAIRS[:4], dropped=dropped) == who


@pytest.mark.parametrize(("dropped", "who"), [found for found in DROPPED if found[0] in ("tau", "flip", "masks")])
def test_three_pairs_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    counts = (THREE["server0"], THREE["server1, given"], replace(THREE["server2"], conditions=2))
    assert who_notices(counts, TRIPLES[:3], dropped=dropped) == who


def test_secrets_lie_in_the_range_of_the_formats() -> None:
    for secrets, precision in ((PAIRS, TINY), (TRIPLES, TINIEST)):
        half = 1 << (precision.truncated_bits - 1)
        for secret in secrets:
            assert all(-half <= one - other < half for one, other in itertools.combinations(secret, 2))
