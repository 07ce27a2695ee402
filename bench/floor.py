"""What the sum of the budget says that one conv query, and preprocessing for it, must take at the least."""

from __future__ import annotations

import math

from syfr.program import Program
from syfr.protocol.roles import Role
from syfr.ring.compare import digit_widths, thresholds_of
from syfr.ring.fixedpoint import WIRE_BYTES

from bench.stats import Figures


def add(figures: Figures, program: Program) -> None:
    """Kernels on the critical path, hops between workers, and bytes; nothing of the interpreter but what a hop has."""
    precision = program.precision

    def cost(name: str) -> float:
        return figures.median(f"kernel/{name}")

    computing = hops = carried = 0.0
    for number, step in program.linear_steps():
        computing += step.products * cost(f"multiply-add of layer {number}, 1 row(s)")
        if step.then != "relu":
            continue
        values = math.prod(step.output_shape)
        computing += values * (cost("truncate a value") + cost("select a value"))
        computing += values * (cost("compare: blind a value") + cost("compare: look at a value"))
        computing += values * (cost("pack an element") + cost("unpack an element"))
        computing += 2 * values * cost("hash an element (8 B)")
        hops += 4 * cost("TLS hop of 64 B")
        # One way of each swap, one server's compare, one answer: what is on the way at the same time counts once.
        carried += (4 + precision.digits**2 / 8 + WIRE_BYTES) * values * cost("TLS byte")
    client = 2 * cost("TLS hop of 64 B") + WIRE_BYTES * math.prod(program.input_shape) * cost("TLS byte")
    figures.add("floor/query: kernels", "s", computing)
    figures.add("floor/query: hops between workers", "s", hops)
    figures.add("floor/query: bytes between workers", "s", carried)
    figures.add("floor/query: client to workers and back", "s", client)
    figures.add("floor/query", "s", computing + hops + carried + client)
    _preprocessing(figures, program)


def _preprocessing(figures: Figures, program: Program) -> None:
    """Processor time of all three parties for a row; two cores could share it."""

    def cost(name: str) -> float:
        return figures.median(f"kernel/{name}")

    bits = thresholds_of(digit_widths(program.precision.compared_bits, program.precision.digits))
    total = 0.0
    for number, step in program.linear_steps():
        total += len(Role) * step.products * cost(f"multiply-add of layer {number}, 32 row(s)")
        values = math.prod(step.output_shape)
        if step.then != "relu":
            continue
        # The dealer and server0 draw the thresholds, both servers what blinds.
        total += values * (2 * bits * cost("random bit") + cost("deal: a value's thresholds"))
        total += 2 * values * cost("prepare: a value's blinding")
        elements = 2 * 5 + 4 + 2  # dealt values at two, next masks at two and twice at the dealer, c0 at two
        total += values * (elements * cost("random element (8 B)") + 4 * cost("random integer (4 B)"))
        total += values * 6 * (cost("pack an element") + cost("unpack an element"))
        total += (6 * (5 + 1) + bits / 8) * values * cost("TLS byte")
    figures.add("floor/preprocessing of a row, all parties", "s", total)
