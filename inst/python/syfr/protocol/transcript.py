"""The running hash of what server0 and server1 should both know.

A client that gives them different inputs, or a worker that opens different values to them, would have them compute
on unequal numbers, which tells about weights. So each message between the two carries 16 bytes over all that was
common before it, and a difference ends the query before anything goes further. The hash is a chain of GMAC tags
under a key that only these two have (NIST SP 800-38D: a universal hash, at the speed of the AES unit); a client or the
dealer, who do not have the key, can find no collision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from syfr.errors import ProtocolError
from syfr.protocol.channel import Array, Channel, Like, Tag

DIGEST_BYTES = 16


class Transcript:
    """The chain for one query. ``key`` serves this query only; ``opening`` names it: session, program, rows.

    Steps that run at the same time have a chain each, which begins with those of the values that it reads: what one
    of them compares covers all that led to it, in whatever order messages arrive.

    Attributes:
        compared: whether a partner's hash was found equal here or in a chain before.
    """

    def __init__(self, key: bytes, opening: bytes) -> None:
        self._start(AESGCM(key), 0)
        self._chain(opening)

    def _start(self, gmac: AESGCM, number: int) -> None:
        self._gmac = gmac
        self._number = number.to_bytes(4, "big")
        self._count = 0
        self._digest = bytes(DIGEST_BYTES)
        self.compared = False

    @classmethod
    def following(cls, number: int, before: Sequence[Transcript]) -> Transcript:
        """The chain of step ``number``, counted from 1, after those of the values that it reads."""
        chain = cls.__new__(cls)
        chain._start(before[0]._gmac, number)
        chain._chain(b"".join(one._digest for one in before))
        chain.compared = any(one.compared for one in before)
        return chain

    def __repr__(self) -> str:
        return "Transcript(<REDACTED>)"

    def join(self, others: Sequence[Transcript]) -> None:
        """Add the ends of other chains."""
        self._chain(b"".join(other._digest for other in others))

    def absorb(self, known: Array) -> None:
        """Add an array that both must hold alike."""
        self._chain(np.ascontiguousarray(known).reshape(-1).view(np.uint8).data)

    def _chain(self, data: bytes | memoryview) -> None:
        nonce = self._number + self._count.to_bytes(8, "big")
        self._count += 1
        self._digest = self._gmac.encrypt(nonce, self._digest, data)[-DIGEST_BYTES:]

    @property
    def digest(self) -> NDArray[np.uint8]:
        """The hash so far."""
        return np.frombuffer(self._digest, np.uint8)

    async def swap(self, channel: Channel, tag: Tag, mine: Array) -> Array:
        """Send ``mine`` to the partner, return what it sent under the same name, once both hashes agree."""
        partner = channel.role.partner
        channel.send(partner, tag, self.digest, mine)
        digest, theirs = await channel.receive(partner, tag, DIGEST, Like.of(mine))
        self.require(digest)
        return theirs

    async def agree(self, channel: Channel, tag: Tag) -> None:
        """Compare hashes with the partner when no swap has done so yet."""
        if not self.compared:
            partner = channel.role.partner
            channel.send(partner, tag, self.digest)
            (digest,) = await channel.receive(partner, tag, DIGEST)
            self.require(digest)

    def require(self, digest: Array) -> None:
        """Raise ProtocolError unless the partner's hash is this one."""
        if digest.tobytes() != self._digest:
            raise ProtocolError(
                "server0 and server1 hold different inputs for this query; it has ended and nothing was released. "
                "The client must send the same masked input to both."
            )
        self.compared = True


DIGEST = Like("uint8", (DIGEST_BYTES,))


def seal(transcripts: Sequence[Transcript]) -> bytes:
    """What server0 and server1 send with their parts of an answer: the client compares the two.

    So the last values that they opened, which no later message between them covers, are compared too. A hash of the
    tags tells the client nothing: their key is not known to it.
    """
    total = hashlib.sha256(b"syfr seal 1")
    for transcript in transcripts:
        total.update(transcript.digest.tobytes())
    return total.digest()[:DIGEST_BYTES]
