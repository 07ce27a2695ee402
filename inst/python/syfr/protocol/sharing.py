"""Masked sharing: a secret x is m = x + lambda0 + lambda1 (ASTRA, CCSW 2019, section 3.1, in three parties).

server0 holds m and lambda0, server1 holds m and lambda1, the dealer holds both lambdas. The owner shares weights this
way with masks of the model's own; a client shares its input with masks from two seeds of its session.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.program import Program
from syfr.protocol.roles import Role
from syfr.ring.fixedpoint import Words
from syfr.ring.streams import KEY_BYTES, KeyStream, derive_key, fresh_key
from syfr.steps import Linear

ELEMENT_BYTES = 8
BLOCK_BYTES = 16


@dataclass(frozen=True, repr=False)
class LayerShare:
    """What one server multiplies by in one layer.

    Attributes:
        factor: E - B0 for server0 and -B1 for server1, which meet m online; B0 + B1 for the dealer, which meets lambda.
        masked: E = W + B0 + B1, which meets the server's own lambda in preprocessing; None for the dealer.
        bias: an additive share of the bias at scale 2f; None for the dealer.
    """

    factor: Words
    masked: Words | None = None
    bias: Words | None = None


@dataclass(frozen=True, repr=False)
class ModelShare:
    """What the owner sends to one server.

    Attributes:
        seeds: seed of B0 for server0, of B1 for server1, of both for the dealer.
        masked: E of every linear step, by step number; empty for the dealer.
        biases: the additive share of every bias at scale 2f; empty for the dealer.
    """

    role: Role
    seeds: tuple[bytes, ...]
    masked: Mapping[int, Words]
    biases: Mapping[int, Words]

    @property
    def arrays(self) -> list[Words]:
        """As they are sent: the masked kernel and the bias share of every linear step, in order."""
        return [array for number in sorted(self.masked) for array in (self.masked[number], self.biases[number])]


ModelShares = tuple[ModelShare, ModelShare, ModelShare]
"""For server0, server1 and the dealer."""


def share_weights(
    program: Program, kernels: Mapping[int, NDArray[np.float64]], biases: Mapping[int, NDArray[np.float64]]
) -> ModelShares:
    """Split a model's weights for the three servers, with fresh masks at every call."""
    work = sharing_weights(program, kernels, biases)
    while True:
        try:
            next(work)
        except StopIteration as end:
            shares: ModelShares = end.value
            return shares


def sharing_weights(
    program: Program, kernels: Mapping[int, NDArray[np.float64]], biases: Mapping[int, NDArray[np.float64]]
) -> Generator[None, None, ModelShares]:
    """As :func:`share_weights`, with a pause after every layer, in which whoever waits can be interrupted."""
    seeds = fresh_key(), fresh_key()
    own = KeyStream(fresh_key())
    masked: dict[int, Words] = {}
    bias_shares: tuple[dict[int, Words], dict[int, Words]] = {}, {}
    for number, step in program.linear_steps():
        secret = program.precision.encode(program.round_kernel(step, kernels[number]))
        masked[number] = secret + kernel_mask(seeds[0], number, step) + kernel_mask(seeds[1], number, step)
        bias = program.precision.encode(biases[number], scale=2)
        bias_shares[0][number] = own.elements("bias", bias.shape)
        bias_shares[1][number] = bias - bias_shares[0][number]
        yield
    return (
        ModelShare(Role.SERVER0, seeds[:1], masked, bias_shares[0]),
        ModelShare(Role.SERVER1, seeds[1:], masked, bias_shares[1]),
        ModelShare(Role.SERVER2, seeds, {}, {}),
    )


def kernel_mask(seed: bytes, number: int, step: Linear) -> Words:
    """The mask B_i of one kernel, expanded from the model's seed."""
    return KeyStream(seed, number.to_bytes(8, "big")).elements("kernel", step.kernel)


