"""Steps as messages: plain lists, numbers and strings, and back, with every field looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from syfr.steps import MAX_ELEMENTS, MAX_KNOTS, MAX_SOURCES, STEPS, Geometry, Shape, Step


def step_to_message(step: Step) -> dict[str, Any]:
    """A step as plain lists, numbers and strings."""
    return {"step": type(step).__name__.lower(), **asdict(step)}


def step_from_message(value: object) -> Step:
    """Rebuild a step; raises TypeError, ValueError or KeyError for anything unexpected, and checks no shapes."""
    message = mapping(value)
    for kind in STEPS:
        if message["step"] == kind.__name__.lower():
            return kind(**{field.name: _PARSERS[field.name](message[field.name]) for field in fields(kind)})
    raise ValueError("an unknown operation")


def mapping(value: object) -> Mapping[str, Any]:
    """A dictionary, or TypeError."""
    if not isinstance(value, dict):
        raise TypeError("expected a mapping")
    return value


def sequence(value: object, most: int) -> tuple[Any, ...]:
    """A list of at most so many, or TypeError."""
    if not isinstance(value, (list, tuple)) or len(value) > most:
        raise TypeError("expected a short list")
    return tuple(value)


def integer(value: object) -> int:
    """A whole number, or TypeError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value


def _step_number(value: object) -> int | None:
    return None if value is None else integer(value)


def flag(value: object) -> bool:
    """True or False, or TypeError."""
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def text(value: object) -> str:
    """A short text, or TypeError."""
    if not isinstance(value, str) or len(value) > 500:
        raise TypeError("expected a short text")
    return value


def shape_from(value: object) -> Shape:
    """A shape of at most eight axes."""
    return tuple(integer(size) for size in sequence(value, 8))


def pair(values: Any) -> tuple[Any, Any]:
    """Two of anything."""
    first, second = values
    return first, second


def _geometry(value: object) -> Geometry | None:
    if value is None:
        return None
    message = mapping(value)
    return Geometry(
        strides=pair(shape_from(message["strides"])),
        padding=pair(pair(shape_from(side)) for side in sequence(message["padding"], 2)),
        dilation=pair(shape_from(message["dilation"])),
        groups=integer(message["groups"]),
    )


def _integers(most: int) -> Callable[[object], tuple[int, ...]]:
    return lambda value: tuple(integer(number) for number in sequence(value, most))


def _plus(value: object) -> tuple[tuple[int, int], ...]:
    return tuple(pair(_integers(2)(item)) for item in sequence(value, MAX_SOURCES))


_PARSERS: dict[str, Callable[[object], Any]] = {
    "layer": text,
    **dict.fromkeys(("source", "left", "right", "slope", "constant", "scale_bits", "axis", "start"), integer),
    **dict.fromkeys(("kernel", "input_shape", "output_shape", "axes"), shape_from),
    **dict.fromkeys(("matrices", "bits"), flag),
    "sources": _integers(MAX_SOURCES),
    "factors": _integers(MAX_ELEMENTS),
    "indices": _integers(MAX_ELEMENTS),
    "knots": _integers(MAX_KNOTS),
    "then": text,
    "geometry": _geometry,
    "plus": _plus,
    "weights": _step_number,
}
"""How each field of a step is read, by its name."""
