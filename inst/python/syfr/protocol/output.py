"""The last layer: truncated additive shares go to the client, who adds them; no worker sees the sum.

Each of server0 and server1 adds its half of a sharing of zero to its share of z + 2^s - 1, reduces it modulo 2^k and
shifts it right by s, as far as the answer's digits reach. The client adds both modulo 2^(k - s) and reads the sum
signed: the modulus shrinks with the shift, so a wrap of 2^k becomes one of 2^(k - s) and no large error is possible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.program import Program
from syfr.protocol.channel import Channel
from syfr.protocol.cost import Cost
from syfr.protocol.roles import Role
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.fixedpoint import Precision, Words
from syfr.ring.selection import masked_quotient, summed_parts
from syfr.ring.streams import Source

Packed = NDArray[np.uint32]


def agreement() -> Cost:
    """Of the comparison of hashes, in a program whose servers have exchanged nothing before its output."""
    return Cost(delays=1, online_bytes=2 * DIGEST_BYTES)


def prepare(shape: tuple[int, ...], role: Role, with_partner: Source) -> Words:
    """This server's half of a sharing of zero."""
    zero = with_partner.elements("zero", shape)
    return zero if role is Role.SERVER0 else np.uint64(0) - zero


async def online(
    channel: Channel, transcript: Transcript, number: int, precision: Precision, zero: Words, z: Words
) -> Packed:
    """This server's part of the answer, once both servers have agreed on the input.

    ``precision`` takes as many bits off as the answer shall not show: s is its fraction_bits, k its value_bits.
    """
    await transcript.agree(channel, (number, "agree"))
    nothing = np.zeros(z.shape, np.uint32)
    return masked_quotient(z + zero, nothing, precision.fraction_bits, precision.value_bits)


def combine(first: Packed, second: Packed, program: Program) -> NDArray[np.float64]:
    """The client's side: the output as real numbers."""
    return summed_parts(first, second, program.output_bits, 2.0**-program.output_digits)
