"""Words to pairs of integers below a bound: the compiled kernels against NumPy, for every bound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.ring.uniform import find_rejected, largest_accepted, replace_rejected, split_pairs

BOUNDS = range(1, 257)
WORDS = np.random.default_rng(1).integers(0, 65536, 1_237).astype(np.uint16)
ALL = np.arange(65536, dtype=np.uint16)


def pairs_of(words: NDArray[np.uint16], bound: int, start: int) -> NDArray[np.uint8]:
    """Both integers of each word: all first ones, then all second."""
    out = np.empty(2 * words.size, np.uint8)
    split_pairs(words, bound, start, out)
    return out


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1_237])
def test_words_above_the_limit_are_reported(size: int) -> None:
    for bound in BOUNDS:
        words = WORDS[:size].copy()
        assert find_rejected(words, bound).tolist() == np.flatnonzero(words > largest_accepted(bound)).tolist()
        assert np.array_equal(words, WORDS[:size])


@pytest.mark.parametrize("size", [0, 1, 7, 1_237])
def test_a_word_is_split_into_its_last_two_digits(size: int) -> None:
    for bound in BOUNDS:
        for start in {0, min(1, 256 - bound), 256 - bound}:
            words = WORDS[:size]
            first, second = pairs_of(words, bound, start).reshape(2, -1)
            assert np.array_equal(first, words % bound + start), (bound, start)
            assert np.array_equal(second, words // bound % bound + start), (bound, start)


def test_every_pair_has_as_many_words_as_any_other() -> None:
    for bound in BOUNDS:
        accepted = np.delete(ALL, find_rejected(ALL, bound))
        assert accepted.size == 65536 // bound**2 * bound**2
        first, second = pairs_of(accepted, bound, 0).reshape(2, -1).astype(int)
        counts = np.bincount(first * bound + second, minlength=bound**2)
        assert (counts == 65536 // bound**2).all(), bound


def test_few_words_are_rejected() -> None:
    for bound in (2, 9, 10, 11):
        assert find_rejected(ALL, bound).size < 0.0012 * ALL.size


def test_rejected_places_take_the_next_accepted_spare_words() -> None:
    for bound in BOUNDS:
        accepted = WORDS[largest_accepted(bound) >= WORDS]
        words = np.full(40, 77, np.uint16)
        places = np.arange(1, 40, 3)
        left = replace_rejected(words, places, WORDS, bound)
        assert left.size == 0
        assert np.array_equal(words[places], accepted[: places.size]), bound
        assert (np.delete(words, places) == 77).all()


def test_places_for_which_the_spare_words_do_not_last_are_returned() -> None:
    words = np.zeros(10, np.uint16)
    places = np.array([0, 4, 7, 9])
    left = replace_rejected(words, places, np.array([65535, 3, 65462, 65460, 65461], np.uint16), 11)
    assert left.tolist() == [7, 9]
    assert words.tolist() == [3, 0, 0, 0, 65460, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [1, 2, 64, 1_237])
def test_the_last_word_gives_one_integer_where_one_is_left(size: int) -> None:
    whole, out = pairs_of(WORDS[:size], 11, 3), np.zeros(2 * size - 1, np.uint8)
    split_pairs(WORDS[:size], 11, 3, out)
    assert np.array_equal(out, whole[:-1])
