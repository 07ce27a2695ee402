"""Runs one step of a Program in memory, through its Operation, with every random value chosen by name.

:func:`draws_of` says what a step draws: one name for each random value, how many values one number of it may have, and
how many numbers it is for a row. A test enumerates them, draws them at random, or sets them to what it wants to meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from harness import COMPARE_DRAWS, Draws, Given, Outcome, drive, transcript
from numpy.typing import NDArray
from syfr.program import Program
from syfr.protocol import truncation
from syfr.protocol.channel import Channel, Like
from syfr.protocol.operation import Operation
from syfr.protocol.operations import operation_of
from syfr.protocol.roles import DEALER, Role
from syfr.ring.compare import digit_widths, thresholds_of
from syfr.ring.fixedpoint import Precision, Words
from syfr.steps import Combine, Product, Ranks, Signs, Step, follows

Array = NDArray[Any]

READ = ("input", "other")
"""Names of the values that a step reads; their masks are input0, input1, other0 and other1."""


class Draw(NamedTuple):
    """One random value: ``shape`` numbers a row, each from ``start`` to ``start + base - 1``."""

    base: int
    shape: tuple[int, ...]
    start: int = 0

    @property
    def outcomes(self) -> int:
        """Values of all its numbers together."""
        found: int = self.base ** math.prod(self.shape)
        return found


def operation_for(precision: Precision, step: Step, padded: bool = False) -> Operation[Any]:
    """The operation of a step that stands alone."""
    return operation_of(Program((1,), (step,), precision), step, 0, padded)


def draws_of(
    precision: Precision, step: Step, masks: int, ring: int, out: int, padded: bool = False
) -> dict[str, Draw]:
    """All draws of a step.

    Args:
        precision: the number format.
        step: a Combine, Product, Signs or Ranks that reads values of its output's shape.
        masks: how many values a mask of what it reads has, and c0 of a product.
        ring: how many values a share has of what is dealt for compares.
        out: how many values any other ring element has: masks of the result, pads, what is dealt for a truncation.
        padded: the form of fewer delays.
    """
    values = math.prod(step.output_shape)
    found = {f"{name}{half}": Draw(masks, step.output_shape) for name, _ in _read(step) for half in (0, 1)}
    found |= {name: Draw(out, step.output_shape) for name in ("mask0", "mask1")}
    if isinstance(step, Product):
        found["c0"] = Draw(masks, step.output_shape)
    if isinstance(step, (Signs, Ranks)):
        knots, parts, compared = compares_of(step)
        widths = digit_widths(precision.compared_bits, precision.digits)
        degree = len(widths)
        found |= {
            "thresholds": Draw(2, (thresholds_of(widths), compared)),
            "dealt": Draw(ring, (parts, knots, compared)),
            "tau": Draw(2, (knots, compared)),
            "flip": Draw(2, (knots, compared)),
            "multipliers": Draw((1 << degree) - 1, (knots, degree, compared), 1),
            "masks": Draw(2, (knots, degree**2, compared)),
            "rotation": Draw(degree, (knots, compared)),
        }
    if padded:
        found |= {name: Draw(out, (2, values)) for name in ("pads0", "pads1")}
    if follows(step) == "truncate" or (isinstance(step, Signs) and step.scale_bits):
        found |= {name: Draw(1 << precision.truncated_bits, (values,)) for name in ("R0", "R1")}
        found["dealt2"] = Draw(out, (truncation.DEALT, values))
    return found


def compares_of(step: Signs | Ranks) -> tuple[int, int, int]:
    """Compares of one value, what is dealt for each (tau, and its product), and the values that are compared."""
    if isinstance(step, Ranks):
        size = step.output_shape[-1]
        return 1, 1, math.prod(step.output_shape) * (size - 1) // 2
    return len(step.knots), 1 if step.bits else 2, math.prod(step.output_shape)


def _read(step: Step) -> list[tuple[str, int]]:
    return list(zip(READ, step.sources, strict=False))


def random_draws(draws: Mapping[str, Draw], rows: int, seed: int) -> dict[str, Array]:
    """Random values for all draws; ring elements are of 64 bits where their base is 2^64."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(draw.start, draw.start + draw.base, (rows, *draw.shape), np.uint64)
        for name, draw in draws.items()
    }


