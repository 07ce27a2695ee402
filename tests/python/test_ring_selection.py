"""The kernels around the compare of a ReLU against plain Python, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layouts import draw, from_thirds, thirds_of
from numpy.typing import NDArray
from syfr.ring.selection import add_selected, deal_selection, masked_quotient, opened_sum

Array = NDArray[Any]


@pytest.mark.parametrize(("fraction_bits", "value_bits"), [(1, 3), (2, 5), (14, 42), (14, 40), (18, 46), (1, 29)])
def test_quotients_are_reduced_shifted_and_masked(fraction_bits: int, value_bits: int) -> None:
    kappa = value_bits - fraction_bits
    z = np.random.default_rng(10).integers(0, 2**64, (3, 500), np.uint64)
    z[0, :4] = 0, 2**64 - 1, 2**value_bits - 1, 2**value_bits
    mask = draw(11, 0, 1 << kappa, (3, 500), "uint32")
    found = masked_quotient(z, mask, fraction_bits, value_bits)
    assert found.dtype == np.uint32
    for value, r, got in zip(z.reshape(-1).tolist(), mask.reshape(-1).tolist(), found.reshape(-1), strict=True):
        assert got == ((value % 2**value_bits >> fraction_bits) + r) % 2**kappa


@pytest.mark.parametrize("bits", [2, 3, 28])
def test_what_is_opened_is_the_sum_with_and_without_its_top_bit(bits: int) -> None:
    mine, theirs = (np.random.default_rng(seed).integers(0, 2**32, (3, 70), np.uint32) for seed in (17, 18))
    opened, below_top = opened_sum(mine, theirs, bits)
    total = (mine.astype(np.uint64) + theirs) % np.uint64(1 << bits)
    assert np.array_equal(opened, total)
    assert np.array_equal(below_top, total % np.uint64(1 << (bits - 1)))


@pytest.mark.parametrize("bits", [2, 3, 28])
def test_the_selected_share_is_the_formula(bits: int) -> None:
    shape = (2, 400)
    opened = draw(12, 0, 1 << bits, shape, "uint32")
    answer, flip = draw(13, 0, 2, shape, "uint8"), draw(14, 0, 2, shape, "uint8")
    dealt = np.random.default_rng(15).integers(0, 2**48, (2, 5, 400), np.uint64)
    onto = np.random.default_rng(16).integers(0, 2**64, shape, np.uint64)
    for first in (True, False):
        out = onto.copy()
        assert add_selected(opened, answer, flip, thirds_of(dealt), first, bits, out) is out
        for row, i in np.ndindex(*shape):
            c = int(opened[row, i])
            p, r, tau, tau_r, tau_p = (int(dealt[row, k, i]) for k in range(5))
            top = c >> (bits - 1)
            lift = (1 << bits) * (1 - top)
            a = 1 ^ top ^ int(flip[row, i]) ^ int(answer[row, i])
            # The public C is added by one of the two; C·tau is a product with a share and is added by both.
            value = (c if first else 0) + lift * p - r
            y = a * value + (1 - 2 * a) * (c * tau + lift * tau_p - tau_r)
            assert int(out[row, i]) == (int(onto[row, i]) + y) % 2**64


@pytest.mark.parametrize("bits", [2, 3, 28])
def test_the_shares_of_what_is_selected_from_sum_to_it(bits: int) -> None:
    shape = (3, 70)
    masks, tau = draw(19, 0, 1 << bits, shape, "uint32"), draw(20, 0, 2, shape, "uint8")
    first = draw(21, 0, 2**16, (3, 3, 5, 70), "uint16")
    second = deal_selection(masks, tau, bits, first.copy())
    total = (from_thirds(first) + from_thirds(second)) % np.uint64(2**48)
    r, t = masks.astype(np.uint64), tau.astype(np.uint64)
    p = r >> np.uint64(bits - 1)
    assert np.array_equal(total, np.stack([p, r, t, t * r, t * p], axis=1))
