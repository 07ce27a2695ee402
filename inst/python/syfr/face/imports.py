"""What an owner may say about a model that is to be shared, checked at the door, and the model imported so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from syfr.errors import InputTypeError, ValueRangeError
from syfr.face.arguments import (
    array_argument,
    count_argument,
    flag_argument,
    range_argument,
    text_argument,
    whole_argument,
)
from syfr.importing.calibration import checked
from syfr.importing.keras_import import DIGITS, OUTPUTS, Imported, import_model
from syfr.ring.fixedpoint import Precision

WHOLE_BITS = 28
"""Bits of a value after truncation: those of the fraction, and what is left for larger numbers."""

FRACTIONS = (6, 18)


def imported(
    model: object,
    *,
    input_range: object = (0.0, 1.0),
    untrusted_clients: object = False,
    precision: object = None,
    output: object = "model",
    k: object = 5,
    digits: object = DIGITS,
    classes: object = None,
    calibrate: Any = None,
    allow_unproven: object = False,
) -> Imported:
    """A Keras model as a Program and weights whose ranges were checked.

    Args:
        input_range: smallest and largest input, for which no value inside the network leaves its range.
        untrusted_clients: whether a client might send other inputs than these on purpose, to learn about the weights;
            the workers then make sure that it cannot, which takes a few message delays more.
        precision: fraction bits of every number, 14 if nothing is said; fewer leave more room for large numbers.
        output: what a client learns of a prediction: "model" what the model's own predict() gives, "logits" what goes
            into a softmax or sigmoid at its end, "label" the number of the winning class alone, counted from 0, or
            "top_k" those of the ``k`` best classes, best first. The workers give nothing else.
        digits: binary digits behind the point of what a client gets, or of the logits where it computes a softmax.
        classes: names of the classes; clients are told them.
        calibrate: inputs like those to come, for a model whose ranges cannot be proven from its weights.
        allow_unproven: whether ranges may come from ``calibrate``, which is no proof. The model is then marked so.
    """
    bits = _precision(precision)
    kind = _output(output)
    unproven = flag_argument(allow_unproven, "allow_unproven")
    found = import_model(
        model,
        precision=Precision(bits, bits + WHOLE_BITS),
        input_range=range_argument(input_range),
        untrusted_clients=flag_argument(untrusted_clients, "untrusted_clients"),
        output=kind,
        k=count_argument(k, "k"),
        digits=_digits(digits, bits),
        classes=_classes(classes),
    )
    data = None if calibrate is None else array_argument(calibrate, found.program, "calibrate")
    return replace(found, program=checked(found.program, found.weights, data, unproven, found.known))


def _precision(value: object) -> int:
    if value is None:
        return Precision().fraction_bits
    bits = count_argument(value, "precision")
    if not FRACTIONS[0] <= bits <= FRACTIONS[1]:
        raise ValueRangeError(
            f"precision is {bits}. Give {FRACTIONS[0]} to {FRACTIONS[1]} fraction bits; 14 are usual."
        )
    return bits


def _output(value: object) -> str:
    if value not in OUTPUTS:
        raise InputTypeError(f"output is {value!r}. Give one of {', '.join(OUTPUTS)}.")
    return str(value)


def _digits(value: object, bits: int) -> int | None:
    """As many digits as the format has, at most; None for all. The usual number may be more than there are."""
    if value is None:
        return None
    digits = whole_argument(value, "digits")
    if not 0 <= digits <= max(bits, DIGITS):
        raise ValueRangeError(f"digits is {digits}. Give 0 to {bits}, the binary digits of the model's precision.")
    return min(digits, bits)


def _classes(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InputTypeError("classes must be several names. Give a text for each class.")
    names = tuple(text_argument(name, "classes") for name in value)
    if len(set(names)) < len(names):
        raise ValueRangeError("classes has a name twice. Give each class a name of its own.")
    return names