class Handed:
    """The streams of one party, which hand out chosen values; each stream is asked for once."""

    def __init__(self, role: Role, draws: Draws) -> None:
        bits0 = {name: draws[name] for name in ("thresholds", "dealt") if name in draws}
        after0 = {"dealt": draws["dealt2"]} if "dealt2" in draws else {}
        common = {name: draws[name] for name in COMPARE_DRAWS if name in draws}
        with_dealer: list[dict[str, dict[str, Array]]] = []
        for half, (bits, after) in enumerate(((bits0, after0), ({}, {}))):
            own = {name: draws[f"{name}{half}"] for name in ("mask", "R", "pads") if f"{name}{half}" in draws}
            with_dealer.append(
                {
                    "mask": {"mask": own["mask"]},
                    "linear": {"c0": draws["c0"]} if half == 0 and "c0" in draws else {},
                    "bits": {**bits, **({"pads": own["pads"]} if "pads" in own else {})},
                    "after": {**after, **({"R": own["R"]} if "R" in own else {})},
                }
            )
        if role == DEALER:
            found = {Role.SERVER0: with_dealer[0], Role.SERVER1: with_dealer[1]}
        else:
            found = {DEALER: with_dealer[role], role.partner: {"bits": common}}
        self._left = {(peer, purpose): Given(given) for peer, many in found.items() for purpose, given in many.items()}
        self._own = Given({"tau": draws["tau"]} if "tau" in draws else {})

    def common(self, peer: Role, number: int, purpose: str) -> Given:
        """The values that it has in common with a peer."""
        return self._left.pop((peer, purpose))

    def own(self) -> Given:
        """Its own."""
        return self._own


def run(
    precision: Precision, step: Step, read: Sequence[Words], draws: Draws, padded: bool = False, unequal: int = 0
) -> Outcome:
    """One step on the values ``read``, in clear, each (rows, ...); server1's m of the first is off by ``unequal``."""
    operation = operation_for(precision, step, padded)
    rows = read[0].shape[0]
    masks = {
        role: [
            draws[f"{name}{int(role)}"].astype(np.uint64).reshape(value.shape)
            for name, value in zip(READ, read, strict=False)
        ]
        for role in (Role.SERVER0, Role.SERVER1)
    }
    both = [first + second for first, second in zip(*masks.values(), strict=True)]
    dealing = operation.deal(both, None, Handed(DEALER, draws))
    dealt = list(dealing.sent)
    if [Like.of(array) for array in dealt] != operation.dealt_like(rows):
        raise AssertionError("The dealer's message is not what was declared.")
    masked = [value + mask for value, mask in zip(read, both, strict=True)]

    def server(role: Role) -> Callable[[Channel], Coroutine[Any, Any, Any]]:
        messages = iter(dealt) if role == Role.SERVER1 else None
        preparing = operation.prepare(role, masks[role], None, Handed(role, draws), messages)
        if messages is not None and next(messages, None) is not None:
            raise AssertionError("The dealer sent more than server1 reads.")
        off = np.uint64(unequal if role == Role.SERVER1 else 0)
        mine = [masked[0] + off, *masked[1:]]
        return lambda channel: operation.online(channel, transcript(), None, preparing.ready, mine)

    works = {role: server(role) for role in masks}
    if operation.dealer_answers:
        works[DEALER] = lambda channel: operation.online_dealer(channel, dealing.kept)
    results, record = drive(works)
    if not np.array_equal(results[Role.SERVER0], results[Role.SERVER1]):
        raise AssertionError("server0 and server1 hold different masked values.")
    return Outcome(results[Role.SERVER0].reshape(rows, -1), dealt, record)


def opened(outcome: Outcome, draws: Draws) -> NDArray[np.int64]:
    """The result behind its masks, (rows, n), in units of its last bit; of 48 bits, read signed."""
    rows = outcome.masked.shape[0]
    masks = [draws[name].astype(np.uint64).reshape(rows, -1) for name in ("mask0", "mask1")]
    shift = np.uint64(16)
    return ((outcome.masked - masks[0] - masks[1]) << shift).view(np.int64) >> np.int64(16)


def signs(knots: Sequence[int], factors: Sequence[int], **more: Any) -> Signs:
    """A step on one value a row."""
    return Signs("signs", 0, (1,), tuple(knots), tuple(factors), **more)


def ranks(size: int) -> Ranks:
    """A step on so many values a row."""
    return Ranks("ranks", 0, (size,))


def product(matrices: bool = False, scale_bits: int = 0) -> Product:
    """Of two numbers a row, or of two matrices of one number."""
    return Product("product", 0, 0, (1, 1) if matrices else (1,), "truncate", matrices, scale_bits)


def combine(factors: tuple[int, int], constant: int = 0, scale_bits: int = 1) -> Combine:
    """A sum of two numbers a row."""
    return Combine("combine", (0, 0), (1,), factors, constant, scale_bits, "truncate")
