"""Tables and arrays for people to look at: what each layer of a model costs, and what each worker holds of an input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from syfr.face.client import Client, Floats
from syfr.face.results import input_shapes, output_shapes
from syfr.party.preprocessing import Plan
from syfr.program import Part, Program
from syfr.protocol import lift
from syfr.protocol.cost import Cost
from syfr.protocol.sharing import low_bits
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.steps import Linear, Step, follows
from syfr.trust.identity import SERVERS, Bundle


def layers(program: Program) -> list[dict[str, Any]]:
    """One dictionary for each step that has weights or needs messages, in order, for a query of one row.

    "layer", "operation" and "output" (its shape) say what it is; "weights" and "products" (multiply-adds with them) how
    large; "delays", "online_bytes" and "preprocessing_bytes" are what the operations declare. Steps that do not wait
    for each other have their delays at the same time. What a layer does at every time is one line, with the sums over
    all times. Counts are floats: R cuts whole numbers above 2^31.
    """
    table = []
    if program.input_bits is not None:
        cost = lift.cost(math.prod(program.input_shape), program.input_bits, program.precision)
        table.append(_row("input", "lift", program.input_shape, cost))
    for operation, step in zip(Plan(program).operations, program.steps, strict=True):
        cost = operation.cost()
        if isinstance(step, Linear) or cost != Cost():
            table.append(_row(step.layer, _operation(step), step.output_shape, cost, step))
    again = {step.layer for step in program.steps if isinstance(step, Linear) and step.weights is not None}
    return _over_time(table, again)


def _over_time(table: list[dict[str, Any]], again: set[str]) -> list[dict[str, Any]]:
    """Lines of the layers in ``again`` that say the same are one."""
    found: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(table):
        key = (row["layer"], row["operation"], *row["output"]) if row["layer"] in again else number
        known = found.setdefault(key, row)
        if known is not row:
            for figure in ("weights", "products", "delays", "online_bytes", "preprocessing_bytes"):
                known[figure] += row[figure]
    return list(found.values())


def _row(name: str, operation: str, shape: tuple[int, ...], cost: Cost, step: Step | None = None) -> dict[str, Any]:
    linear = step if isinstance(step, Linear) else None
    return {
        "layer": name,
        "operation": operation,
        "output": list(shape),
        "weights": float(0 if linear is None or linear.weights is not None else linear.numbers),
        "products": float(0 if linear is None else linear.products),
        **_figures(cost),
    }


def _operation(step: Step) -> str:
    if isinstance(step, Linear):
        name = "dense" if step.geometry is None else "convolution"
    else:
        name = type(step).__name__.lower()
    return f"{name}, relu" if follows(step) == "relu" else name


def _figures(cost: Cost) -> dict[str, float]:
    return {
        "delays": float(cost.delays),
        "online_bytes": float(cost.online_bytes),
        "preprocessing_bytes": float(cost.preprocessing_bytes),
    }


def held(client: Client) -> dict[str, Floats]:
    """What the workers held of the last input that a client sent, computed from exactly what they have.

    Alone: for server0 and server1 the masked input, for server2 the first of its two masks, as numbers in [0, 1). By
    twos, such as "server0+server1": the input itself, since two workers hold all three parts, m, lambda0 and lambda1.
    """
    sent = client.sent
    masked, both = sent.masked, sent.masks[0] + sent.masks[1]
    alone = {"server0": masked, "server1": masked, "server2": sent.masks[0]}
    views = {role: _fraction(words, sent.program) for role, words in alone.items()}
    for first, second in ((0, 1), (0, 2), (1, 2)):
        views[f"{SERVERS[first]}+{SERVERS[second]}"] = _opened(masked - both, sent.program)
    return views


def _opened(words: Words, program: Program) -> Floats:
    """What was encoded by Program.encode_input()."""
    encoded = low_bits(words, program.input_bits) - np.uint64(program.input_offset)
    return program.precision.decode(encoded) / program.input_scale


def _fraction(words: Words, program: Program) -> Floats:
    bits = program.input_bits or 8 * WIRE_BYTES
    return (words & np.uint64((1 << bits) - 1)).astype(np.float64) / 2.0**bits


def facts(program: Program) -> dict[str, Any]:
    """What everybody may know of a model, besides its layers."""
    outputs = program.outputs or (Part("", program.output_shape, program.head),)
    return {
        "inputs": [list(shape) for shape in input_shapes(program)],
        "outputs": [list(shape) for shape in output_shapes(program)],
        "vocabularies": [part.vocabulary for part in program.inputs],
        "heads": [part.head for part in outputs],
        "rows": program.rows,
        "digits": program.output_digits,
        "fraction_bits": program.precision.fraction_bits,
        "value_bits": program.precision.value_bits,
        "input_range": list(program.input_range),
        "untrusted_clients": program.untrusted_clients,
        "proven": program.proven,
    }


def identity(bundle: Bundle) -> dict[str, Any]:
    """As whom a party connects: its name, its cluster (a part of the id), and until when its certificate is good."""
    return {"name": str(bundle.identity), "cluster": bundle.cluster[:8], "expires": bundle.not_after.timestamp()}
