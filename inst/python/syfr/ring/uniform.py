"""Compiled kernels that turn uniform 16-bit words into pairs of integers below a small bound, exactly uniform.

A word below the largest multiple of bound^2 gives two independent integers, its last two digits in that base. The
others are rejected and replaced by the next accepted spare word. Two digits a word make rejections rare (0.02 % for 6,
3 % for 63), so that where they are rarest one vectorised look tells of most blocks that they have none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled

Bytes = NDArray[np.uint8]
Pairs = NDArray[np.uint16]
Places = NDArray[np.int64]

_BLOCK = 64


@compiled("int64(uint16[::1], uint16, int64[::1])")
def _find_above(words: Pairs, largest: int, found: Places) -> int:
    count = 0
    whole = words.size // _BLOCK * _BLOCK
    for block in range(0, whole, _BLOCK):
        over = np.uint8(0)
        for i in range(_BLOCK):
            over |= np.uint8(words[block + i] > largest)
        if over:
            for i in range(block, block + _BLOCK):
                if words[i] > largest:
                    found[count] = i
                    count += 1
    for i in range(whole, words.size):
        if words[i] > largest:
            found[count] = i
            count += 1
    return count


@compiled("int64(uint16[::1], int64[::1], uint16[::1], uint16)")
def _replace(words: Pairs, rejected: Places, spare: Pairs, largest: int) -> int:
    filled = 0
    for i in range(spare.size):
        if filled == rejected.size:
            break
        if spare[i] <= largest:
            words[rejected[filled]] = spare[i]
            filled += 1
    return filled


@compiled("void(uint16[::1], uint32, uint32, uint8[::1], uint8[::1])")
def _split(words: Pairs, bound: int, start: int, first: Bytes, second: Bytes) -> None:
    # floor(w / b) = (w * (floor(2^32 / b) + 1)) >> 32 for w < 2^16, b <= 2^8 (Granlund and Montgomery, PLDI 1994).
    magic = np.uint64((np.uint64(1) << np.uint64(32)) // np.uint64(bound) + np.uint64(1))
    for i in range(second.size):
        word = np.uint32(words[i])
        high = np.uint32((np.uint64(word) * magic) >> np.uint64(32))
        rest = np.uint32((np.uint64(high) * magic) >> np.uint64(32))
        first[i] = np.uint8(word - high * bound + start)
        second[i] = np.uint8(high - rest * bound + start)


def largest_accepted(bound: int) -> int:
    """Words up to this one are accepted: a whole number of squares of ``bound``, which is at most 256."""
    return 65536 // bound**2 * bound**2 - 1


def find_rejected(words: Pairs, bound: int) -> Places:
    """The places of words that need another one."""
    found = np.empty(words.size if 65536 % bound**2 else 0, np.int64)
    return found[: int(_find_above(words, largest_accepted(bound), found))] if found.size else found


def replace_rejected(words: Pairs, rejected: Places, spare: Pairs, bound: int) -> Places:
    """Fill the rejected places of ``words``; returns those for which the spare words did not last."""
    return rejected[int(_replace(words, rejected, spare, largest_accepted(bound))) :]


def split_pairs(words: Pairs, bound: int, start: int, out: Bytes) -> None:
    """Two integers from ``start`` to ``start + bound - 1`` of each accepted word: all first ones, then all second.

    ``out`` has two places a word, or one less: then the last word gives its first alone.
    """
    _split(words, bound, start, out[: words.size], out[words.size :])
    if out.size < 2 * words.size:
        out[words.size - 1] = int(words[-1]) % bound + start
