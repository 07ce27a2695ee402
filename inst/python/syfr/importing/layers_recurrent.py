"""Layers over time, unrolled: SimpleRNN, LSTM, GRU, RNN of their cells, Bidirectional; TimeDistributed.

At every time one matrix product takes the input and the state before it together, with weights that are those of all
times and are shared once. A layer that reads a recurrent layer begins with the first of its outputs, not with the last:
stacked layers run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from syfr.importing.calls import Call, KerasObject, Symbol, keras_name, refuse, weight
from syfr.importing.curves import FINE
from syfr.importing.elements import Curved, Sum, Times
from syfr.importing.graph import Graph, Node
from syfr.importing.layers_activations import activated
from syfr.importing.layers_merge import add, average, multiply
from syfr.importing.operations import Affine, Floats
from syfr.importing.places import Join, NewShape, Places
from syfr.steps import MAX_SOURCES

States = tuple[int | None, ...]
"""The values of a cell's states, its output first; None for zeros."""


class Cell:
    """One cell: from the input and the states of a time, all of shape (1, size), to the next states.

    Attributes:
        units: of its output.
        states: how many it has.
    """

    states = 1

    def __init__(self, call: Call, cell: KerasObject, size: int) -> None:
        self.call, self.cell, self.size = replace(call, layer=cell, label=call.name), cell, size
        self.units = int(cell.units)
        self.kernel, self.recurrent = weight(cell, "kernel"), weight(cell, "recurrent_kernel")
        self.biased = bool(cell.use_bias)

    def bias(self) -> Floats:
        """The bias, or zeros."""
        return weight(self.cell, "bias") if self.biased else np.zeros(self.kernel.shape[1])

    def affine(self, kernel: Floats, bias: Floats) -> Affine:
        """A product with input and state together, in place of one with each."""
        return Affine(self.call.name, kernel, bias, biased=self.biased)

    def both(self, x: int, state: int | None) -> int:
        """Input and state one after the other."""
        if state is None:
            padded = Places(self.call.name, 1, (*range(self.size), *(-1,) * self.units))
            return self.call.apply(padded, source=x)
        return self.call.graph.add(Join(self.call.name, 1), x, state)

    def part(self, value: int, first: int, last: int) -> int:
        """Some of the blocks of ``units`` numbers that a value has."""
        places = range(first * self.units, last * self.units)
        return self.call.apply(Places(self.call.name, 1, tuple(places)), source=value)

    def activated(self, value: int, blocks: int = 1, where: str = "activation") -> int:
        """A function of Keras's of a value of so many blocks, approximated more closely than elsewhere."""
        call = replace(self.call, output_shape=(1, blocks * self.units))
        found = activated(call, value, where)
        node = call.graph.nodes[found]
        if found != value and isinstance(node.operation, Curved):
            call.graph.nodes[found] = Node(replace(node.operation, error=FINE), node.sources)
        return found

    def sum(self, *terms: tuple[int, float]) -> int:
        """A sum of values with factors."""
        factors = tuple(factor for _, factor in terms)
        return self.call.graph.add(Sum(self.call.name, factors), *(value for value, _ in terms))

    def times(self, one: int, other: int) -> int:
        """A product of values."""
        return self.call.graph.add(Times(self.call.name), one, other)

    def advance(self, x: int, states: States) -> tuple[int, ...]:
        """The states after one more time."""
        raise NotImplementedError


class SimpleCell(Cell):
    """activation(x·W + h·U + b)."""

    def __init__(self, call: Call, cell: KerasObject, size: int) -> None:
        super().__init__(call, cell, size)
        self.product = self.affine(np.concatenate([self.kernel, self.recurrent]), self.bias())

    def advance(self, x: int, states: States) -> tuple[int, ...]:
        """One product and one function."""
        return (self.activated(self.call.apply(self.product, source=self.both(x, states[0]))),)


