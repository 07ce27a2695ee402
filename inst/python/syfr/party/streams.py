"""Which random stream an operation draws from: one for each pair of workers, session, block, step and purpose.

Two workers that agreed on a key when their link was set up expand it alike and send nothing. A session's key is derived
from the pair's; the nonce of a stream names block, step and purpose, so no two streams of a key are the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from syfr.protocol.roles import Role
from syfr.ring.streams import KeyStream, derive_key, fresh_key

PURPOSES = ("mask", "linear", "after", "bits")
"""lambda' of a step's result; c0 of its product; what follows the product (truncation, ReLU, output); signs."""


class PairKeys:
    """The keys that a party has in common with each peer, for one session of a client."""

    def __init__(self, pair_keys: Mapping[Role, bytes], session: bytes) -> None:
        self._keys = {peer: derive_key(key, b"session" + session) for peer, key in pair_keys.items()}
        self._session = session

    def __repr__(self) -> str:
        return "PairKeys(<REDACTED>)"

    def block(self, block: int) -> BlockStreams:
        """The streams of one block of rows."""
        return BlockStreams(self._keys, block)

    def transcript_key(self, partner: Role, start: int) -> bytes:
        """The key of the running hash of the query whose first row is ``start``."""
        return derive_key(self._keys[partner], b"transcript" + start.to_bytes(8, "big"))


class BlockStreams:
    """The streams of one block of rows."""

    def __init__(self, keys: Mapping[Role, bytes], block: int) -> None:
        self._keys = keys
        self._block = block

    def common(self, peer: Role, number: int, purpose: str) -> KeyStream:
        """The stream in common with ``peer``; each is asked for once a block, on either side."""
        place = self._block.to_bytes(4, "big") + number.to_bytes(3, "big")
        return KeyStream(self._keys[peer], place + bytes([PURPOSES.index(purpose)]))

    def own(self) -> KeyStream:
        """A stream under a key of its own."""
        return KeyStream(fresh_key())
