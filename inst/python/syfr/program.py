"""The public description of a computation: its steps, shapes and number format. Never a secret.

A Program is what the owner shares with all three workers and what a client is told before it connects. It is a graph:
value 0 is the input; step ``i`` makes value ``i + 1`` from the values it names, all of them earlier ones. Shapes leave
out the batch axis: every step works on any number of rows. Workers accept a Program only through
:meth:`Program.from_message`, which checks operations, shapes and sizes: nothing that arrives is executed as code.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError, ShapeError
from syfr.ring.fixedpoint import MAX_COMPARED_BITS, WIRE_BYTES, Precision, Words, rounded
from syfr.step_messages import integer, mapping, pair, sequence, shape_from, step_from_message, step_to_message, text
from syfr.steps import (
    MAX_ELEMENTS,
    Combine,
    Linear,
    Product,
    Ranks,
    Reshape,
    Shape,
    Signs,
    Step,
    check_shapes,
    follows,
    is_output,
)

MAX_STEPS = 8_000
MAX_PARTS = 64
MAX_CLASSES = 100_000
MAX_INPUT = 1e9
MAX_SPREAD = 1 << 24
"""Larger kernels are rounded number by number, for memory: nothing was folded into them."""

HEADS = ("linear", "softmax", "sigmoid", "label")
"""What the client makes of an output: nothing, a softmax, a sigmoid, or whole numbers that count classes from 0."""


@dataclass(frozen=True)
class Part:
    """One of several inputs or outputs of a model, which lie one after the other in a row.

    ``head`` is what the client applies to an output. An input with a ``vocabulary`` takes tokens, whole numbers from 0
    that are smaller; of each the client shares as many numbers, a 1 in its place and zeros.
    """

    name: str
    shape: Shape
    head: str = "linear"
    vocabulary: int = 0

    @property
    def size(self) -> int:
        """Elements of a row as it is shared."""
        return math.prod(self.shape) * (self.vocabulary or 1)


@dataclass(frozen=True)
class Program:
    """A computation on one input: a graph of steps, one or more of which give the output.

    Attributes:
        input_shape: one row of the input.
        steps: what is computed, each from values before it; the last one is an output.
        precision: the fixed-point format.
        input_range: smallest and largest value of the input for which the ranges were checked.
        head: what the client applies to the opened output, one of HEADS.
        rows: rows of one request when the model fixes its batch size, else None.
        untrusted_clients: whether inputs are lifted from a small ring, so that every message is a legal input.
        digits: binary digits behind the point that an answer carries; None for all f.
        inputs, outputs: the parts of a row when a model has several inputs or outputs, else empty. The row is then
            flat; outputs come in the order of the output steps, and have a name where predict() gives a dictionary.
            A single part is an output that the client gives another shape, or an input of tokens.
        proven: whether the ranges hold for every allowed input, or only for what they were calibrated with.
        classes: names of the classes that labels and the last axis of an output count, or none.
    """

    input_shape: Shape
    steps: tuple[Step, ...]
    precision: Precision = field(default_factory=Precision)
    input_range: tuple[float, float] = (0.0, 1.0)
    head: str = "linear"
    rows: int | None = None
    untrusted_clients: bool = False
    digits: int | None = None
    inputs: tuple[Part, ...] = ()
    outputs: tuple[Part, ...] = ()
    proven: bool = True
    classes: tuple[str, ...] = ()

    @cached_property
    def input_scale(self) -> float:
        """What an input is multiplied by before it is encoded: the power of two that brings the range into [-1, 1].

        The first weights are divided by it, so that both are held with as many bits as the format has.
        """
        return 2.0 ** -math.ceil(math.log2(max(map(abs, self.input_range))))

    @cached_property
    def input_bits(self) -> int | None:
        """Bits w of the ring in which an untrusted client masks its input; None for the ring of all values."""
        if not self.untrusted_clients:
            return None
        low, high = self.input_range
        return max(1, math.ceil(math.log2((high - low) * self.input_scale * 2.0**self.precision.fraction_bits)))

    @cached_property
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

    @cached_property
    def takes_tokens(self) -> bool:
        """Whether an input takes tokens."""
        return any(part.vocabulary for part in self.inputs)

    @property
    def row_shape(self) -> Shape:
        """One row of the input as the client has it: tokens are whole numbers there."""
        if not self.takes_tokens:
            return self.input_shape
        first, *others = self.inputs
        return first.shape if not others else (sum(math.prod(part.shape) for part in self.inputs),)

    def spread(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of ``row_shape`` as rows of ``input_shape``: a 1 in the place of each token, and zeros."""
        if not self.takes_tokens:
            return x
        flat, start, found = x.reshape(len(x), -1), 0, []
        for part in self.inputs:
            end = start + math.prod(part.shape)
            found.append(_one_hot(flat[:, start:end], part.vocabulary) if part.vocabulary else flat[:, start:end])
            start = end
        return np.concatenate(found, axis=1).reshape(len(x), *self.input_shape)

    def encode_input(self, x: NDArray[np.float64]) -> Words:
        """A batch in fixed point, as the client masks it."""
        encoded = self.precision.encode(self.spread(np.asarray(x, np.float64)) * self.input_scale)
        if self.input_bits is None:
            return encoded
        largest = (1 << self.input_bits) - 1
        moved = np.clip(encoded.view(np.int64) + self.input_offset, 0, largest)
        return moved.view(np.uint64)

    def round_kernel(self, step: Linear, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of a step as fixed point holds them, errors cancelling over the places of an image."""
        places = 1
        if kernel.size <= MAX_SPREAD:
            source = self.steps[step.source - 1] if step.source else None
            if step.geometry is not None:
                places = step.kernel[0] * step.kernel[1]
            elif isinstance(source, Reshape) and len(source.input_shape) == 3 and len(source.output_shape) == 1:
                places = source.input_shape[0] * source.input_shape[1]
        return rounded(kernel, self.precision.fraction_bits, places)

    @cached_property
    def output_shape(self) -> Shape:
        """One row of the output; flat where there are several."""
        shapes = [step.output_shape for step in self.steps if is_output(step)]
        return shapes[0] if len(shapes) == 1 else (sum(math.prod(shape) for shape in shapes),)

    @property
    def output_digits(self) -> int:
        """Binary digits behind the point of an answer."""
        return self.precision.fraction_bits if self.digits is None else self.digits

    @property
    def output_bits(self) -> int:
        """Bits of the ring in which the client adds the parts of an answer: truncation takes them off k."""
        return self.precision.value_bits - 2 * self.precision.fraction_bits + self.output_digits

    @cached_property
    def compares(self) -> bool:
        """Whether the dealer has a part in the online phase."""
        return self.untrusted_clients or any(map(compares, self.steps))

    def linear_steps(self) -> list[tuple[int, Linear]]:
        """The steps that have weights of their own, with their numbers."""
        steps = enumerate(self.steps)
        return [(number, step) for number, step in steps if isinstance(step, Linear) and step.weights is None]

    def weights_of(self, number: int) -> int:
        """The number of the step that has the weights which step ``number`` uses, itself if no other."""
        step = self.steps[number]
        return step.weights if isinstance(step, Linear) and step.weights is not None else number

    def readers(self) -> list[int]:
        """How many steps read each value."""
        counts = [0] * (len(self.steps) + 1)
        for step in self.steps:
            for source in set(step.sources):
                counts[source] += 1
        return counts

    def check(self) -> None:
        """Raise ProtocolError unless every step is known, fits its sources, and the sizes are bounded."""
        check_shapes("input", self.input_shape)
        self.precision.check()
        self._check_input()
        self._check_steps()
        self._check_parts()
        if self.rows is not None and not 1 <= self.rows <= MAX_ELEMENTS:
            raise ProtocolError(f"The rows of one request must be a positive number, not {self.rows}.")
        if self.digits is not None and not 0 <= self.digits <= self.precision.fraction_bits:
            raise ProtocolError(f"An answer carries 0 to {self.precision.fraction_bits} digits, not {self.digits}.")

    def _check_input(self) -> None:
        low, high = self.input_range
        if not (low < high and max(abs(low), abs(high)) < MAX_INPUT and high - low > 1 / MAX_INPUT):
            raise ProtocolError(f"The input range must be two finite numbers in order, not {self.input_range}.")
        if self.input_bits is not None and not 1 <= self.input_bits <= MAX_COMPARED_BITS:
            raise ProtocolError(f"Inputs of {self.input_bits} bits cannot be lifted; at most {MAX_COMPARED_BITS}.")

    def _check_steps(self) -> None:
        if not 1 <= len(self.steps) <= MAX_STEPS:
            raise ProtocolError(f"A program has 1 to {MAX_STEPS} steps, not {len(self.steps)}.")
        shapes: list[Shape | None] = [self.input_shape]
        for step in self.steps:
            read = []
            for source in step.sources:
                shape = shapes[source] if 0 <= source < len(shapes) else None
                if shape is None:
                    raise ProtocolError(f"Layer '{step.layer}' reads value {source}, which does not exist.")
                read.append(shape)
            if not read:
                raise ProtocolError(f"Layer '{step.layer}' reads no value.")
            step.check(read)
            self._check_scale(step)
            self._check_weights(step, len(shapes) - 1)
            shapes.append(None if is_output(step) else step.output_shape)
        if shapes[-1] is not None:
            raise ProtocolError("A program ends in an output step.")
        for step, shape, readers in zip(self.steps, shapes[1:], self.readers()[1:], strict=True):
            if shape is not None and not readers:
                raise ProtocolError(f"Nothing reads what layer '{step.layer}' gives.")

    def _check_weights(self, step: Step, number: int) -> None:
        """Weights of another step are those of one before it that has some, of the same form."""
        if not isinstance(step, Linear) or step.weights is None:
            return
        other = self.steps[step.weights] if 0 <= step.weights < number else None
        form = step.kernel, step.geometry
        if not isinstance(other, Linear) or other.weights is not None or (other.kernel, other.geometry) != form:
            raise ProtocolError(f"Layer '{step.layer}' uses weights of step {step.weights}, which has none like it.")

    def _check_scale(self, step: Step) -> None:
        """What is truncated must fit a ring element on the wire, as a product does."""
        if isinstance(step, (Combine, Signs, Product)) and step.scale_bits:
            taken = step.scale_bits + (self.precision.fraction_bits if isinstance(step, Product) else 0)
            if self.precision.taking_off(taken).value_bits + 2 > 8 * WIRE_BYTES:
                raise ProtocolError(f"Layer '{step.layer}' takes {taken} bits off, more than the format has.")

    def _check_parts(self) -> None:
        for head in (self.head, *(part.head for part in self.outputs)):
            if head not in HEADS:
                raise ProtocolError(f"The output head '{head}' is unknown; known are {', '.join(HEADS)}.")
        for parts, shape in ((self.inputs, self.input_shape), (self.outputs, self.output_shape)):
            if parts:
                check_shapes("input or output", *(part.shape for part in parts))
                if math.prod(shape) != sum(part.size for part in parts):
                    raise ProtocolError("The inputs or outputs of the program do not fill a row.")
        known = range(MAX_ELEMENTS + 1)
        if any(part.vocabulary not in known for part in self.inputs) or any(part.vocabulary for part in self.outputs):
            raise ProtocolError("Only inputs take tokens, of a vocabulary that is not negative.")

    def to_message(self) -> dict[str, Any]:
        """As plain lists, numbers and strings."""
        message = asdict(self)
        message["input_range"] = [float(end) for end in self.input_range]
        message["steps"] = [step_to_message(step) for step in self.steps]
        return message

    @classmethod
    def from_message(cls, message: object) -> Program:
        """Rebuild and check a Program that came over the wire; raises ProtocolError for anything unexpected."""
        try:
            fields = mapping(message)
            program = cls(
                input_shape=shape_from(fields["input_shape"]),
                steps=tuple(step_from_message(item) for item in sequence(fields["steps"], MAX_STEPS)),
                precision=_precision(fields["precision"]),
                input_range=pair(float(value) for value in sequence(fields["input_range"], 2)),
                head=text(fields["head"]),
                rows=None if fields["rows"] is None else integer(fields["rows"]),
                untrusted_clients=fields["untrusted_clients"] is True,
                digits=None if fields["digits"] is None else integer(fields["digits"]),
                inputs=_parts(fields["inputs"]),
                outputs=_parts(fields["outputs"]),
                proven=fields["proven"] is True,
                classes=tuple(text(name) for name in sequence(fields["classes"], MAX_CLASSES)),
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
        return check_rows(shape, self.row_shape)


def check_rows(shape: Shape, row: Shape) -> int:
    """The number of rows in an array of ``shape``; raises ShapeError when they are not of the shape ``row``."""
    if len(shape) != len(row) + 1 or shape[1:] != row or shape[0] < 1:
        empty = shape[:1] == (0,)
        raise ShapeError(
            f"The input has shape {_show(shape)}{', so no rows' if empty else ''}; "
            f"the model takes {_show(('rows', *row))}. "
            + ("Give at least one row." if empty else "Reshape it, keeping the batch axis even for a single row.")
        )
    return shape[0]


def _one_hot(tokens: NDArray[np.float64], vocabulary: int) -> NDArray[np.float64]:
    """Rows of tokens as rows of zeros with a 1 in the place of each."""
    found = np.zeros((*tokens.shape, vocabulary))
    np.put_along_axis(found, tokens[..., None].astype(np.intp), 1.0, axis=-1)
    return found.reshape(len(tokens), -1)


def compares(step: Step) -> bool:
    """Whether a step needs the dealer's answers online."""
    return isinstance(step, (Signs, Ranks)) or follows(step) == "relu"


def _show(shape: tuple[object, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"


def _parts(value: object) -> tuple[Part, ...]:
    found = [mapping(item) for item in sequence(value, MAX_PARTS)]
    return tuple(
        Part(text(item["name"]), shape_from(item["shape"]), text(item["head"]), integer(item["vocabulary"]))
        for item in found
    )


def _precision(value: object) -> Precision:
    fields = {key: integer(number) for key, number in mapping(value).items()}
    if set(fields) != set(asdict(Precision())):
        raise ValueError("an incomplete number format")
    return Precision(**fields)
