"""The kernels around the compare of a ReLU against plain Python, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layouts import draw, from_thirds, octets_of, thirds_of
from numpy.typing import NDArray
from syfr.ring.packing import from_octets, octets_above
from syfr.ring.selection import add_selected, deal_selection, masked_quotient, opened_sum, summed_parts

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


@pytest.mark.parametrize("bits", [2, 3, 23, 24, 28])
def test_the_selected_share_is_the_formula(bits: int) -> None:
    shape = (2, 2100)
    opened = draw(12, 0, 1 << bits, shape, "uint32")
    answer, flip = draw(13, 0, 2, shape, "uint8"), draw(14, 0, 2, shape, "uint8")
    mask = draw(22, 0, 1 << bits, shape, "uint32")
    whole = np.random.default_rng(15).integers(0, 2**48, (2, 2, 2100), np.uint64)
    lifted = np.random.default_rng(23).integers(0, 2 ** (48 - bits), (2, 3, 2100), np.uint64)
    octets = octets_of(lifted, octets_above(bits))
    onto = np.random.default_rng(16).integers(0, 2**64, shape, np.uint64)
    for first in (True, False):
        out = onto.copy()
        assert add_selected(opened, answer, flip, mask, thirds_of(whole), octets, first, bits, out) is out
        for row, i in np.ndindex(*shape):
            c = int(opened[row, i])
            tau, tau_r = (int(whole[row, k, i]) for k in range(2))
            p, wrap, tau_p = (int(lifted[row, k, i]) for k in range(3))
            r = int(mask[row, i]) - (wrap << bits)
            top = c >> (bits - 1)
            lift = (1 << bits) * (1 - top)
            a = 1 ^ top ^ int(flip[row, i]) ^ int(answer[row, i])
            # The public C is added by one of the two; C·tau is a product with a share and is added by both.
            value = (c if first else 0) + lift * p - r
            y = a * value + (1 - 2 * a) * (c * tau + lift * tau_p - tau_r)
            assert (int(out[row, i]) - int(onto[row, i]) - y) % 2**48 == 0


@pytest.mark.parametrize("bits", [2, 3, 23, 24, 28])
def test_the_shares_of_what_is_selected_from_sum_to_it(bits: int) -> None:
    shape = (3, 2100)
    masks, tau = draw(19, 0, 1 << bits, shape, "uint32"), draw(20, 0, 2, shape, "uint8")
    wraps, count = draw(24, 0, 2, shape, "uint8"), octets_above(bits)
    whole, lifted = draw(21, 0, 2**16, (3, 3, 2, 2100), "uint16"), draw(25, 0, 256, (3, count, 3, 2100), "uint8")
    others = deal_selection(masks, wraps, tau, bits, whole.copy(), lifted.copy())
    r, t, w = (array.astype(np.uint64) for array in (masks, tau, wraps))
    p = r >> np.uint64(bits - 1)
    total = (from_thirds(whole) + from_thirds(others[0])) % np.uint64(2**48)
    assert np.array_equal(total, np.stack([t, t * r], axis=1))
    total = (from_octets(lifted) + from_octets(others[1])) % np.uint64(1 << 8 * count)
    assert np.array_equal(total, np.stack([p, w, t * p], axis=1))


@pytest.mark.parametrize("bits", [2, 28, 32])
def test_the_parts_of_an_answer_are_added_and_read_signed(bits: int) -> None:
    parts = [np.random.default_rng(seed).integers(0, 1 << bits, (3, 70), np.uint32) for seed in (26, 27)]
    total = (parts[0].astype(np.int64) + parts[1]) % (1 << bits)
    total[total >= 1 << (bits - 1)] -= 1 << bits
    assert np.array_equal(summed_parts(*parts, bits, 0.25), total / 4)