class LongShortCell(Cell):
    """c' = f·c + i·g, h = o·activation(c'): gates i, f and o, and g, are functions of one product.

    Keras has them in the order i, f, g, o; here the gates stand together, which one step computes.
    """

    states = 2

    def __init__(self, call: Call, cell: KerasObject, size: int) -> None:
        super().__init__(call, cell, size)
        blocks = np.arange(4 * self.units).reshape(4, -1)[[0, 1, 3, 2]].reshape(-1)
        kernel = np.concatenate([self.kernel, self.recurrent])
        self.product = self.affine(np.ascontiguousarray(kernel[:, blocks]), self.bias()[blocks])

    def advance(self, x: int, states: States) -> tuple[int, ...]:
        """Two functions side by side, the products of two gates as one, a function, a product."""
        state, memory = states
        total = self.call.apply(self.product, source=self.both(x, state))
        gates = self.activated(self.part(total, 0, 3), 3, "recurrent_activation")
        fresh = self.activated(self.part(total, 3, 4))
        if memory is None:
            kept = self.times(self.part(gates, 0, 1), fresh)
        else:
            both = self.times(self.part(gates, 0, 2), self.call.graph.add(Join(self.call.name, 1), fresh, memory))
            kept = self.sum((self.part(both, 0, 1), 1.0), (self.part(both, 1, 2), 1.0))
        return self.times(self.part(gates, 2, 3), self.activated(kept)), kept


class GatedCell(Cell):
    """h' = z·h + (1 - z)·g, computed as g + z·(h - g).

    Of the product come the gates z and r, and for g what the input and what the state give, apart: r is multiplied
    into the latter (reset_after), or into the state before it, which then has a product of its own.
    """

    def __init__(self, call: Call, cell: KerasObject, size: int) -> None:
        super().__init__(call, cell, size)
        self.after = bool(cell.reset_after)
        bias = self.bias()
        given, back = (bias[0], bias[1]) if bias.ndim == 2 else (bias, np.zeros(3 * self.units))
        gates = 2 * self.units
        own = np.ascontiguousarray(self.recurrent[:, gates:])
        self.inner = Affine(self.call.name, own, np.zeros(self.units), biased=False)
        below = [self.recurrent[:, :gates], np.zeros_like(own)]
        above, biases = [self.kernel], [given[:gates] + back[:gates], given[gates:]]
        if self.after:
            below.append(own)
            above.append(np.zeros((size, self.units)))
            biases.append(back[gates:])
        kernel = np.concatenate([np.concatenate(above, axis=1), np.concatenate(below, axis=1)])
        self.product = self.affine(kernel, np.concatenate(biases))

    def advance(self, x: int, states: States) -> tuple[int, ...]:
        """One function of both gates, what r resets, a function, the way between two values."""
        (state,) = states
        total = self.call.apply(self.product, source=self.both(x, state))
        gates = self.activated(self.part(total, 0, 2), 2, "recurrent_activation")
        given = self.part(total, 2, 3)
        if self.after:
            given = self.sum((self.times(self.part(gates, 1, 2), self.part(total, 3, 4)), 1.0), (given, 1.0))
        elif state is not None:
            reset = self.times(self.part(gates, 1, 2), state)
            given = self.sum((self.call.apply(self.inner, source=reset), 1.0), (given, 1.0))
        fresh, keep = self.activated(given), self.part(gates, 0, 1)
        if state is None:
            return (self.sum((fresh, 1.0), (self.times(keep, fresh), -1.0)),)
        return (self.sum((fresh, 1.0), (self.times(keep, self.sum((state, 1.0), (fresh, -1.0))), 1.0)),)


LAYERS = ("SimpleRNN", "LSTM", "GRU", "RNN")
"""Keras's layers of one cell, or of several."""

CELLS: dict[str, type[Cell]] = {"SimpleRNNCell": SimpleCell, "LSTMCell": LongShortCell, "GRUCell": GatedCell}


def _cells(call: Call, cell: KerasObject, size: int) -> list[Cell]:
    """The cells of a layer, each of which reads the one before it."""
    name = keras_name(cell)
    if name == "StackedRNNCells":
        found: list[Cell] = []
        for inner in cell.cells:
            found += _cells(call, inner, found[-1].units if found else size)
        return found
    if name not in CELLS:
        refuse(call.layer, f"uses a cell of class {type(cell).__name__}", f"Use one of {', '.join(CELLS)}.")
    return [CELLS[name](call, cell, size)]


# ---- layers ----


def recurrent(call: Call) -> tuple[int, ...]:
    """SimpleRNN, LSTM, GRU and RNN: the output, or those of all times, and the last states where they are asked for."""
    _check_call(call, call.layer)
    sequences, *given = call.sources
    return _run(call, call.layer, sequences, given)


