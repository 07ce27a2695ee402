"""What users hand over, cast once at the door: one helper for each kind of argument.

R has no whole numbers to speak of and passes ``3.0``, lists of doubles, and arrays in Fortran order that cannot be
written to. Whatever cannot be meant is refused with an error that names the argument and what to give instead.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syfr.errors import InputTypeError, ShapeError, ValueRangeError
from syfr.program import Part, Program, check_rows
from syfr.steps import Shape

Batch = tuple[int | None, Shape | tuple[Shape, ...]]
"""Rows of a request (None when left open), and the shape of a row: several shapes for several inputs or outputs."""


def whole_argument(value: object, name: str) -> int:
    """A whole number: 3, 3.0 or -3."""
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        number = float(value)
        if number.is_integer() and abs(number) < 2**53:
            return int(number)
    raise InputTypeError(f"{name} is {_shown(value)}. Give a whole number.")


def count_argument(value: object, name: str) -> int:
    """A positive whole number: 3, or 3.0."""
    found = whole_argument(value, name)
    if found < 1:
        raise ValueRangeError(f"{name} is {found}. Give a positive whole number.")
    return found


def seconds_argument(value: object, name: str = "timeout") -> float:
    """A positive number of seconds."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise InputTypeError(f"{name} is {_shown(value)}. Give a number of seconds.")
    seconds = float(value)
    if not 0 < seconds < math.inf:
        raise ValueRangeError(f"{name} is {seconds:g}. Give a positive and finite number of seconds.")
    return seconds