def layer_shares(program: Program, share: ModelShare) -> dict[int, LayerShare]:
    """What a server multiplies by, by linear step, from what the owner sent it."""
    layers: dict[int, LayerShare] = {}
    for number, step in program.linear_steps():
        mask = kernel_mask(share.seeds[0], number, step)
        if share.role is Role.SERVER2:
            layers[number] = LayerShare(mask + kernel_mask(share.seeds[1], number, step))
            continue
        masked = share.masked[number]
        factor = masked - mask if share.role is Role.SERVER0 else np.uint64(0) - mask
        layers[number] = LayerShare(factor, masked, share.biases[number])
    return lent(program, layers)


def lent(program: Program, layers: Mapping[int, LayerShare]) -> dict[int, LayerShare]:
    """Those of the steps with weights, for the steps too that use the weights of another.

    A weight may be used any number of times under one mask: every use has an input masked anew, and a product hidden
    anew, as every row has.
    """
    steps = enumerate(program.steps)
    return {number: layers[program.weights_of(number)] for number, step in steps if isinstance(step, Linear)}


def digests(program: Program, share: ModelShare) -> dict[str, bytes]:
    """Hashes by which two servers see that the owner gave them the same: "program", "masked", "seed0", "seed1".

    A seed is hashed with the program's digest; its hash goes only to the worker that has the seed too.
    """
    found = {"program": program.digest()}
    names = {Role.SERVER0: ("seed0",), Role.SERVER1: ("seed1",), Role.SERVER2: ("seed0", "seed1")}[share.role]
    for name, seed in zip(names, share.seeds, strict=True):
        found[name] = hashlib.sha256(b"syfr seed" + found["program"] + seed).digest()[:16]
    if share.role is not Role.SERVER2:
        masked = hashlib.sha256(b"syfr masked" + found["program"])
        for number in sorted(share.masked):
            masked.update(np.ascontiguousarray(share.masked[number]).data)
        found["masked"] = masked.digest()[:16]
    return found


class InputMask:
    """The mask lambda_i of the inputs of a client's session, row by row; a row is masked once.

    Every row begins at a block of the stream of its own, so that any range of rows can be made without those before.
    Rows that follow those made last go on in their stream.

    Args:
        seed: the session's seed of this mask.
        shape: of one row.
    """

    def __init__(self, seed: bytes, shape: tuple[int, ...]) -> None:
        self._key, self._shape = derive_key(seed, b"input mask"), shape
        self._size = math.prod(shape)
        self._blocks = -(-self._size * ELEMENT_BYTES // BLOCK_BYTES)
        self._stream: KeyStream | None = None
        self._next = 0

    def __repr__(self) -> str:
        return "InputMask(<REDACTED>)"

    def rows(self, start: int, rows: int) -> Words:
        """The mask of rows ``start`` to ``start + rows - 1``."""
        if self._stream is None or start != self._next:
            self._stream = KeyStream(self._key, start=start * self._blocks)
        self._next = start + rows
        padded = self._stream.elements("input", (rows, self._blocks * BLOCK_BYTES // ELEMENT_BYTES))
        return np.ascontiguousarray(padded[:, : self._size]).reshape(rows, *self._shape)


def input_mask(seed: bytes, start: int, rows: int, shape: tuple[int, ...]) -> Words:
    """The mask of some rows alone."""
    return InputMask(seed, shape).rows(start, rows)


def mask_input(encoded: Words, seeds: tuple[bytes, bytes], start: int) -> Words:
    """The client's m = x + lambda0 + lambda1 for rows from ``start`` on."""
    rows, shape = encoded.shape[0], encoded.shape[1:]
    masks = [input_mask(seed, start, rows, shape) for seed in seeds]
    return encoded + masks[0] + masks[1]


def low_bits(masked: Words, bits: int | None) -> Words:
    """A masked input in the ring of ``bits`` bits, or as it is."""
    return masked if bits is None else masked & np.uint64((1 << bits) - 1)


def fresh_seeds() -> tuple[bytes, bytes]:
    """The two input seeds of a client's session."""
    return fresh_key(), fresh_key()


SEED_BYTES = KEY_BYTES
