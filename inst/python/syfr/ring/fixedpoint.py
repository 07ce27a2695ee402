"""Fixed point in the ring of integers modulo 2^64, two's complement.

A real number v is held as round(v * 2^f). A product of two such numbers has 2f fractional bits; before it is
truncated back to f it must fit ``k`` bits, sign included (the largest is then below 2^(k - 1 - 2f)). After
truncation kappa = k - f bits are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError

Words = NDArray[np.uint64]
Packed = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

WIRE_BYTES = 6
"""Bytes of a ring element on the wire; 48 bits are enough while k + 2 <= 48."""

DIGITS = 6
"""A compare works on six digits. With d of them a server sends the dealer d·d bits a value, and the dealer deals as
many bits as all digits have values: fewer digits cost preprocessing, more cost online bytes."""

MAX_COMPARED_BITS = 27
"""Then no digit has more than five bits."""


@dataclass(frozen=True)
class Precision:
    """The number format of a Program.

    Attributes:
        fraction_bits: f, the bits behind the point.
        value_bits: k, the bits of a product before truncation, sign included.
        digits: of the compare.
    """

    fraction_bits: int = 14
    value_bits: int = 42
    digits: int = DIGITS

    @property
    def truncated_bits(self) -> int:
        """kappa = k - f, the bits of a value after truncation."""
        return self.value_bits - self.fraction_bits

    @property
    def compared_bits(self) -> int:
        """kappa - 1, the bits of a value after truncation without its sign, which a compare works on."""
        return self.truncated_bits - 1

    @property
    def largest(self) -> float:
        """A real number before truncation must stay below this in magnitude."""
        return (2.0 ** (self.value_bits - 1) - 2.0**self.fraction_bits) / 4.0**self.fraction_bits

    @property
    def spare_bits(self) -> int:
        """Bits that a product may take off besides f, for its ring elements to fit the wire still."""
        return max(0, 8 * WIRE_BYTES - 2 - self.value_bits)

    def taking_off(self, bits: int) -> Precision:
        """The format for truncating a value with f + ``bits`` fraction bits to f: as many more above the point."""
        return replace(self, fraction_bits=bits, value_bits=self.truncated_bits + bits)

    def check(self) -> None:
        """Raise ProtocolError for a format that the kernels do not support."""
        f, k = self.fraction_bits, self.value_bits
        sound = 1 <= f < k and k + 2 <= 8 * WIRE_BYTES and 2 <= self.truncated_bits <= 28
        if not sound or self.digits != DIGITS:
            raise ProtocolError(f"The number format with f = {f} and k = {k} is not supported; use 14 and 42.")

    def encode(self, values: NDArray[np.float64], scale: int = 1) -> Words:
        """Real numbers as ring elements with ``scale * f`` fractional bits, rounded to nearest."""
        scaled = np.rint(np.asarray(values, np.float64) * 2.0 ** (scale * self.fraction_bits))
        return np.ascontiguousarray(scaled.astype(np.int64).view(np.uint64))

    def decode(self, elements: Words, scale: int = 1) -> NDArray[np.float64]:
        """Ring elements with ``scale * f`` fractional bits as real numbers."""
        return elements.view(np.int64).astype(np.float64) / 2.0 ** (scale * self.fraction_bits)


def top_and_rest(numbers: Packed, bits: int) -> tuple[Bytes, Packed]:
    """Of whole numbers of so many bits the top bit, and what is below it."""
    return (numbers >> np.uint32(bits - 1)).astype(np.uint8), numbers & np.uint32((1 << (bits - 1)) - 1)


def rounded(values: NDArray[np.float64], bits: int, places: int = 1) -> NDArray[np.float64]:
    """Multiples of 2^-bits close to ``values``, whose first axes are ``places`` along which errors cancel.

    What is left over at one place is added at the next, so that sums over the places are off by half a unit and not by
    half a unit each. Weights that many neighbouring numbers share, as in a mean, would otherwise all err the same way.
    """
    unit = 2.0**-bits
    if places == 1:
        return np.asarray(np.rint(values / unit) * unit)
    wanted = values.reshape(places, -1) / unit
    found = np.empty_like(wanted)
    left = np.zeros(wanted.shape[1])
    for place in range(places):
        left += wanted[place]
        found[place] = np.rint(left)
        left -= found[place]
    return np.asarray((found * unit).reshape(values.shape))
