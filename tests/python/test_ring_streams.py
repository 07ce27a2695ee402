"""Random streams: the cipher is the standard's, draws are exactly uniform, and no byte serves twice."""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.ring import streams
from syfr.ring.streams import CHUNK, KeyStream, derive_key, fresh_key
from views import SUSPICIOUS, looks_uniform, uniformity

KEY = bytes(range(16))
Bytes = NDArray[np.uint8]


class Recorded(KeyStream):
    """Keeps every byte that the cipher gave."""

    def __init__(self, key: bytes, nonce: bytes = bytes(8), start: int = 0) -> None:
        super().__init__(key, nonce, start)
        self.taken: list[Bytes] = []

    def take(self, count: int) -> Bytes:
        found = super().take(count)
        self.taken.append(found.copy())
        return found


class Fed(KeyStream):
    """Hands out given bytes instead of the cipher's."""

    def __init__(self, given: Bytes) -> None:
        super().__init__(KEY)
        self._given = given

    def take(self, count: int) -> Bytes:
        found = self._given[self.bytes_used : self.bytes_used + count].copy()
        assert found.size == count, "the test fed too few bytes"
        self.bytes_used += count
        return found


def test_the_stream_is_aes_in_counter_mode_as_in_nist_sp_800_38a() -> None:
    # F.5.1, CTR-AES128.Encrypt: output blocks are plaintext xor ciphertext.
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172a" "ae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52ef" "f69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = bytes.fromhex(
        "874d6191b620e3261bef6864990db6ce" "9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab" "1e031dda2fbe03d1792170a0f3009cee"
    )
    stream = KeyStream(key, counter[:8], int.from_bytes(counter[8:], "big"))
    assert stream.take(64).tobytes() == bytes(a ^ b for a, b in zip(plain, cipher, strict=True))


def test_a_stream_read_in_pieces_is_the_same_stream() -> None:
    whole = KeyStream(KEY).take(300_000)
    pieces = KeyStream(KEY)
    lengths = [0, 1, 15, 16, 17, 64, 4_095, 100_000]
    assert np.array_equal(np.concatenate([pieces.take(length) for length in lengths]), whole[: sum(lengths)])
    assert pieces.bytes_used == sum(lengths)


