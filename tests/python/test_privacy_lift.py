"""Lifting an input from a small ring: right for every input, and exactly hidden from each worker.

As in test_privacy_relu, joint views are counted: the masks of the input, the compare's randomness and the dealt shares
are all enumerated, the latter modulo a small power of two; what a party knows anyway is fixed where it does not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import blinded_elements, random_draws, run_lift, true_thresholds
from layouts import signed
from numpy.typing import NDArray
from syfr.protocol.roles import DEALER, Role
from syfr.ring.fixedpoint import MAX_COMPARED_BITS, Precision
from syfr.ring.packing import unpack_elements
from syfr.ring.planes import unpack_bits
from views import View, digits_of, every

Array = NDArray[Any]
PRECISION = Precision(1, 5, 2)
WIDTH = 2


def ring(padded: bool) -> int:
    """Dealt shares, masked values and pads are taken modulo this: the terms of 2^w, and 2^(w + 1), must show."""
    return 16 if padded else 8


def sizes(padded: bool) -> dict[str, int]:
    """How many values each random value has."""
    one = ring(padded)
    return {
        "input0": 1 << WIDTH,
        "input1": 1 << WIDTH,
        "thresholds": 1 << WIDTH,
        "dealt": one**2,
        "tau": 2,
        "flip": 2,
        "multipliers": ((1 << WIDTH) - 1) ** WIDTH,
        "masks": 1 << WIDTH**2,
        "rotation": WIDTH,
        "mask0": one,
        "mask1": one,
        "pads0": one**2,
        "pads1": one**2,
    }


COMPARE = ("flip", "multipliers", "masks", "rotation")
ENUMERATED = {
    Role.SERVER0: ("input0", "input1", "tau", "mask1", *COMPARE),
    Role.SERVER1: ("input0", "input1", "tau", "mask0", "flip", "thresholds", "dealt"),
    DEALER: ("input0", "input1", "tau", *COMPARE),
}
KNOWN = {
    Role.SERVER0: ("input0", *COMPARE),
    Role.SERVER1: ("input1", "flip"),
    DEALER: ("input0", "input1", "tau"),
}


PADDED = {
    Role.SERVER0: ("input0", "input1", "tau", "mask1", "flip", "pads1"),
    Role.SERVER1: ("input0", "input1", "tau", "mask0", "flip", "pads0"),
    DEALER: ENUMERATED[DEALER],
}
"""In the padded form what server1 is dealt is fixed, like what it knows from the start, and server0's shares follow:
every value is equally likely to be dealt, whatever the input."""


def true_values(at: dict[str, Array]) -> tuple[Array, Array]:
    """The comparisons and the ring elements that the dealer shares: (1, 2, n) both."""
    mask = (at["input0"] + at["input1"]) % (1 << WIDTH)
    return true_thresholds(mask, WIDTH, PRECISION)[None], np.stack([mask, at["tau"]])[None]


def draws_of(at: dict[str, Array], padded: bool, given: bool) -> dict[str, Array]:
    """The arrays of all draws, one row."""
    draws = {name: at[name][None] for name in ("input0", "input1", "tau", "flip", "rotation", "mask0", "mask1")}
    draws["thresholds"] = digits_of(at["thresholds"], 2, WIDTH)[None]
    draws["dealt"] = digits_of(at["dealt"], ring(padded), 2)[None]
    if given:
        thresholds, dealt = true_values(at)
        draws["thresholds"] = (thresholds - draws["thresholds"]) % 2
        draws["dealt"] = (dealt - draws["dealt"]).astype(np.uint64)
    draws["multipliers"] = digits_of(at["multipliers"], (1 << WIDTH) - 1, WIDTH)[None] + 1
    draws["masks"] = digits_of(at["masks"], 2, WIDTH**2)[None]
    for name in ("pads0", "pads1"):
        draws[name] = digits_of(at[name], ring(padded), 2)[None]
    return draws


def view_of(party: Role, x: int, dropped: str = "", padded: bool = False) -> Array:
    """The distribution of one party's joint view for the input x."""
    names = [name for name in (PADDED if padded else ENUMERATED)[party] if name != dropped]
    at: dict[str, Array] = dict(every(**{name: sizes(padded)[name] for name in names}))
    rng = np.random.default_rng(23)
    size = at[names[0]].size
    for name, outcomes in sizes(padded).items():
        at.setdefault(name, np.full(size, 0 if name == dropped else rng.integers(0, outcomes)))
    given = padded and party == Role.SERVER1
    inputs = np.full((1, size), x, np.uint64)
    outcome = run_lift(PRECISION, WIDTH, 1, inputs, draws_of(at, padded, given), padded)
    view = View()
    for name in set(KNOWN[party]) & {*names, "input0", "input1"}:
        view.see(at[name], sizes(padded)[name])
    if party == DEALER:
        for server in (Role.SERVER0, Role.SERVER1):
            message = outcome.received(DEALER, "compare", server)
            view.see(blinded_elements(message, WIDTH, size), 1 << WIDTH**2)
        return view.distribution()
    view.see((x + at["input0"] + at["input1"]) % (1 << WIDTH), 1 << WIDTH)
    received = [(outcome.received(party, "masked"), 2 if padded else 1)]
    if padded:
        received.append((outcome.received(party, "answer"), 1))
    if party == Role.SERVER1:
        view.see(unpack_bits(outcome.dealt[0].reshape(WIDTH, -1), size), 2)
        received.append((outcome.dealt[1], 2))
    view.see(unpack_bits(outcome.received(party, "answer", place=0), size), 2)
    for packed, each in received:
        view.see(unpack_elements(packed.reshape(-1), (each, size)) % np.uint64(ring(padded)), ring(padded))
    return view.distribution()


