"""Masked sharing: a secret x is m = x + lambda0 + lambda1 (ASTRA, CCSW 2019, section 3.1, in three parties).

server0 holds m and lambda0, server1 holds m and lambda1, the dealer holds both lambdas. The owner shares weights this
way with masks of the model's own; a client shares its input with masks from two seeds of its session.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, repr=False)
class SharedLayer:
    """One linear step split by its owner: E for both servers, and of the bias a share for each."""

    number: int
    masked: Words
    biases: tuple[Words, Words]


def sharing_layers(
    program: Program,
    kernels: Mapping[int, NDArray[np.float64]],
    biases: Mapping[int, NDArray[np.float64]],
    seeds: tuple[bytes, bytes],
) -> Iterator[SharedLayer]:
    """Split a model's weights layer by layer; ``seeds`` are fresh, those of B0 and of B1."""
    own = KeyStream(fresh_key())
    for number, step in program.linear_steps():
        masked = program.precision.encode(program.round_kernel(step, kernels[number]))
        for seed in seeds:
            masked += kernel_mask(seed, number, step)
        bias = program.precision.encode(biases[number], scale=2)
        first = own.elements("bias", bias.shape)
        yield SharedLayer(number, masked, (first, bias - first))


def share_weights(
    program: Program, kernels: Mapping[int, NDArray[np.float64]], biases: Mapping[int, NDArray[np.float64]]
) -> ModelShares:
    """Split a model's weights for the three servers, with fresh masks at every call."""
    seeds = fresh_seeds()
    masked: dict[int, Words] = {}
    bias_shares: tuple[dict[int, Words], dict[int, Words]] = {}, {}
    for layer in sharing_layers(program, kernels, biases, seeds):
        masked[layer.number] = layer.masked
        for shares, share in zip(bias_shares, layer.biases, strict=True):
            shares[layer.number] = share
    return (
        ModelShare(Role.SERVER0, seeds[:1], masked, bias_shares[0]),
        ModelShare(Role.SERVER1, seeds[1:], masked, bias_shares[1]),
        ModelShare(Role.SERVER2, seeds, {}, {}),
    )


def kernel_mask(seed: bytes, number: int, step: Linear) -> Words:
    """The mask B_i of one kernel, expanded from the model's seed."""
    return KeyStream(seed, number.to_bytes(8, "big")).elements("kernel", step.kernel)


def layer_share(
    role: Role,
    seeds: Sequence[bytes],
    number: int,
    step: Linear,
    masked: Words | None = None,
    bias: Words | None = None,
) -> LayerShare:
    """What a server multiplies by in one linear step; ``seeds``, ``masked`` and ``bias`` are its own."""
    factor = kernel_mask(seeds[0], number, step)
    if role is Role.SERVER2:
        factor += kernel_mask(seeds[1], number, step)
        return LayerShare(factor)
    # In its own place: the largest layers have hundreds of megabytes.
    np.negative(factor, out=factor)
    if role is Role.SERVER0 and masked is not None:
        factor += masked
    return LayerShare(factor, masked, bias)


def layer_shares(program: Program, share: ModelShare) -> dict[int, LayerShare]:
    """What a server multiplies by, by linear step, from what the owner sent it."""
    layers = {
        number: layer_share(share.role, share.seeds, number, step, share.masked.get(number), share.biases.get(number))
        for number, step in program.linear_steps()
    }
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
    """Seeds of the two halves of a mask: of a client's inputs, or of a model's weights."""
    return fresh_key(), fresh_key()


SEED_BYTES = KEY_BYTES
