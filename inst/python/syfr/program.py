"""The public description of a computation: its steps, shapes and number format. Never a secret.

A Program is what the owner shares with all three workers and what a client is told before it connects. Value 0
is the input; step ``i`` makes value ``i + 1`` from the values it names. Shapes leave out the batch axis: every
step works on any number of rows. Workers accept a Program only through :meth:`Program.from_message`, which
checks operations, shapes and sizes, so nothing that arrives is ever executed as code.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError, ShapeError
from syfr.ring.fixedpoint import MAX_COMPARED_BITS, Precision, Words

Shape = tuple[int, ...]

MAX_STEPS = 2_000
MAX_ELEMENTS = 1 << 27
MAX_PRODUCTS = 1 << 36
"""Multiply-adds and gathered elements of one step for one row."""
THEN = ("relu", "truncate", "output")
MAX_INPUT = 1e9
HEADS = ("linear", "softmax", "sigmoid")


@dataclass(frozen=True)
class Geometry:
    """Where a two-dimensional convolution places its kernel: strides, zero padding, dilation, groups.

    ``padding`` is ((top, bottom), (left, right)).
    """

    strides: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of ``size`` and a kernel of ``kernel``."""
        out = []
        for axis in (0, 1):
            span = (kernel[axis] - 1) * self.dilation[axis] + 1
            out.append((size[axis] + sum(self.padding[axis]) - span) // self.strides[axis] + 1)
        return out[0], out[1]


@dataclass(frozen=True)
class Linear:
    """x·W + b, as a matrix product or one convolution, and what follows it in the same step.

    Pooling, batch normalisation, bias and padding are already folded into ``W`` and ``b`` by the owner.

    Attributes:
        layer: the Keras layers it came from, for messages.
        source: number of the value it reads.
        kernel: (inputs, outputs), or (height, width, channels in / groups, channels out).
        input_shape, output_shape: a row of each; channels last.
        then: "relu" (truncate, then max(0, .)), "truncate", or "output" (truncate towards the client).
        geometry: of a convolution; None for a matrix product, which acts on the last axis.
    """

    layer: str
    source: int
    kernel: Shape
    input_shape: Shape
    output_shape: Shape
    then: str
    geometry: Geometry | None = None

    @property
    def products(self) -> int:
        """Multiply-adds for one row."""
        inner = math.prod(self.kernel[:-1])
        return inner * math.prod(self.output_shape)

    def check(self) -> None:
        """Raise ProtocolError unless shapes, kernel and geometry fit together."""
        if self.then not in THEN:
            raise ProtocolError(f"Layer '{self.layer}' is followed by '{self.then}', which is unknown here.")
        _check_shapes(self.layer, self.kernel, self.input_shape, self.output_shape)
        expected = self._dense_shape() if self.geometry is None else self._convolution_shape(self.geometry)
        gathered = math.prod(self.kernel[:-1]) * math.prod(self.output_shape[:-1])
        if gathered > MAX_ELEMENTS or self.products > MAX_PRODUCTS:
            raise ProtocolError(f"Layer '{self.layer}' has more work for one row than a worker takes.")
        if expected != self.output_shape:
            raise ProtocolError(
                f"Layer '{self.layer}' declares the output shape {self.output_shape}; its kernel gives {expected}."
            )

    def _dense_shape(self) -> Shape:
        if len(self.kernel) != 2 or not self.input_shape or self.kernel[0] != self.input_shape[-1]:
            raise ProtocolError(f"The kernel of layer '{self.layer}' does not fit its input {self.input_shape}.")
        return (*self.input_shape[:-1], self.kernel[1])

    def _convolution_shape(self, geometry: Geometry) -> Shape:
        groups = geometry.groups
        numbers = (*geometry.strides, *geometry.dilation, groups)
        pads = (*geometry.padding[0], *geometry.padding[1])
        fits = len(self.kernel) == 4 and len(self.input_shape) == 3 and min(numbers) >= 1 and min(pads) >= 0
        if not fits or max(*numbers, *pads) > MAX_ELEMENTS:
            raise ProtocolError(f"Layer '{self.layer}' declares a convolution that cannot be placed.")
        if self.kernel[2] * groups != self.input_shape[2] or self.kernel[3] % groups:
            raise ProtocolError(f"The channels of layer '{self.layer}' do not fit its {groups} group(s).")
        height, width = geometry.output_size(
            (self.input_shape[0], self.input_shape[1]), (self.kernel[0], self.kernel[1])
        )
        return height, width, self.kernel[3]


@dataclass(frozen=True)
class Reshape:
    """The same numbers in another shape; nothing is computed or sent."""

    layer: str
    source: int
    input_shape: Shape
    output_shape: Shape

    def check(self) -> None:
        """Raise ProtocolError unless both shapes hold the same number of elements."""
        _check_shapes(self.layer, self.input_shape, self.output_shape)
        if math.prod(self.input_shape) != math.prod(self.output_shape):
            raise ProtocolError(f"Layer '{self.layer}' cannot turn {self.input_shape} into {self.output_shape}.")


Step = Linear | Reshape


@dataclass(frozen=True)
class Program:
    """A computation on one input: steps in order, the last of which gives the output.

    Attributes:
        input_shape: one row of the input.
        steps: what is computed; the last one is a Linear with ``then="output"``.
        precision: the fixed-point format.
        input_range: smallest and largest value of the input for which the ranges were checked.
        head: what the client applies to the opened output: "linear" (nothing), "softmax" or "sigmoid".
        rows: rows of one request when the model fixes its batch size, else None.
        untrusted_clients: whether inputs are lifted from a small ring, so that every message is a legal input.
    """

    input_shape: Shape
    steps: tuple[Step, ...]
    precision: Precision = field(default_factory=Precision)
    input_range: tuple[float, float] = (0.0, 1.0)
    head: str = "linear"
    rows: int | None = None
    untrusted_clients: bool = False

    @property
    def input_scale(self) -> float:
        """What an input is multiplied by before it is encoded: the power of two that brings the range into [-1, 1].

        The first weights are divided by it, so that both are held with as many bits as the format has.
        """
        return 2.0 ** -math.ceil(math.log2(max(map(abs, self.input_range))))

    @property
    def input_bits(self) -> int | None:
        """Bits w of the ring in which an untrusted client masks its input; None for the ring of all values."""
        if not self.untrusted_clients:
            return None
        low, high = self.input_range
        return max(1, math.ceil(math.log2((high - low) * self.input_scale * 2.0**self.precision.fraction_bits)))

    @property
    def input_offset(self) -> int:
        """What an encoded input is moved up by before it is masked in the ring of w bits."""
        if not self.untrusted_clients:
            return 0
        return round(-self.input_range[0] * self.input_scale * 2.0**self.precision.fraction_bits)

    @property
    def legal_range(self) -> tuple[float, float]:
        """Smallest and largest input that a client can send; without untrusted clients an honest one."""
        if self.input_bits is None:
            return self.input_range
        unit = 2.0**-self.precision.fraction_bits / self.input_scale
        return -self.input_offset * unit, ((1 << self.input_bits) - 1 - self.input_offset) * unit

    def encode_input(self, x: NDArray[np.float64]) -> Words:
        """A batch in fixed point, as the client masks it."""
        encoded = self.precision.encode(np.asarray(x, np.float64) * self.input_scale)
        if self.input_bits is None:
            return encoded
        largest = (1 << self.input_bits) - 1
        moved = np.clip(encoded.view(np.int64) + self.input_offset, 0, largest)
        return moved.view(np.uint64)

    @property
    def output_shape(self) -> Shape:
        """One row of the output."""
        return self.steps[-1].output_shape

    @property
    def compares(self) -> bool:
        """Whether the dealer has a part in the online phase."""
        return self.untrusted_clients or any(step.then == "relu" for _, step in self.linear_steps())

    def linear_steps(self) -> list[tuple[int, Linear]]:
        """The steps that have weights, with their numbers."""
        return [(number, step) for number, step in enumerate(self.steps) if isinstance(step, Linear)]

    def check(self) -> None:
        """Raise ProtocolError unless every step is known, fits its source, and the sizes are bounded."""
        if not 1 <= len(self.steps) <= MAX_STEPS:
            raise ProtocolError(f"A program has 1 to {MAX_STEPS} steps, not {len(self.steps)}.")
        _check_shapes("input", self.input_shape)
        self.precision.check()
        low, high = self.input_range
        if not (low < high and max(abs(low), abs(high)) < MAX_INPUT and high - low > 1 / MAX_INPUT):
            raise ProtocolError(f"The input range must be two finite numbers in order, not {self.input_range}.")
        if self.input_bits is not None and not 1 <= self.input_bits <= MAX_COMPARED_BITS:
            raise ProtocolError(f"Inputs of {self.input_bits} bits cannot be lifted; at most {MAX_COMPARED_BITS}.")
        if self.head not in HEADS:
            raise ProtocolError(f"The output head '{self.head}' is unknown; known are {', '.join(HEADS)}.")
        if self.rows is not None and not 1 <= self.rows <= MAX_ELEMENTS:
            raise ProtocolError(f"The rows of one request must be a positive number, not {self.rows}.")
        shapes: list[Shape | None] = [self.input_shape]
        last = len(self.steps) - 1
        for number, step in enumerate(self.steps):
            if not 0 <= step.source < len(shapes) or shapes[step.source] is None:
                raise ProtocolError(f"Layer '{step.layer}' reads value {step.source}, which does not exist.")
            if shapes[step.source] != step.input_shape:
                raise ProtocolError(f"Layer '{step.layer}' declares an input shape that its source does not have.")
            step.check()
            is_output = isinstance(step, Linear) and step.then == "output"
            if is_output != (number == last):
                raise ProtocolError("A program ends in exactly one output step, which comes last.")
            shapes.append(None if is_output else step.output_shape)

    def to_message(self) -> dict[str, Any]:
        """As plain lists, numbers and strings."""
        message = asdict(self)
        message["input_range"] = [float(end) for end in self.input_range]
        message["steps"] = [{"step": type(step).__name__.lower(), **asdict(step)} for step in self.steps]
        return message

    @classmethod
    def from_message(cls, message: object) -> Program:
        """Rebuild and check a Program that came over the wire; raises ProtocolError for anything unexpected."""
        try:
            fields = _mapping(message)
            program = cls(
                input_shape=_shape(fields["input_shape"]),
                steps=tuple(_step(item) for item in _sequence(fields["steps"], MAX_STEPS)),
                precision=_precision(fields["precision"]),
                input_range=_pair(float(value) for value in _sequence(fields["input_range"], 2)),
                head=_text(fields["head"]),
                rows=None if fields["rows"] is None else _integer(fields["rows"]),
                untrusted_clients=fields["untrusted_clients"] is True,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ProtocolError("A program arrived that cannot be read; share the model again.") from error
        program.check()
        return program

    def digest(self) -> bytes:
        """Sixteen bytes that two sides compare to know that they speak of the same program."""
        packed: bytes = msgpack.packb(self.to_message(), use_bin_type=True)
        return hashlib.sha256(b"syfr program 1" + packed).digest()[:16]

    def check_rows(self, shape: Shape) -> int:
        """The number of rows in an array of ``shape``; raises ShapeError when it is not an input."""
        if len(shape) != len(self.input_shape) + 1 or shape[1:] != self.input_shape or shape[0] < 1:
            wanted = ("rows", *self.input_shape)
            raise ShapeError(
                f"The input has shape {_show(shape)}; the model takes {_show(wanted)}. "
                "Reshape it, keeping the batch axis even for a single row."
            )
        return shape[0]


def _show(shape: tuple[object, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"


def _check_shapes(layer: str, *shapes: Shape) -> None:
    for shape in shapes:
        if not shape or len(shape) > 8 or min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
            raise ProtocolError(f"Layer '{layer}' has the shape {shape}, which is empty or too large.")


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected a mapping")
    return value


def _sequence(value: object, most: int) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > most:
        raise TypeError("expected a short list")
    return tuple(value)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 500:
        raise TypeError("expected a short text")
    return value


def _shape(value: object) -> Shape:
    return tuple(_integer(size) for size in _sequence(value, 8))


def _pair(values: Any) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _precision(value: object) -> Precision:
    fields = {key: _integer(number) for key, number in _mapping(value).items()}
    if set(fields) != set(asdict(Precision())):
        raise ValueError("an incomplete number format")
    return Precision(**fields)


def _geometry(value: object) -> Geometry | None:
    if value is None:
        return None
    fields = _mapping(value)
    return Geometry(
        strides=_pair(_shape(fields["strides"])),
        padding=_pair(_pair(_shape(side)) for side in _sequence(fields["padding"], 2)),
        dilation=_pair(_shape(fields["dilation"])),
        groups=_integer(fields["groups"]),
    )


def _step(value: object) -> Step:
    fields = _mapping(value)
    kind = fields["step"]
    layer, source = _text(fields["layer"]), _integer(fields["source"])
    shapes = _shape(fields["input_shape"]), _shape(fields["output_shape"])
    if kind == "linear":
        kernel, geometry = _shape(fields["kernel"]), _geometry(fields["geometry"])
        return Linear(layer, source, kernel, *shapes, _text(fields["then"]), geometry)
    if kind == "reshape":
        return Reshape(layer, source, *shapes)
    raise ValueError("an unknown operation")
