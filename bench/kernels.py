"""What each kernel costs for one thing it does: a multiply-add, a value compared, a random value, a packed element.

As a program: prints the budget alone. `python -m bench.kernels`
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from syfr.program import Program
from syfr.protocol import linear, relu
from syfr.protocol.compare import draw_common
from syfr.protocol.transcript import Transcript
from syfr.ring import compare, packing, selection
from syfr.ring.streams import KeyStream, fresh_key
from syfr.steps import Linear

from bench import wire
from bench.stats import Figures, repeated

VALUES = 2704
"""Values of the first layer of the convolution model: 13 x 13 x 16."""

RUNS = 40


def measure(figures: Figures, program: Program) -> None:
    """All of them; ``program`` is that of the convolution model."""
    _random(figures)
    _compare(figures, program)
    _elements(figures)
    _products(figures, program)
    wire.measure(figures)


def _add(figures: Figures, name: str, things: int, work: Callable[[], object]) -> None:
    figures.add(f"kernel/{name}", "s", [seconds / things for seconds in repeated(work, RUNS)])


def _random(figures: Figures) -> None:
    stream = KeyStream(fresh_key())
    count = 63 * VALUES
    for bound, start in ((2, 0), (6, 0), (63, 1)):
        _add(figures, f"random below {bound}", count, lambda: stream.below("", (count,), bound, start))  # noqa: B023
    _add(figures, "random bit", 8 * count, lambda: stream.take(count))
    _add(figures, "random element (8 B)", count, lambda: stream.elements("", (count,)))
    _add(figures, "random integer (4 B)", count, lambda: stream.integers("", (count,), 28))
    _add(figures, "stream (made and 16 B drawn)", 1, lambda: KeyStream(fresh_key()).take(16))


def _compare(figures: Figures, program: Program) -> None:
    precision = program.precision
    bits = precision.compared_bits
    widths = compare.digit_widths(bits, precision.digits)
    stream = KeyStream(fresh_key())
    shape = (1, VALUES)
    opened = stream.integers("", shape, bits)
    shares = stream.bits("", (1, compare.thresholds_of(widths), VALUES))
    common = draw_common(shape, bits, precision, stream)
    flip = stream.below("", shape, 2)

    def blind(first: bool = True) -> compare.Bytes:
        return compare.blinded(opened, bits, widths, first, shares, **common)

    left, right = blind(), blind(False)
    _add(figures, "compare: blind a value", VALUES, blind)
    _add(figures, "compare: look at a value", VALUES, lambda: compare.any_zero(left, right, len(widths)))
    _add(figures, "deal: a value's thresholds", VALUES, lambda: compare.threshold_shares(opened, bits, widths, shares))
    _add(figures, "prepare: a value's blinding", VALUES, lambda: draw_common(shape, bits, precision, stream))
    kappa = precision.truncated_bits
    elements, whole = stream.elements("", shape), stream.thirds("", (1, relu.WHOLE, VALUES))
    lifted = stream.octets("", (1, relu.LIFTED, VALUES), packing.octets_above(kappa))
    _add(
        figures,
        "truncate a value",
        VALUES,
        lambda: selection.masked_quotient(elements, opened, precision.fraction_bits, precision.value_bits),
    )
    _add(
        figures,
        "select a value",
        VALUES,
        lambda: selection.add_selected(opened, flip, flip, opened, whole, lifted, True, kappa, elements.copy()),
    )


def _elements(figures: Figures) -> None:
    elements = KeyStream(fresh_key()).elements("", (VALUES,))
    packed = packing.pack_elements(elements)
    transcript = Transcript(fresh_key(), b"")
    _add(figures, "pack an element", VALUES, lambda: packing.pack_elements(elements))
    _add(figures, "unpack an element", VALUES, lambda: packing.unpack_elements(packed, (VALUES,)))
    _add(figures, "hash an element (8 B)", VALUES, lambda: transcript.absorb(elements))


def _products(figures: Figures, program: Program) -> None:
    dense = Linear("dense", 0, (784, 500), (784,), (500,), "relu")
    steps = [(f"layer {number}", step) for number, step in program.linear_steps()]
    for name, step in [*steps, ("dense 784x500", dense)]:
        stream = KeyStream(fresh_key())
        kernel = stream.elements("", step.kernel)
        for rows in (1, 32):
            x, out = stream.elements("", (rows, *step.input_shape)), np.zeros((rows, *step.output_shape), np.uint64)
            _add(
                figures,
                f"multiply-add of {name}, {rows} row(s)",
                rows * step.products,
                lambda: linear.multiply_onto(step, x, kernel, out),  # noqa: B023
            )


def main() -> None:
    """Print the budget."""
    from syfr.importing.keras_import import import_model

    from bench import models

    figures = Figures()
    measure(figures, import_model(models.conv()).program)
    for name, figure in figures.all.items():
        print(f"{name.removeprefix('kernel/'):45s} {figure.median * 1e9:12.3f} ns   p90 {figure.p90 * 1e9:12.3f}")


if __name__ == "__main__":
    main()