def who_learns(inputs: range, dropped: str = "", padded: bool = False) -> set[Role]:
    """The parties whose view depends on the input."""
    learning = set()
    for party in ENUMERATED:
        expected = view_of(party, inputs[0], dropped, padded)
        if any(not np.array_equal(view_of(party, x, dropped, padded), expected) for x in inputs[1:]):
            learning.add(party)
    return learning


@pytest.mark.parametrize("padded", [False, True])
def test_no_worker_learns_anything_of_the_input(padded: bool) -> None:
    assert who_learns(range(1 << WIDTH), padded=padded) == set()


@pytest.mark.parametrize(
    ("dropped", "who"),
    [
        ("input0", {Role.SERVER1}),
        ("input1", {Role.SERVER0}),
        ("tau", {Role.SERVER0, Role.SERVER1}),
        ("thresholds", {Role.SERVER1}),
        ("dealt", {Role.SERVER1}),
        ("mask0", {Role.SERVER1}),
        ("mask1", {Role.SERVER0}),
        ("flip", {DEALER}),
        ("multipliers", {DEALER}),
        ("masks", {DEALER}),
        ("rotation", {DEALER}),
    ],
)
def test_without_any_one_random_value_exactly_those_it_blinds_learn_something(dropped: str, who: set[Role]) -> None:
    assert who_learns(range(1 << WIDTH), dropped) == who


@pytest.mark.parametrize(
    ("dropped", "who"),
    [
        ("tau", {Role.SERVER0, Role.SERVER1}),
        ("mask0", {Role.SERVER1}),
        ("mask1", {Role.SERVER0}),
        ("pads0", {Role.SERVER1}),
        ("pads1", {Role.SERVER0}),
    ],
)
def test_the_padded_form_without_any_one_random_value(dropped: str, who: set[Role]) -> None:
    assert who_learns(range(1 << WIDTH), dropped, padded=True) == who


@pytest.mark.parametrize(
    ("bits", "digits"),
    [(1, 1), (1, 6), (2, 1), (3, 2), (3, 3), (4, 6), (9, 2), (9, 6), (14, 6), (15, 5), (15, 6), (MAX_COMPARED_BITS, 6)],
)
def test_every_input_is_lifted(bits: int, digits: int) -> None:
    precision = Precision(14, 42, digits)
    size = min(1 << bits, 500)
    rng = np.random.default_rng(24)
    x = np.arange(size) if bits < 9 else rng.integers(0, 1 << bits, size)
    top = (1 << bits) - 1
    x[:2] = 0, top
    masks = np.array([0, 1, top, (top + 1) // 2, *rng.integers(0, 1 << bits, 12)])
    both = np.stack([np.tile(x, masks.size), np.repeat(masks, x.size)])
    # One row for each input with one mask; R = m - x, m = 0 and m of ones only are among them.
    both = np.concatenate([both, [x, top + 1 - x], [x, top - x]], axis=1)
    for offset in (0, 1, 5):
        shape = (1, both.shape[1])
        draws = random_draws(precision, shape, offset, bits)
        draws["dealt"] = draws["dealt2"]
        draws["input0"] = rng.integers(0, 1 << bits, shape)
        draws["input1"] = (both[1] - draws["input0"]) % (top + 1)
        outcome = run_lift(precision, bits, offset, both[:1].astype(np.uint64), draws, padded=offset == 1)
        found = signed(outcome.masked - draws["mask0"] - draws["mask1"], 48).view(np.int64)
        assert np.array_equal(found[0], both[0] - offset)
