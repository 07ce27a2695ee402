"""Products of secret values, and sums that are truncated, hide what they read exactly: joint views at a tiny format."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from counting import DEALT, Count, differs, who_notices
from single import combine, draws_of, product, random_draws, run
from syfr.protocol.roles import DEALER, Role
from syfr.ring.fixedpoint import Precision

TINY = Precision(1, 4, 2)
"""z has four bits, a value three."""

PRODUCT = product()
SUM = combine((3, -1), constant=1)
TO1, TO0 = ("input0", "other0", "R0", "mask0"), ("input1", "other1", "R1", "mask1")

PRODUCTS = {
    "server0": Count(Role.SERVER0, PRODUCT, TINY, TO0, 4, mask_bits=4, out_bits=3),
    "server0, own": Count(Role.SERVER0, PRODUCT, TINY, ("input0", *TO0), 1, mask_bits=4),
    "server1": Count(Role.SERVER1, PRODUCT, TINY, (*TO1, "c0"), 1, mask_bits=4, given=("dealt2",)),
    "server1, given": Count(Role.SERVER1, PRODUCT, TINY, TO1, 4, mask_bits=4, out_bits=3, given=DEALT),
    "server1, dealt": Count(Role.SERVER1, PRODUCT, TINY, (*TO1, "dealt2"), 1, mask_bits=4, given=("c0",)),
}
SUMS = {
    "server0": Count(Role.SERVER0, SUM, TINY, TO0, 4, mask_bits=4, out_bits=3),
    "server0, own": Count(Role.SERVER0, SUM, TINY, ("input0", *TO0), 1, mask_bits=4),
    "server1": Count(Role.SERVER1, SUM, TINY, (*TO1, "dealt2"), 2, mask_bits=4),
    "server1, given": Count(Role.SERVER1, SUM, TINY, TO1, 4, mask_bits=4, out_bits=3, given=DEALT),
}
SECRETS = [(0, 0), (1, 0), (0, 1), (-1, 1), (2, -2), (-3, 1), (1, 3)]
SERVER0, SERVER1 = ({role} for role in (Role.SERVER0, Role.SERVER1))

BLINDED = [
    ("input0", SERVER1),
    ("other0", SERVER1),
    ("input1", SERVER0),
    ("other1", SERVER0),
    ("R0", SERVER1),
    ("R1", SERVER0),
    ("dealt2", SERVER1),
    ("mask0", SERVER1),
    ("mask1", SERVER0),
]


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_view_of_a_product_is_the_same_for_all_secrets(name: str) -> None:
    assert not differs(PRODUCTS[name], SECRETS)


@pytest.mark.parametrize("name", SUMS)
def test_a_view_of_a_sum_is_the_same_for_all_secrets(name: str) -> None:
    assert not differs(SUMS[name], SECRETS)


@pytest.mark.parametrize(("dropped", "who"), [*BLINDED, ("c0", SERVER1)])
def test_a_product_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    counts = (PRODUCTS[name] for name in ("server0", "server1", "server1, dealt"))
    assert who_notices(counts, SECRETS[:5], dropped=dropped) == who


@pytest.mark.parametrize(("dropped", "who"), BLINDED)
def test_a_sum_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    assert who_notices((SUMS["server0"], SUMS["server1"]), SECRETS[:5], dropped=dropped) == who


def test_the_dealer_receives_nothing() -> None:
    for step, secret in itertools.product((PRODUCT, SUM), SECRETS[:2]):
        draws = random_draws(draws_of(TINY, step, 16, 16, 16), 5, 1)
        read = [np.full((5, 1), value, np.int64).astype(np.uint64) for value in secret]
        assert not [sent for sent in run(TINY, step, read, draws).messages if sent.receiver == DEALER]


def test_matrices_of_one_number_send_what_single_numbers_do() -> None:
    # So what is counted above for products of numbers holds for every sum of products that a matrix product makes.
    draws = random_draws(draws_of(TINY, PRODUCT, 16, 16, 16), 200, 2)
    read = [np.random.default_rng(seed).integers(0, 16, (200, 1), np.uint64) for seed in (3, 4)]
    single = run(TINY, PRODUCT, read, draws)
    shaped = {name: draws[name].reshape(200, 1, 1) if name in SHAPED else draws[name] for name in draws}
    matrices = run(TINY, product(matrices=True), [value.reshape(200, 1, 1) for value in read], shaped)
    assert np.array_equal(single.masked, matrices.masked)
    for one, other in zip([*single.dealt], [*matrices.dealt], strict=True):
        assert np.array_equal(one, other)
    for sent, same in zip(single.messages, matrices.messages, strict=True):
        assert (sent.sender, sent.tag) == (same.sender, same.tag)
        assert np.array_equal(sent.arrays[-1], same.arrays[-1])


SHAPED = ("input0", "input1", "other0", "other1", "mask0", "mask1", "c0")
