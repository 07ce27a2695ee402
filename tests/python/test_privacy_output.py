"""The output tells the client the rounded result and no more, and the two servers nothing.

The client's view is the pair of parts. For every share of z that server0 may hold, over all sharings of zero, the
pair must be what one could make up from the rounded result alone: a uniform first part, independent of the rounding,
and a second that completes it. That it holds for each share apart covers a client who was told the dealer's secrets.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from harness import drive, run_output, transcript
from numpy.typing import NDArray
from syfr.program import Program
from syfr.protocol import output
from syfr.protocol.roles import Role
from syfr.ring.fixedpoint import Precision

Array = NDArray[Any]
FORMATS = [Precision(1, 3, 1), Precision(2, 5, 2), Precision(3, 6, 1)]


def parts(precision: Precision, z: int, z0: int, zero: Array) -> tuple[Array, Array]:
    """Both parts for many sharings of zero."""
    total = z + (1 << precision.fraction_bits) - 1
    first = np.full(zero.shape, z0 % 2**64, np.uint64)
    return run_output(precision, first, np.uint64(total % 2**64) - first, zero.astype(np.uint64))


def shares_of(precision: Precision) -> range:
    """Every residue of a share modulo 2^k."""
    return range(1 << precision.value_bits)


def legal(precision: Precision) -> range:
    """Every z that an output may meet."""
    half = 1 << (precision.value_bits - 1)
    return range(-half, half - (1 << precision.fraction_bits) + 1)


def simulated(precision: Precision, z: int) -> Array:
    """How often each pair of parts must occur, from floor and ceil of z / 2^f and their probabilities alone."""
    f, outcomes = precision.fraction_bits, 1 << precision.truncated_bits
    counts = np.zeros((outcomes, outcomes), np.int64)
    up = z % (1 << f)
    for rounded, times in ((z >> f, (1 << f) - up), ((z >> f) + 1, up)):
        for first in range(outcomes):
            counts[first, (rounded - first) % outcomes] += times
    return counts


def counted(precision: Precision, z: int, z0: int, zero: Array) -> Array:
    """How often each pair of parts occurs."""
    outcomes = 1 << precision.truncated_bits
    first, second = parts(precision, z, z0, zero[None])
    assert max(int(first.max()), int(second.max())) < outcomes
    pairs = first.reshape(-1).astype(np.int64) * outcomes + second.reshape(-1)
    return np.bincount(pairs, minlength=outcomes**2).reshape(outcomes, outcomes)


@pytest.mark.parametrize("precision", FORMATS, ids=str)
def test_the_clients_view_follows_from_the_rounded_result_alone(precision: Precision) -> None:
    zero = np.arange(1 << precision.value_bits)
    for z, z0 in itertools.product(legal(precision), shares_of(precision)):
        assert np.array_equal(counted(precision, z, z0, zero), simulated(precision, z)), (z, z0)


@pytest.mark.parametrize("precision", FORMATS, ids=str)
def test_without_the_sharing_of_zero_the_parts_show_the_servers_shares(precision: Precision) -> None:
    nothing = np.zeros(1 << precision.value_bits, np.int64)
    assert not np.array_equal(counted(precision, 1, 3, nothing), simulated(precision, 1))
    assert not np.array_equal(counted(precision, 1, 0, nothing), counted(precision, 1, 1 << 2, nothing))


def test_the_client_reads_floor_or_ceil_of_the_result() -> None:
    for precision in (*FORMATS, Precision()):
        rng = np.random.default_rng(19)
        k, f = precision.value_bits, precision.fraction_bits
        z = rng.integers(-(1 << (k - 1)), (1 << (k - 1)) - (1 << f), 2_000, endpoint=True)
        z[:3] = 0, -(1 << (k - 1)), (1 << (k - 1)) - (1 << f)
        z0 = rng.integers(0, 2**64, z.size, np.uint64)
        zero = rng.integers(0, 2**64, z.size, np.uint64)
        first, second = run_output(precision, z0, z.astype(np.uint64) + np.uint64((1 << f) - 1) - z0, zero)
        units = output.combine(first, second, Program((1,), (), precision)) * 2.0**f
        assert np.array_equal(units, np.rint(units))
        assert (np.abs(units - z / 2.0**f) < 1).all()


def test_nothing_but_the_running_hash_passes_between_the_servers() -> None:
    precision, z = Precision(), np.zeros((1, 4), np.uint64)
    works = {
        role: lambda channel: output.online(channel, transcript(), 0, precision, z, z)
        for role in (Role.SERVER0, Role.SERVER1)
    }
    _, record = drive(works)
    assert [(sent.tag, [array.nbytes for array in sent.arrays]) for sent in record] == [((0, "agree"), [16])] * 2