def test_a_stream_is_whole_whatever_another_thread_draws_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the cipher would not fill is memory that anything may stand in, and no mask.
    expected = KeyStream(KEY).take(5_000)
    monkeypatch.setattr(streams, "_ZEROS", bytes(16))

    def between_lines(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_name != "_zeros":
            return None
        monkeypatch.setattr(streams, "_ZEROS", bytes(16))
        return between_lines

    stream, before = KeyStream(KEY), sys.gettrace()
    sys.settrace(between_lines)
    try:
        found = stream.take(5_000)
    finally:
        sys.settrace(before)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("start", [1, 2, 255, 256, 1_000])
def test_a_stream_from_a_later_block_is_the_middle_of_the_stream(start: int) -> None:
    assert np.array_equal(KeyStream(KEY, start=start).take(80), KeyStream(KEY).take(16 * start + 80)[16 * start :])


def test_the_counter_of_a_stream_does_not_overflow_into_its_nonce() -> None:
    assert KeyStream(KEY, start=2**64 - 1).take(16).size == 16
    with pytest.raises(OverflowError):
        KeyStream(KEY, start=2**64)


@pytest.mark.parametrize(("key", "nonce"), [(bytes(15), bytes(8)), (bytes(32), bytes(8)), (KEY, bytes(7)), (KEY, b"")])
def test_keys_and_nonces_of_other_lengths_are_refused(key: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes and a nonce of 8"):
        KeyStream(key, nonce)


def test_other_keys_and_nonces_give_other_streams() -> None:
    streams_seen = [
        KeyStream(key, nonce).take(64).tobytes()
        for key in (KEY, bytes(16))
        for nonce in (bytes(8), bytes(7) + b"\1", b"\1" + bytes(7))
    ]
    assert len(set(streams_seen)) == 6


def test_no_byte_is_handed_out_twice() -> None:
    stream = Recorded(KEY)
    stream.elements("a", (3, 5))
    stream.integers("b", (7,), 28)
    stream.below("c", (1_000,), 11)
    stream.below("d", (999,), 129)
    stream.elements("e", (2,))
    taken = np.concatenate(stream.taken)
    assert np.array_equal(taken, KeyStream(KEY).take(taken.size))
    assert stream.bytes_used == taken.size


def test_elements_are_eight_bytes_each_and_integers_the_top_bits_of_four() -> None:
    raw = KeyStream(KEY).take(240).tobytes()
    assert KeyStream(KEY).elements("x", (5, 6)).tobytes() == raw
    words = np.frombuffer(raw, np.uint32).astype(np.uint64)
    for bits in (1, 3, 28, 31, 32):
        drawn = KeyStream(KEY).integers("x", (6, 10), bits)
        assert drawn.shape == (6, 10)
        assert np.array_equal(drawn.reshape(-1), words >> np.uint64(32 - bits))


@pytest.mark.parametrize(("bound", "start"), [(2, 0), (5, 0), (7, 0), (9, 0), (10, 1), (11, 0), (129, 0), (255, 1)])
def test_small_integers_are_exactly_uniform_over_all_words(bound: int, start: int) -> None:
    # Each of the 65536 words once: the accepted ones fall on each pair equally often, the others are replaced.
    accepted = 65536 // bound**2 * bound**2
    spare = np.zeros(2 * (65536 - accepted) + 8)
    stream = Fed(np.concatenate([np.arange(65536), spare]).astype(np.uint16).view(np.uint8))
    first, second = stream.below("x", (2 * 65536,), bound, start).reshape(2, -1).astype(int) - start
    counts = np.bincount(first[:accepted] * bound + second[:accepted])
    assert np.array_equal(counts, np.full(bound**2, accepted // bound**2))
    assert not first[accepted:].any(), "the replacements are spare words, which are zero here"
    assert not second[accepted:].any()


def test_rejection_goes_on_until_a_word_is_accepted() -> None:
    # bound 11 accepts below 65461: two words of three rejected, then 12 spare words of which one serves, then 10 more.
    spare = [65535] * 11 + [12] + [65461] * 8 + [24, 13]
    stream = Fed(np.array([65461, 1, 65535, *spare], np.uint16).view(np.uint8))
    assert stream.below("x", (6,), 11).tolist() == [1, 1, 2, 1, 0, 2]
    assert stream.bytes_used == 2 * (3 + 12 + 10)


def test_an_odd_number_of_integers_uses_a_whole_word() -> None:
    stream = KeyStream(KEY)
    assert stream.below("x", (5,), 16).shape == (5,)
    assert stream.bytes_used == 6


def test_many_integers_are_drawn_as_so_many_draws_one_after_the_other() -> None:
    together, apart = KeyStream(KEY), KeyStream(KEY)
    sizes = [CHUNK, CHUNK, 7]
    found = together.below("x", (sum(sizes),), 11, 2)
    assert np.array_equal(found, np.concatenate([apart.below("x", (size,), 11, 2) for size in sizes]))
    assert together.bytes_used == apart.bytes_used


def test_rejection_happens_at_the_rate_of_the_bound() -> None:
    size = 100_000
    unneeded, needed = KeyStream(KEY), KeyStream(KEY)
    unneeded.below("x", (size,), 16)
    needed.below("x", (size,), 129)
    assert unneeded.bytes_used == size
    # 15613 of 65536 words are rejected, and two spare words are taken for each.
    assert 1.46 * size < needed.bytes_used < 1.50 * size


@pytest.mark.parametrize("bound", [2, 3, 9, 10, 11, 100, 129, 200, 251, 256])
def test_small_integers_look_uniform(bound: int) -> None:
    assert looks_uniform(KeyStream(KEY, bytes(7) + b"\2").below("x", (200_000,), bound), bound)


def test_the_test_of_uniformity_sees_a_modulo_bias() -> None:
    raw = KeyStream(KEY).take(1_000_000)
    assert uniformity(raw % 11, 11) > SUSPICIOUS


def test_all_bytes_of_elements_and_all_bits_of_integers_look_uniform() -> None:
    stream = KeyStream(KEY, bytes(7) + b"\3")
    parts = stream.elements("x", (100_000,)).view(np.uint8).reshape(-1, 8)
    assert all(looks_uniform(parts[:, place], 256) for place in range(8))
    words = stream.integers("x", (100_000,), 28)
    assert all(looks_uniform(words >> np.uint32(shift) & np.uint32(15), 16) for shift in range(0, 28, 4))


def test_keys_come_fresh_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fresh_key() != fresh_key()
    monkeypatch.setattr(os, "urandom", lambda count: bytes([7] * count))
    assert fresh_key() == bytes([7] * 16)


def test_a_derived_key_is_hkdf_and_depends_on_secret_and_purpose() -> None:
    # RFC 5869 with SHA-256, no salt: T(1) = HMAC(HMAC(0, secret), info || 1).
    extracted = hmac.new(bytes(32), KEY, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"syfr 1 session\1", hashlib.sha256).digest()
    assert derive_key(KEY, b"session") == expanded[:16]
    assert len({derive_key(key, use) for key in (KEY, bytes(16)) for use in (b"", b"a", b"b")}) == 6


def test_a_stream_does_not_show_its_key() -> None:
    shown = repr(KeyStream(KEY))
    assert "REDACTED" in shown
    assert KEY.hex() not in shown