def flag_argument(value: object, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputTypeError(f"{name} is {_shown(value)}. Give true or false.")
    return bool(value)


def text_argument(value: object, name: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str):
        raise InputTypeError(f"{name} is {_shown(value)}. Give a text.")
    if not value.strip() or len(value) > 200:
        raise InputTypeError(f"{name} is empty or too long. Give 1 to 200 characters.")
    return value


def path_argument(value: object, name: str) -> Path:
    """The path of a directory or file."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise InputTypeError(f"{name} is {_shown(value)}. Give the path of a directory.")
    return Path(value).expanduser()


def range_argument(value: object, name: str = "input_range") -> tuple[float, float]:
    """Two finite numbers, the smaller first."""
    ends = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else []
    if len(ends) != 2 or not all(isinstance(end, numbers.Real) for end in ends):
        raise InputTypeError(f"{name} is {_shown(value)}. Give two numbers, the smallest and the largest input.")
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueRangeError(f"{name} is from {low:g} to {high:g}. Give two finite numbers, the smaller first.")
    return low, high


def batch_shape_argument(value: object, name: str) -> Batch:
    """A shape that begins with the batch axis: (1, 28, 28, 1), also as a list of doubles, or with None first.

    Of a model with several inputs or outputs, a list of such shapes.
    """
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, (list, tuple)) for item in value):
        shapes = [_batch_shape(item, name) for item in value]
        rows = {count for count, _ in shapes}
        if len(rows) > 1:
            raise ShapeError(f"{name} has shapes of different batch sizes. Give all of them the same.")
        return (*rows, tuple(shape for _, shape in shapes)) if len(shapes) > 1 else shapes[0]  # type: ignore[return-value]
    return _batch_shape(value, name)


def _batch_shape(value: object, name: str) -> tuple[int | None, Shape]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InputTypeError(f"{name} is {_shown(value)}. Give a shape that begins with the batch size, like (1, 10).")
    sizes = list(value)
    if len(sizes) < 2:
        raise ShapeError(f"{name} has {len(sizes)} size(s). Begin with the batch size, then the shape: like (1, 10).")
    rows = None if sizes[0] is None else count_argument(sizes[0], name)
    return rows, tuple(count_argument(size, name) for size in sizes[1:])


def array_argument(value: object, program: Program, name: str = "x") -> NDArray[np.float64]:
    """A batch of inputs for a program, as (rows, *input shape) in C order.

    A single row may come without its batch axis, and axes of extent 1 may be missing as R drops them. For a program
    with several inputs it is a list of arrays, or a dictionary by their names; the parts of a row are then joined.
    Tokens stay whole numbers.
    """
    given = _parts(value, program, name)
    arrays = [_array(found, part.shape, label) for found, part, label in given]
    rows = {len(array) for array in arrays}
    if len(rows) > 1:
        raise ShapeError(f"The parts of {name} have {sorted(rows)} rows. Give all of them the same number.")
    for array, (_, part, label) in zip(arrays, given, strict=True):
        _check_values(array, program, part, label)
    if len(arrays) == 1:
        return arrays[0]
    joined: NDArray[np.float64] = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
    return joined


def _parts(value: object, program: Program, name: str) -> list[tuple[object, Part, str]]:
    """What was given for each input, the input, and what to call it in messages."""
    parts = program.inputs
    if not parts and isinstance(value, Mapping):
        raise InputTypeError(f"{name} has names, and the model has only one input. Give a numeric array.")
    if not parts:
        return [(value, Part(name, program.input_shape), name)]
    if len(parts) == 1 and not isinstance(value, Mapping):
        return [(value, parts[0], name)]
    labels = [f"{name}['{part.name}']" for part in parts]
    wanted = f"Give a list of {len(parts)} arrays, or a dictionary with {', '.join(repr(part.name) for part in parts)}."
    if isinstance(value, Mapping):
        if set(value) != {part.name for part in parts}:
            raise InputTypeError(f"{name} has {', '.join(map(repr, value)) or 'nothing'}. {wanted}")
        return [(value[part.name], part, label) for part, label in zip(parts, labels, strict=True)]
    if not isinstance(value, (list, tuple)) or len(value) != len(parts):
        raise InputTypeError(f"{name} is not one array for each of the model's inputs. {wanted}")
    return list(zip(value, parts, labels, strict=True))


def _array(value: object, row: Shape, name: str) -> NDArray[np.float64]:
    """Numbers as (rows, *row)."""
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputTypeError(f"{name} cannot be read as an array. Give a numeric array.") from error
    if found.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} holds {_kind(found)}, not numbers. Give a numeric array.")
    shape = _row_shape(found.shape, row)
    check_rows(shape, row)
    array: NDArray[np.float64] = np.ascontiguousarray(found.reshape(shape), np.float64)
    return array


def _row_shape(shape: Shape, row: Shape) -> Shape:
    """The shape with its batch axis, when it is one row or only lacks axes of extent 1; else as it is."""
    if shape[1:] == row and len(shape) == len(row) + 1:
        return shape
    if shape == row or _dropped(shape) == _dropped(row) != ():
        return (1, *row)
    if shape and _dropped(shape[1:]) == _dropped(row):
        return (shape[0], *row)
    return shape


def _dropped(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _check_values(array: NDArray[np.float64], program: Program, part: Part, name: str) -> None:
    smallest, largest = float(np.minimum.reduce(array, axis=None)), float(np.maximum.reduce(array, axis=None))
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        row = int(np.argwhere(~np.isfinite(array))[0][0]) + 1
        raise ValueRangeError(
            f"Row {row} of {name} has a value that is missing or not finite (NA, NaN or Inf). "
            "Give numbers in their places, or leave the row out."
        )
    if part.vocabulary:
        wrong = array[(array < 0) | (array >= part.vocabulary) | (array != np.rint(array))]
        if wrong.size:
            raise ValueRangeError(
                f"{name} has {wrong[0]:g} among its tokens; the model takes whole numbers from 0 to "
                f"{part.vocabulary - 1}. Number the tokens as for training."
            )
        return
    low, high = program.input_range
    if smallest < low or largest > high:
        raise ValueRangeError(
            f"{name} has values from {smallest:g} to {largest:g}; the model takes {low:g} to {high:g} (input_range). "
            "Scale the input as for training (pixels, for example, divided by 255)."
        )


def _kind(array: NDArray[Any]) -> str:
    return {"U": "text", "S": "text", "c": "complex numbers", "M": "dates"}.get(array.dtype.kind, "objects")


def _shown(value: object) -> str:
    """A value for a message, the same for R and Python: short ones as they are, others by their class."""
    if value is None:
        return "missing"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        shown = repr(value)
        return shown if len(shown) <= 40 else f"{shown[:37]}..."
    return f"of class {type(value).__name__}"
