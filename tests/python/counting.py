"""Counts the joint view of one party of one step exactly, over all randomness that it does not know beforehand.

As in test_privacy_relu: what a party knows from the start is independent of the secret, so a *condition* may fix it at
random; ring elements that only pass through sums and products are run modulo a small power of two; what server1 is
dealt is a true value minus a uniform one, so in a run "given" it is fixed and server0's part follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from harness import Outcome, blinded_elements, true_thresholds
from numpy.typing import NDArray
from single import READ, Array, Draw, draws_of, run
from syfr.protocol.roles import DEALER, Role
from syfr.ring.fixedpoint import Precision
from syfr.ring.packing import from_octets, octets_above, unpack_elements
from syfr.ring.planes import unpack_bits
from syfr.steps import Product, Ranks, Signs, Step
from views import Integers, View, digits_of, every

SHARED = ("flip", "multipliers", "masks", "rotation")
WITH_SERVER0 = ("input0", "other0", "c0", "thresholds", "dealt", "dealt2", "R0", "mask0", "pads0")
WITH_SERVER1 = ("input1", "other1", "R1", "mask1", "pads1")

KNOWN = {
    Role.SERVER0: (*WITH_SERVER0, *SHARED),
    Role.SERVER1: (*WITH_SERVER1, *SHARED),
    DEALER: (*WITH_SERVER0, *WITH_SERVER1, "tau"),
}
"""What each draws itself, alone or with another."""

DEALT = ("c0", "thresholds", "dealt", "dealt2")
"""What the dealer sends server1 the rest of, in the order of its message."""

Secret = tuple[int, ...]
"""The numbers that a step reads, one row of all its values."""


@dataclass(frozen=True)
class Count:
    """One exact count for one party.

    Attributes:
        party: whose view.
        step: of one row; see single.py.
        precision: the tiny format.
        enumerated: the random values that run over all their combinations.
        conditions: how many random choices of all other values.
        mask_bits: masks of what the step reads are taken modulo 2^mask_bits, as is c0.
        ring_bits: what is dealt for compares is taken modulo 2^ring_bits.
        out_bits: all other ring elements are taken modulo 2^out_bits; as ring_bits where it is 0.
        given: what server1 is dealt that is fixed by the condition.
        dropped: the value that is replaced by a constant.
        reused: the value that serves every compare of one number, instead of one for each.
        padded: the form of fewer delays.
        unequal: by how much server1's m is off, as a client that cheats could have it.
    """

    party: Role
    step: Step
    precision: Precision
    enumerated: tuple[str, ...]
    conditions: int = 1
    mask_bits: int = 3
    ring_bits: int = 1
    out_bits: int = 0
    given: tuple[str, ...] = ()
    dropped: str = ""
    reused: str = ""
    padded: bool = False
    unequal: int = 0

    @property
    def table(self) -> dict[str, Draw]:
        """All draws of the step."""
        masks, ring, out = (1 << bits for bits in (self.mask_bits, self.ring_bits, self.out_bits or self.ring_bits))
        return draws_of(self.precision, self.step, masks, ring, out, self.padded)

    def combinations(self) -> dict[str, Integers]:
        """The number of every random value in every combination, and of the condition."""
        table = self.table
        run_over = [name for name in self.enumerated if name != self.dropped]
        at = every(condition=self.conditions, **{name: table[name].outcomes for name in run_over})
        rng = np.random.default_rng(27)
        for name, draw in table.items():
            fixed = rng.integers(0, draw.outcomes, self.conditions)
            at.setdefault(name, fixed[at["condition"]])
        if self.dropped:
            at[self.dropped] = np.zeros_like(at["condition"])
        return at

    def draws(self, at: dict[str, Integers]) -> dict[str, Array]:
        """The arrays of all draws, a row for each combination."""
        found: dict[str, Array] = {}
        for name, draw in self.table.items():
            numbers = digits_of(at[name], draw.base, int(np.prod(draw.shape))).T + draw.start
            found[name] = np.ascontiguousarray(numbers).reshape(-1, *draw.shape)
        if self.reused:
            found[self.reused] = np.repeat(found[self.reused][:, :1], found[self.reused].shape[1], axis=1)
        for name, true in self._true(found).items():
            if name in self.given:
                rest = true.astype(np.int64).reshape(found[name].shape) - found[name]
                found[name] = rest % 2 if name == "thresholds" else rest.astype(np.uint64)
        return found

    def _true(self, draws: dict[str, Array]) -> dict[str, Array]:
        """What the dealer shares between server0 and server1."""
        kappa = self.precision.truncated_bits
        found: dict[str, Array] = {}
        mask = draws["input0"] + draws["input1"]
        if isinstance(self.step, Product):
            found["c0"] = mask * (draws["other0"] + draws["other1"])
        if isinstance(self.step, (Signs, Ranks)):
            if isinstance(self.step, Ranks):
                left, right = np.triu_indices(mask.shape[1], 1)
                mask = mask[:, left] - mask[:, right]
            low = mask % (1 << (kappa - 1))
            found["thresholds"] = true_thresholds(low.astype(np.int64), self.precision.compared_bits, self.precision)
            parts = [draws["tau"], draws["tau"] * mask[:, None]]
            found["dealt"] = np.stack(parts[: draws["dealt"].shape[1]], 1)
        if "dealt2" in draws:
            total = (draws["R0"] + draws["R1"]) % (1 << kappa)
            wrap = (draws["R0"] + draws["R1"]) >> kappa
            found["dealt2"] = np.stack([total >> (kappa - 1), wrap], 1)
        return found

    def view(self, at: dict[str, Integers], secret: Secret) -> Array:
        """The distribution of the party's view for one secret."""
        size, draws = at["condition"].size, self.draws(at)
        shape = self.step.output_shape
        read = np.array(secret, np.int64).astype(np.uint64).reshape(len(self.step.sources), *shape)
        values = [np.repeat(value[None], size, axis=0) for value in read]
        outcome = run(self.precision, self.step, values, draws, self.padded, self.unequal)
        view = View()
        view.see(at["condition"], self.conditions)
        for name in KNOWN[self.party]:
            if name in self.enumerated and name not in self.given:
                view.see(at[name], self.table[name].outcomes)
        if self.party == DEALER:
            self._dealer(view, outcome)
        else:
            for name, value in zip(READ, values, strict=False):
                masked = value + (draws[f"{name}0"] + draws[f"{name}1"]).astype(np.uint64)
                self._elements(view, masked, 1 << self.mask_bits)
            self._server(view, outcome)
        return view.distribution()

    def _dealer(self, view: View, outcome: Outcome) -> None:
        degree, size = min(self.precision.digits, self.precision.compared_bits), self.table["flip"].shape[-1]
        messages = [sent for sent in outcome.messages if sent.receiver == DEALER]
        for sent in messages:
            elements = blinded_elements(sent.arrays[-1], degree, size)
            view.see(elements.reshape(len(elements), -1).T, 1 << degree**2)

    def _server(self, view: View, outcome: Outcome) -> None:
        received = [sent for sent in outcome.messages if sent.receiver == self.party]
        for sent in received:
            name, last = sent.tag[1], sent.arrays[-1]
            if name == "opened":
                view.see(last.T, 1 << self.precision.truncated_bits)
            elif name == "masked" or (name == "answer" and self.padded):
                self._packed(view, last, self.table["mask0"].base)
            if name == "answer":
                self._bits(view, sent.arrays[0], self.table["tau"].shape)
        if self.party == Role.SERVER1:
            arrays = dict(zip((name for name in DEALT if name in self.table), outcome.dealt, strict=True))
            for name, array in arrays.items():
                if name in self.given:
                    continue
                if name == "thresholds":
                    self._bits(view, array, self.table[name].shape)
                elif name == "dealt2":
                    octets = octets_above(self.precision.truncated_bits)
                    numbers = from_octets(array.reshape(len(array), octets, *self.table[name].shape))
                    self._elements(view, numbers, self.table[name].base)
                else:
                    self._packed(view, array, self.table[name].base)

    def _bits(self, view: View, planes: Array, shape: tuple[int, ...]) -> None:
        bits = unpack_bits(planes.reshape(len(planes), shape[0], -1), shape[-1])
        view.see(bits.reshape(len(bits), -1).T, 2)

    def _packed(self, view: View, packed: Array, outcomes: int) -> None:
        elements = unpack_elements(packed.reshape(-1), (packed.shape[0], packed.shape[1] // 6))
        self._elements(view, elements, outcomes)

    def _elements(self, view: View, elements: NDArray[np.uint64], outcomes: int) -> None:
        view.see((elements.reshape(len(elements), -1) % np.uint64(outcomes)).T, outcomes)


def differs(count: Count, secrets: Sequence[Secret]) -> bool:
    """Whether the party's view of some secret is not distributed as that of the first."""
    at = count.combinations()
    expected = count.view(at, secrets[0])
    return any(not np.array_equal(count.view(at, secret), expected) for secret in secrets[1:])


def who_notices(counts: Iterable[Count], secrets: Sequence[Secret], **changed: str) -> set[Role]:
    """The parties that tell secrets apart once a value is dropped or reused."""
    return {count.party for count in counts if differs(replace(count, **changed), secrets)}  # type: ignore[arg-type]
