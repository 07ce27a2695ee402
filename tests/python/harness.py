"""Runs single operations of the protocol in memory, with chosen randomness, and whole queries of small models.

The functions are the shipped ones. Randomness enters where the workers' does, through a Source: :class:`Given` hands
out chosen values by label and refuses any draw of another shape or range, so that a test knows what each value is for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plain
from layouts import from_planes, octets_of, thirds_of
from numpy.typing import NDArray
from syfr.importing.operations import Weights
from syfr.party.memory import MemoryCluster, MemoryNetwork, Sent
from syfr.program import Program
from syfr.protocol import lift, output, relu, truncation
from syfr.protocol.channel import Channel, Like, Run
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript
from syfr.ring.compare import digit_widths, thresholds_of
from syfr.ring.fixedpoint import Precision, Words
from syfr.ring.planes import pack_bits, plane_bytes
from syfr.steps import (
    Combine,
    Concatenate,
    Geometry,
    Linear,
    Product,
    Ranks,
    Reshape,
    Signs,
    Slice,
    Step,
    Take,
    Transpose,
    Weigh,
)

Array = NDArray[Any]
Draws = Mapping[str, Array]

COMPARE_DRAWS = ("flip", "multipliers", "masks", "rotation")
"""What server0 and server1 draw together for a compare."""


class Given:
    """A Source of chosen values; each label serves once."""

    def __init__(self, draws: Draws) -> None:
        self._left = dict(draws)

    def elements(self, label: str, shape: tuple[int, ...]) -> Words:
        """Ring elements."""
        return self._take(label, shape).astype(np.uint64)

    def thirds(self, label: str, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Ring elements modulo 2^48, in thirds."""
        return thirds_of(self._take(label, shape).astype(np.uint64))

    def octets(self, label: str, shape: tuple[int, ...], count: int) -> NDArray[np.uint8]:
        """Numbers of so many bytes."""
        return octets_of(self._take(label, shape).astype(np.uint64), count)

    def integers(self, label: str, shape: tuple[int, ...], bits: int) -> NDArray[np.uint32]:
        """Integers of ``bits`` bits."""
        return self._ranged(label, shape, 0, 1 << bits).astype(np.uint32)

    def below(self, label: str, shape: tuple[int, ...], bound: int, start: int = 0) -> NDArray[np.uint8]:
        """Integers from ``start`` on."""
        return self._ranged(label, shape, start, start + bound).astype(np.uint8)

    def bits(self, label: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Bits, as planes."""
        return pack_bits(self._ranged(label, shape, 0, 2).astype(np.uint8))

    def _ranged(self, label: str, shape: tuple[int, ...], low: int, high: int) -> Array:
        values = self._take(label, shape)
        if int(values.min()) < low or int(values.max()) >= high:
            raise ValueError(f"The values for '{label}' must be {low} to {high - 1}.")
        return values

    def _take(self, label: str, shape: tuple[int, ...]) -> Array:
        values = self._left.pop(label)
        if values.shape != shape:
            raise ValueError(f"'{label}' is drawn in the shape {shape}; the test gives {values.shape}.")
        return values


@dataclass
class Outcome:
    """What came of one operation.

    Attributes:
        masked: the masked value that both servers hold.
        dealt: what the dealer sent to server1 ahead.
        messages: the online messages.
    """

    masked: Words
    dealt: list[Array]
    messages: list[Sent]

    def received(self, receiver: Role, name: str, sender: Role | None = None, place: int = -1) -> Array:
        """An array of the one message of that name, the last one if ``place`` does not say which."""
        (found,) = (
            sent
            for sent in self.messages
            if sent.receiver == receiver and sent.tag[1] == name and sender in (None, sent.sender)
        )
        return found.arrays[place]


def drive(works: Mapping[Role, Callable[[Channel], Coroutine[Any, Any, Any]]]) -> tuple[dict[Role, Any], list[Sent]]:
    """Run one coroutine a party; returns their results and all messages."""
    network = MemoryNetwork()
    runs = {}
    for role, work in works.items():
        channel = network.channel(role)
        runs[role] = Run(work(channel), channel)
    network.run(runs)
    return {role: run.result for role, run in runs.items()}, network.record


def transcript() -> Transcript:
    """The running hash as both servers begin it."""
    return Transcript(bytes(16), b"test")


def run_relu(precision: Precision, z0: Words, z1: Words, draws: Draws, padded: bool = False) -> Outcome:
    """Truncation and ReLU of z0 + z1 = z + 2^f - 1, (rows, n).

    ``draws``: R0, R1, thresholds, dealt (for tau, tau·R, p, w, tau·p), tau, flip, multipliers, masks, rotation, the
    next masks mask0, mask1, and pads0, pads1 for the form of three delays.
    """
    shape = z0.shape[0], z0.shape[1]
    whole, lifted = np.split(draws["dealt"], [relu.WHOLE], axis=1)
    with0 = {"R": draws["R0"], "thresholds": draws["thresholds"], "pads": draws["pads0"]}
    with0 |= {"whole": whole, "lifted": lifted}
    with1 = {"R": draws["R1"], "pads": draws["pads1"]}
    common = {name: draws[name] for name in COMPARE_DRAWS}
    own = Given({"tau": draws["tau"]})
    kept, message = relu.deal(shape, precision, Given(with0), Given(with1), own, padded)
    if [Like.of(array) for array in message] != relu.dealt_like(shape, precision):
        raise AssertionError("The dealer's message is not what was declared.")
    masks = [draws[name].astype(np.uint64) for name in ("mask0", "mask1")]
    ready0 = relu.prepare(shape, precision, Given(with0), Given(common), masks[0], None, padded)
    ready1 = relu.prepare(shape, precision, Given(with1), Given(common), masks[1], message, padded)
    results, record = drive(
        {
            Role.SERVER0: lambda channel: relu.online(channel, transcript(), 3, precision, ready0, z0),
            Role.SERVER1: lambda channel: relu.online(channel, transcript(), 3, precision, ready1, z1),
            DEALER: lambda channel: relu.online_dealer(channel, 3, precision, kept),
        }
    )
    return _outcome(results, message, record)


def run_truncation(precision: Precision, z0: Words, z1: Words, draws: Draws) -> Outcome:
    """Truncation of z0 + z1 = z + 2^(k - 2) + 2^f - 1, (rows, n); ``draws``: R0, R1, dealt, mask0, mask1."""
    shape = z0.shape[0], z0.shape[1]
    with0, with1 = {"R": draws["R0"], "dealt": draws["dealt"]}, {"R": draws["R1"]}
    message = truncation.deal(shape, precision, Given(with0), Given(with1))
    if [Like.of(array) for array in message] != truncation.dealt_like(shape, precision):
        raise AssertionError("The dealer's message is not what was declared.")
    masks = [draws[name].astype(np.uint64) for name in ("mask0", "mask1")]
    ready0 = truncation.prepare(shape, precision, Given(with0), masks[0], None)
    ready1 = truncation.prepare(shape, precision, Given(with1), masks[1], message)
    results, record = drive(
        {
            Role.SERVER0: lambda channel: truncation.online(channel, transcript(), 3, precision, ready0, z0),
            Role.SERVER1: lambda channel: truncation.online(channel, transcript(), 3, precision, ready1, z1),
        }
    )
    return _outcome(results, message, record)


def run_lift(precision: Precision, bits: int, offset: int, x: Words, draws: Draws, padded: bool = False) -> Outcome:
    """The lift of x, (rows, n), from the ring of ``bits`` bits.

    ``draws``: input0, input1 (the masks in that ring), and as for a ReLU, without R0 and R1.
    """
    shape = x.shape[0], x.shape[1]
    mine = {name: draws[name].astype(np.uint64) for name in ("input0", "input1", "mask0", "mask1")}
    ring = np.uint64(1 << bits)
    with0 = {"thresholds": draws["thresholds"], "dealt": draws["dealt"], "pads": draws["pads0"]}
    with1 = {"pads": draws["pads1"]}
    common = {name: draws[name] for name in COMPARE_DRAWS}
    own = Given({"tau": draws["tau"]})
    mask = (mine["input0"] + mine["input1"]) % ring
    kept, message = lift.deal(mask, bits, precision, Given(with0), Given(with1), own, padded)
    if [Like.of(array) for array in message] != lift.dealt_like(shape, bits, precision):
        raise AssertionError("The dealer's message is not what was declared.")
    ready0 = lift.prepare(shape, bits, precision, Given(with0), Given(common), mine["mask0"], None, padded)
    ready1 = lift.prepare(shape, bits, precision, Given(with1), Given(common), mine["mask1"], message, padded)
    m = (x + mask) % ring
    results, record = drive(
        {
            Role.SERVER0: lambda channel: lift.online(channel, transcript(), 3, bits, offset, precision, ready0, m),
            Role.SERVER1: lambda channel: lift.online(channel, transcript(), 3, bits, offset, precision, ready1, m),
            DEALER: lambda channel: lift.online_dealer(channel, 3, bits, precision, kept),
        }
    )
    return _outcome(results, message, record)


def run_output(precision: Precision, z0: Words, z1: Words, zero: Words) -> tuple[Array, Array]:
    """What server0 and server1 send the client for z0 + z1 = z + 2^f - 1 and a sharing of zero from ``zero``."""

    def online(role: Role, z: Words) -> Callable[[Channel], Coroutine[Any, Any, Any]]:
        half = output.prepare(z.shape, role, Given({"zero": zero}))
        return lambda channel: output.online(channel, transcript(), 3, precision, half, z)

    results, _ = drive({Role.SERVER0: online(Role.SERVER0, z0), Role.SERVER1: online(Role.SERVER1, z1)})
    return results[Role.SERVER0], results[Role.SERVER1]


def _outcome(results: Mapping[Role, Any], message: list[Array], record: list[Sent]) -> Outcome:
    masked = results[Role.SERVER0]
    if not np.array_equal(masked, results[Role.SERVER1]):
        raise AssertionError("server0 and server1 hold different masked values.")
    return Outcome(masked, message, record)


def true_thresholds(values: Array, bits: int, precision: Precision) -> Array:
    """[digit > v] for every digit of values (..., n), the highest first, and every v but its largest: (..., t, n)."""
    found, lowest = [], bits
    for width in digit_widths(bits, precision.digits):
        lowest -= width
        digit = values >> lowest & ((1 << width) - 1)
        found.extend(digit > v for v in range((1 << width) - 1))
    return np.stack(found, axis=-2).astype(np.int64)


def blinded_elements(message: Array, degree: int, size: int) -> Array:
    """The elements of GF(2^d) in a message of the compare, all d of a value as one number: (..., size)."""
    return from_planes(message.reshape(*message.shape[:-1], -1, degree * degree, plane_bytes(size)), size)


def random_draws(
    precision: Precision, shape: tuple[int, int], seed: int, compared: int | None = None
) -> dict[str, Array]:
    """Random values for every draw of a ReLU, or of a compare of so many bits; "dealt2" is a truncation's."""
    rng = np.random.default_rng(seed)
    rows, size = shape
    kappa = precision.truncated_bits
    widths = digit_widths(precision.compared_bits if compared is None else compared, precision.digits)
    degree = len(widths)

    def words(*shape: int) -> Words:
        return rng.integers(0, 2**64, shape, np.uint64)

    return {
        "R0": rng.integers(0, 1 << kappa, shape),
        "R1": rng.integers(0, 1 << kappa, shape),
        "thresholds": rng.integers(0, 2, (rows, thresholds_of(widths), size)),
        "dealt": words(rows, relu.WHOLE + relu.LIFTED, size),
        "tau": rng.integers(0, 2, shape),
        "flip": rng.integers(0, 2, shape),
        "multipliers": rng.integers(1, 1 << degree, (rows, degree, size)),
        "masks": rng.integers(0, 2, (rows, degree**2, size)),
        "rotation": rng.integers(0, degree, shape),
        "mask0": words(*shape),
        "mask1": words(*shape),
        "pads0": words(rows, 2, size),
        "pads1": words(rows, 2, size),
        "dealt2": words(rows, truncation.DEALT, size),
    }


def truncation_draws(draws: Draws) -> dict[str, Array]:
    """The draws of a truncation out of :func:`random_draws`."""
    return {**{name: draws[name] for name in ("R0", "R1", "mask0", "mask1")}, "dealt": draws["dealt2"]}


ByStep = dict[int, NDArray[np.float64]]


@dataclass
class Model:
    """A Program with weights in clear; ``padded`` to run it in the form of fewer delays."""

    program: Program
    kernels: ByStep
    biases: ByStep
    padded: bool = False

    def cluster(self) -> MemoryCluster:
        """The model shared among three parties in memory."""
        return MemoryCluster(self.program, self.kernels, self.biases, self.padded)

    def plain(self, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The input and the value of every step, in the clear."""
        return plain.values(self.program, self.weights, x)

    def answer(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The output in the clear, before its head."""
        return plain.evaluate(self.program, self.weights, x)

    @property
    def weights(self) -> dict[int, Weights]:
        """In clear, by step number."""
        return {number: Weights(kernel, self.biases[number]) for number, kernel in self.kernels.items()}

    def inputs(self, rows: int, seed: int = 1) -> NDArray[np.float64]:
        """Random inputs in the declared range."""
        low, high = self.program.input_range
        return np.random.default_rng(seed).uniform(low, high, (rows, *self.program.input_shape))


def model(input_shape: tuple[int, ...], steps: list[Step], seed: int = 1, spread: float = 1.0) -> Model:
    """A Program with random weights that keep its values near one."""
    program = Program(input_shape, tuple(steps))
    program.check()
    rng = np.random.default_rng(seed)
    kernels: ByStep = {}
    biases: ByStep = {}
    for number, step in program.linear_steps():
        inner = int(np.prod(step.kernel[:-1]))
        kernels[number] = rng.normal(0.0, spread / np.sqrt(inner), step.kernel)
        biases[number] = rng.normal(0.0, 0.1, step.kernel[-1:])
    return Model(program, kernels, biases)


def dense(source: int, inputs: int, outputs: int, then: str) -> Linear:
    """A dense layer."""
    return Linear(f"dense {source}", source, (inputs, outputs), (inputs,), (outputs,), then)


def untrusted(found: Model) -> Model:
    """The same model with inputs lifted from a small ring."""
    return replace(found, program=replace(found.program, untrusted_clients=True))


ONE = 1 << 14
"""1.0 in units of 2^-f."""


def graphs() -> dict[str, Model]:
    """Programs of the steps that need no weights, and of several outputs, by name."""
    first, last = dense(0, 5, 6, "truncate"), dense(2, 6, 3, "output")
    shape = (6,)
    relu6 = Signs("relu6", 1, shape, (0, 6 * ONE), (1, -1))
    curve = Signs("curve", 1, shape, (-ONE, 0, ONE // 2), (5_000, -9_001, 4_001), 3_000, ONE * ONE // 7, 14)
    label = [
        Ranks("label", 1, shape),
        Signs("label", 2, shape, (5 * ONE,), (ONE,), bits=True),
        Weigh("label", 3, (1,), tuple(range(6))),
        Combine("label", (4,), (1,), (1,), then="output"),
    ]
    product = Product("product", 1, 2, shape, "truncate")
    moved = [
        Take("pad", 1, (7,), 0, (-1, 0, 2, 1, 5, 4, 3)),
        Reshape("reshape", 2, (7,), (7, 1)),
        Concatenate("join", (3, 3, 3), (7, 3), 1),
        Transpose("turn", 4, (3, 7), (1, 0)),
        Combine("sum", (5, 5), (3, 7), (5, -2), 3 * ONE),
        Product("matrices", 6, 4, (3, 3), "relu", matrices=True),
        Combine("third", (7, 7), (3, 3), (ONE // 3, ONE // 5), ONE, 14, "truncate"),
        Combine("half", (8,), (3, 3), (ONE // 2,), 0, 14, "relu"),
        Combine("output", (9,), (3, 3), (1,), then="output"),
    ]
    branches = [
        first,
        dense(0, 5, 6, "relu"),
        replace(relu6, source=1),
        Ranks("ranks", 2, shape),
        Product("gate", 3, 2, shape, "truncate"),
        replace(curve, source=5),
        Combine("sum", (4, 6, 3), shape, (1, 1, -1)),
        Signs("input", 0, (5,), (ONE // 2,), (1,)),
        dense(7, 6, 3, "output"),
        Combine("gate", (6,), shape, (1,), then="output"),
        dense(8, 5, 2, "output"),
    ]
    return {
        "branches": model((5,), branches),
        "exact relu": model((5,), [first, Signs("relu", 1, shape, (0,), (1,)), last]),
        "relu6": model((5,), [first, relu6, last]),
        "curve": model((5,), [first, curve, last]),
        "signs of the input": model((6,), [replace(relu6, source=0), dense(1, 6, 3, "output")]),
        "label": model((5,), [first, *label]),
        "product": model((5,), [first, dense(0, 5, 6, "relu"), product, dense(3, 6, 3, "output")]),
        "moved": model((5,), [first, *moved]),
        "rows inside": model(
            (2 * 3 * 4 * 4 + 5,),
            [
                Slice("images", 0, (2, 3, 4, 4), 5),
                Linear("conv", 1, (2, 2, 4, 3), (2, 3, 4, 4), (2, 2, 3, 3), "truncate", Geometry()),
                Ranks("ranks", 2, (2, 2, 3, 3)),
                Combine("output", (3,), (2, 2, 3, 3), (1,), then="output"),
            ],
        ),
        "two outputs": model((5,), [dense(0, 5, 4, "relu"), dense(1, 4, 3, "output"), dense(0, 5, 2, "output")]),
    }


def small_models() -> dict[str, Model]:
    """Programs that use every operation, by name."""
    conv = Linear(
        "conv", 0, (3, 3, 2, 4), (6, 5, 2), (3, 3, 4), "relu", Geometry((2, 2), ((1, 1), (1, 1)))
    )
    grouped = Linear("grouped", 1, (2, 2, 2, 6), (3, 3, 4), (2, 2, 6), "relu", Geometry(groups=2))
    found = {
        "output": model((5,), [dense(0, 5, 3, "output")]),
        "relu": model((5,), [dense(0, 5, 11, "relu"), dense(1, 11, 3, "output")]),
        "truncate": model((5,), [dense(0, 5, 9, "truncate"), dense(1, 9, 3, "output")]),
        "mixed": model(
            (4,),
            [
                dense(0, 4, 24, "relu"),
                dense(0, 4, 6, "truncate"),
                replace(dense(1, 24, 6, "truncate"), plus=((2, 1),)),
                dense(3, 6, 20, "relu"),
                dense(4, 20, 2, "output"),
            ],
        ),
        "untrusted": untrusted(model((5,), [dense(0, 5, 11, "relu"), dense(1, 11, 3, "output")])),
        "convolutions": model(
            (6, 5, 2),
            [conv, grouped, Reshape("flatten", 2, (2, 2, 6), (24,)), dense(3, 24, 3, "output")],
        ),
    }
    found.update(graphs())
    for name in ("relu", "untrusted", "mixed", "exact relu"):
        found[f"{name}, padded"] = replace(found[name], padded=True)
    return found
