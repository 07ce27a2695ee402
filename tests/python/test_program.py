"""The public description of a computation: it comes back from a message, and no message can do more than be refused."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from harness import dense, small_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from syfr.errors import ProtocolError, ShapeError
from syfr.program import MAX_STEPS, Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import MAX_ELEMENTS, Combine, Geometry, Linear, Product, Reshape, Signs

PROGRAMS = {name: model.program for name, model in small_models().items()}
PROGRAMS["with everything"] = replace(
    PROGRAMS["convolutions"],
    precision=Precision(12, 38),
    input_range=(-1.5, 2.0),
    head="softmax",
    rows=32,
    untrusted_clients=True,
)


def sent(message: object) -> Any:
    """A message as it arrives: through msgpack."""
    return msgpack.unpackb(msgpack.packb(message, use_bin_type=True), raw=False, strict_map_key=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_comes_back_from_its_message(name: str) -> None:
    program = PROGRAMS[name]
    program.check()
    back = Program.from_message(sent(program.to_message()))
    assert back == program
    assert back.digest() == program.digest()
    assert len(back.digest()) == 16


def test_programs_that_differ_in_anything_have_different_digests() -> None:
    program = PROGRAMS["with everything"]
    step = program.steps[0]
    assert isinstance(step, Linear)
    assert step.geometry is not None
    others = [
        replace(program, precision=Precision(12, 39)),
        replace(program, precision=Precision(13, 38)),
        replace(program, input_range=(-1.5, 2.5)),
        replace(program, head="linear"),
        replace(program, rows=None),
        replace(program, untrusted_clients=False),
        replace(program, steps=(replace(step, layer="another"), *program.steps[1:])),
        replace(program, steps=(replace(step, then="truncate"), *program.steps[1:])),
        replace(program, steps=(replace(step, geometry=replace(step.geometry, strides=(2, 1))), *program.steps[1:])),
    ]
    assert len({other.digest() for other in [program, *others]}) == len(others) + 1


SOUND = PROGRAMS["with everything"].to_message()
PLAIN = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-(2**63), 2**64 - 1),
    some.integers(-3, 40),
    some.floats(),
    some.text(max_size=8),
    some.binary(max_size=8),
    some.sampled_from(["linear", "reshape", "relu", "truncate", "output", "softmax"]),
)
ANYTHING = some.recursive(
    PLAIN,
    lambda inner: some.lists(inner, max_size=4)
    | some.dictionaries(some.sampled_from([*SOUND, *SOUND["steps"][0]]) | some.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)


def use(program: Program) -> None:
    """What workers and clients do with a program that was accepted."""
    assert Program.from_message(sent(program.to_message())) == program
    assert len(program.digest()) == 16
    assert len(program.output_shape) >= 1
    assert 0 < program.input_scale < math.inf
    assert program.input_bits is None or program.input_bits >= 1
    low, high = program.legal_range
    assert low < high
    assert all(step.products > 0 for _, step in program.linear_steps())


def read(message: object) -> None:
    """Either the message is refused with a ProtocolError, or the program can be used."""
    try:
        program = Program.from_message(message)
    except ProtocolError:
        return
    use(program)


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_arbitrary_messages_are_refused(message: object) -> None:
    with pytest.raises(ProtocolError):
        Program.from_message(sent(message))


def places(message: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested message."""
    if isinstance(message, dict):
        inner = [(key, value) for key, value in message.items()]
    elif isinstance(message, (list, tuple)):
        inner = list(enumerate(message))
    else:
        inner = []
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(message: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy of a message in which ``change`` was done to the container of ``path``."""
    root = [sent(copy.deepcopy(message))]
    holder: Any = root
    key: Any = 0
    for part in path:
        holder, key = holder[key], part
    change(holder, key)
    return root[0] if root else None


def setting(value: Any) -> Callable[[Any, Any], None]:
    """A change that puts a value in a place."""
    return lambda holder, key: operator.setitem(holder, key, value)


PLACES = places(sent(SOUND))


CHANGES = some.lists(some.tuples(some.sampled_from(PLACES), ANYTHING | some.none()), min_size=1, max_size=3)


@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES, some.booleans())
def test_changed_messages_are_refused_or_make_sound_programs(changes: list[tuple[Any, Any]], remove: bool) -> None:
    message: Any = SOUND
    for path, value in changes:

        def change(holder: Any, key: Any, value: Any = value) -> None:
            if remove and value is None:
                del holder[key]
            else:
                holder[key] = value

        try:
            message = changed(message, path, change)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    read(sent(message))


def test_every_field_is_needed_and_every_number_is_checked() -> None:
    for path in PLACES[1:]:
        if isinstance(path[-1], str) and path[0] != "precision":
            with pytest.raises(ProtocolError):
                Program.from_message(changed(SOUND, path, lambda holder, key: holder.pop(key)))
        others: tuple[Any, ...] = (-1, 0, 2**63, True, 1.5, math.nan, math.inf, "1", b"1", None, [], {}, [[[1]]])
        for value in others:
            read(changed(SOUND, path, setting(value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows",), True),
        (("input_shape", 0), True),
        (("input_shape",), [6, 5, 2, 1, 1, 1, 1, 1, 1]),
        (("steps", 0, "source"), False),
        (("steps", 0, "layer"), "x" * 501),
        (("steps",), [SOUND["steps"][0]] * (MAX_STEPS + 1)),
        (("steps", 0, "geometry", "groups"), True),
        (("input_range",), [0.0, 1.0, 2.0]),
        (("head",), b"linear"),
    ],
)
def test_a_message_of_the_wrong_kind_is_not_even_read(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        Program.from_message(changed(SOUND, path, setting(value)))


def refused(program: Program, match: str) -> None:
    """The program is refused where it is made and where it arrives."""
    with pytest.raises(ProtocolError, match=match):
        program.check()
    with pytest.raises(ProtocolError, match=match):
        Program.from_message(sent(program.to_message()))


RELU, OUTPUT = dense(0, 4, 3, "relu"), dense(1, 3, 2, "output")
SMALL = Program((4,), (RELU, OUTPUT))


@pytest.mark.parametrize(
    ("program", "match"),
    [
        (replace(SMALL, steps=()), "1 to 8000 steps"),
        (replace(SMALL, steps=(RELU,)), "ends in an output step"),
        (replace(SMALL, steps=(replace(RELU, then="output"), OUTPUT)), "reads value 1"),
        (replace(SMALL, steps=(RELU, replace(OUTPUT, source=2))), "reads value 2"),
        (replace(SMALL, steps=(RELU, replace(OUTPUT, source=-1))), "reads value -1"),
        (replace(SMALL, steps=(RELU, replace(OUTPUT, source=0))), "its source does not have"),
        (replace(SMALL, steps=(replace(RELU, then="softmax"), OUTPUT)), "unknown here"),
        (replace(SMALL, steps=(replace(RELU, kernel=(4, 5)), OUTPUT)), "its kernel gives"),
        (replace(SMALL, steps=(replace(RELU, kernel=(5, 3)), OUTPUT)), "does not fit its input"),
        (replace(SMALL, steps=(replace(RELU, kernel=(4, 3, 1)), OUTPUT)), "does not fit its input"),
        (replace(SMALL, input_shape=(0,)), "empty or too large"),
        (replace(SMALL, input_shape=()), "empty or too large"),
        (replace(SMALL, input_shape=(1,) * 9), "cannot be read|empty or too large"),
        (replace(SMALL, input_shape=(MAX_ELEMENTS, 2)), "empty or too large"),
        (replace(SMALL, input_shape=(-4,)), "empty or too large"),
        (replace(SMALL, head="argmax"), "is unknown"),
        (replace(SMALL, rows=0), "positive number"),
        (replace(SMALL, rows=MAX_ELEMENTS + 1), "positive number"),
        (replace(SMALL, input_range=(1.0, 0.0)), "input range"),
        (replace(SMALL, input_range=(0.0, math.inf)), "input range"),
        (replace(SMALL, input_range=(math.nan, 1.0)), "input range"),
        (replace(SMALL, precision=Precision(14, 47)), "number format"),
        (replace(SMALL, precision=Precision(14, 42, digits=5)), "number format"),
        (replace(SMALL, precision=Precision(40, 46), untrusted_clients=True), "cannot be lifted"),
    ],
)
def test_programs_that_do_not_hold_together_are_refused(program: Program, match: str) -> None:
    refused(program, match)


IMAGE = Linear("conv", 0, (3, 3, 2, 4), (6, 6, 2), (4, 4, 4), "output", Geometry())


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (replace(IMAGE, geometry=Geometry(strides=(0, 1))), "cannot be placed"),
        (replace(IMAGE, geometry=Geometry(dilation=(1, 0))), "cannot be placed"),
        (replace(IMAGE, geometry=Geometry(groups=0)), "cannot be placed"),
        (replace(IMAGE, geometry=Geometry(padding=((0, -1), (0, 0)))), "cannot be placed"),
        (replace(IMAGE, geometry=Geometry(padding=((0, 2**40), (0, 0)))), "cannot be placed"),
        (replace(IMAGE, geometry=Geometry(groups=2)), "do not fit its 2 group"),
        (replace(IMAGE, kernel=(3, 3, 1, 4)), "do not fit its 1 group"),
        (replace(IMAGE, kernel=(3, 2, 4)), "cannot be placed"),
        (replace(IMAGE, output_shape=(4, 4, 3)), "its kernel gives"),
        (replace(IMAGE, kernel=(7, 7, 2, 4), output_shape=(1, 1, 4)), "its kernel gives"),
        (replace(IMAGE, geometry=None), "does not fit its input"),
    ],
)
def test_convolutions_that_cannot_be_placed_are_refused(step: Linear, match: str) -> None:
    Program((6, 6, 2), (IMAGE,)).check()
    refused(Program((6, 6, 2), (step,)), match)


def test_a_reshape_keeps_the_number_of_elements() -> None:
    flat = Reshape("flatten", 0, (2, 2), (4,))
    Program((2, 2), (flat, dense(1, 4, 1, "output"))).check()
    refused(Program((2, 2), (replace(flat, output_shape=(5,)), dense(1, 5, 1, "output"))), "cannot turn")


def test_the_number_of_steps_is_bounded() -> None:
    step = Reshape("same", 0, (4,), (4,))
    many = tuple(replace(step, source=number) for number in range(MAX_STEPS - 1))
    Program((4,), (*many, dense(MAX_STEPS - 1, 4, 1, "output"))).check()
    longer = Program((4,), (*many, dense(MAX_STEPS - 1, 4, 4, "truncate"), dense(MAX_STEPS, 4, 1, "output")))
    with pytest.raises(ProtocolError):
        longer.check()
    with pytest.raises(ProtocolError):
        Program.from_message(sent(longer.to_message()))


def test_only_batches_of_the_inputs_shape_are_inputs() -> None:
    assert SMALL.check_rows((7, 4)) == 7
    for shape in ((4,), (0, 4), (1, 5), (1, 4, 1)):
        with pytest.raises(ShapeError, match=r"\(rows, 4\)"):
            SMALL.check_rows(shape)


def test_a_program_has_one_digest_before_and_after_transport() -> None:
    step = Linear("dense", 0, (2, 3), (2,), (3,), "output")
    program = Program((2,), (step,), input_range=(0, 1))
    assert Program.from_message(program.to_message()).digest() == program.digest()


def test_work_for_one_row_is_bounded() -> None:
    wide = Linear("dense", 0, (1 << 14, 1 << 14), (1 << 14,), (1 << 14,), "output")
    with pytest.raises(ProtocolError, match=r"'dense' has the shape|'dense' has more work"):
        Program((1 << 14,), (wide,)).check()
    place = Geometry(padding=((600, 600), (600, 600)))
    large = Linear("conv", 0, (600, 600, 1, 1), (1, 1, 1), (602, 602, 1), "output", place)
    with pytest.raises(ProtocolError, match="more work"):
        Program((1, 1, 1), (large,)).check()
    many = Signs("curve", 0, (1 << 22,), tuple(range(33)), (1,) * 33)
    with pytest.raises(ProtocolError, match="'curve' has too much work"):
        Program((1 << 22,), (many, Combine("output", (1,), (1 << 22,), (1,), then="output"))).check()


def test_an_incomplete_number_format_is_refused() -> None:
    step = Linear("dense", 0, (2, 3), (2,), (3,), "output")
    message = Program((2,), (step,)).to_message()
    del message["precision"]["digits"]
    with pytest.raises(ProtocolError):
        Program.from_message(message)


@pytest.mark.parametrize("bits", [19, 47])
def test_no_more_bits_are_taken_off_than_a_ring_element_has(bits: int) -> None:
    # A share of 48 bits would be read as one of 28 + bits, and its constant would not fit 64.
    curve = Signs("curve", 0, (3,), (0,), (1,), scale_bits=18)
    part = Combine("part", (1,), (3,), (1,), 0, 18, "truncate")
    steps = [curve, part, Combine("output", (2,), (3,), (1,), then="output")]
    Program((3,), tuple(steps)).check()
    for place in (0, 1):
        changed = [*steps]
        changed[place] = replace(changed[place], scale_bits=bits)  # type: ignore[type-var]
        with pytest.raises(ProtocolError, match=f"takes {bits} bits off"):
            Program((3,), tuple(changed)).check()


@pytest.mark.parametrize(("bits", "taken"), [(5, 19), (48, None), (-1, None)])
def test_a_product_takes_no_more_bits_off_than_a_ring_element_has(bits: int, taken: int | None) -> None:
    square = Product("square", 0, 0, (3,), "truncate", scale_bits=4)
    output = Combine("output", (1,), (3,), (1,), then="output")
    Program((3,), (square, output)).check()
    message = "declares a scale" if taken is None else f"'square' takes {taken} bits off"
    with pytest.raises(ProtocolError, match=message):
        Program((3,), (replace(square, scale_bits=bits), output)).check()