def bidirectional(call: Call) -> tuple[int, ...]:
    """Bidirectional: a layer forwards in time and one backwards, merged; then the states of both."""
    layer = call.layer
    _check_call(call, layer)
    sequences, *given = call.sources
    half = len(given) // 2
    ends = []
    for inner, states in ((layer.forward_layer, given[:half]), (layer.backward_layer, given[half:])):
        if keras_name(inner) not in LAYERS:
            refuse(layer, f"wraps a {type(inner).__name__}", "Wrap a SimpleRNN, LSTM or GRU.")
        ends.append(_run(replace(call, layer=inner), inner, sequences, states))
    (forth, *states), (back, *others) = ends
    if layer.return_sequences:
        back = joined(call, list(reversed(times(call, back, call.input_shape[0]))))
    if layer.merge_mode is None:
        return forth, back, *states, *others
    return _merged(call, forth, back), *states, *others


_MERGES: dict[str, Callable[[Call], int]] = {"sum": add, "ave": average, "mul": multiply}


def _merged(call: Call, forth: int, back: int) -> int:
    shape = call.graph.shape_of(forth, call.sources, call.input_shapes)
    mode = call.layer.merge_mode
    if mode == "concat":
        return call.graph.add(Join(call.name, len(shape) - 1), forth, back)
    both = replace(call, sources=(forth, back), input_shapes=(shape, shape), output_shape=shape)
    return _MERGES[mode](both)


def _check_call(call: Call, layer: KerasObject) -> None:
    """Refuse what would not be computed as Keras does."""
    if call.options.get("mask") is not None:
        refuse(layer, "is called with a mask", "Pad the input with a value of its own, and leave the mask out.")
    initial = call.options.get("initial_state")
    states = initial if isinstance(initial, list) else [] if initial is None else [initial]
    if not all(isinstance(state, Symbol) for state in states):
        refuse(layer, "begins with states that are constants", "Let it begin with zeros, or values of the network.")
    if getattr(layer, "stateful", False):
        refuse(layer, "uses stateful=True, so that answers depend on questions before", "Use stateful=False.")
    if getattr(layer, "time_major", False):
        refuse(layer, "uses time_major=True", "Use time_major=False.")


def _run(call: Call, layer: KerasObject, sequences: int, given: Sequence[int]) -> tuple[int, ...]:
    """One layer over all times, forwards or backwards."""
    if len(call.input_shape) != 2:
        refuse(layer, f"reads rows of shape {call.input_shape}", "Give it one vector for each time.")
    cells = _cells(call, layer.cell, call.input_shape[1])
    if len(cells) > 1 and (given or layer.return_state):
        refuse(layer, "is given or returns the states of several cells", "Use a layer for each cell.")
    values = times(call, sequences, call.input_shape[0])
    values = list(reversed(values)) if layer.go_backwards else values
    states: States = ()
    for cell in cells:
        states = tuple(_wide(call, state, cell.units) for state in given) or (None,) * cell.states
        if len(states) != cell.states:
            refuse(layer, f"is given {len(states)} initial states", f"Give it {cell.states}.")
        outputs = []
        for value in values:
            states = cell.advance(value, states)
            outputs.append(states[0])
        values = [each for each in outputs if each is not None]
    ends = tuple(call.apply(NewShape(call.name, (cells[-1].units,)), source=state) for state in states)
    first = joined(call, values) if layer.return_sequences else ends[0]
    return (first, *ends) if layer.return_state else (first,)


def _wide(call: Call, state: int, units: int) -> int:
    return call.apply(NewShape(call.name, (1, units)), source=state)


def times(call: Call, value: int, count: int) -> list[int]:
    """The parts of a value along its first axis, each of size 1 there; those that it was joined from, if it was."""
    node = call.graph.nodes.get(value)
    if node is not None and node.operation == Join(node.operation.layer, 0) and len(node.sources) == count:
        return list(node.sources)
    return [call.apply(Places(call.name, 0, (time,)), source=value) for time in range(count)]


def joined(call: Call, values: Sequence[int]) -> int:
    """Values one after the other along their first axis, as many at a time as a step takes."""
    if len(values) == 1:
        return values[0]
    parts = [values[place : place + MAX_SOURCES] for place in range(0, len(values), MAX_SOURCES)]
    found = [call.graph.add(Join(call.name, 0), *part) if len(part) > 1 else part[0] for part in parts]
    return joined(call, found)


def repeated(call: Call, once: Graph) -> int:
    """What a graph makes of one row, of the rows of all times."""
    made = []
    for row in times(call, call.sources[0], call.input_shape[0]):
        values = {0: call.apply(NewShape(call.name, once.input_shape), source=row)}
        for value in once.order():
            node = once.nodes[value]
            values[value] = call.graph.add(node.operation, *(values[source] for source in node.sources))
        made.append(call.apply(NewShape(call.name, (1, *call.output_shape[1:])), source=values[once.answers[0].value]))
    return joined(call, made)
