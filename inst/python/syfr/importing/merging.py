"""Rules for where branches of a network meet or part: what folding.py does not see, which looks at chains.

They bring linear layers directly before the sums that take them in, and relus directly behind linear layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from syfr.importing.elements import Relu, Sum
from syfr.importing.graph import Graph, Node
from syfr.importing.operations import Affine, Scale, label_of
from syfr.importing.places import Join, NewShape, Order
from syfr.steps import Shape

Rule = Callable[[Graph, int, Counter[int], dict[int, Shape]], bool]


def merge(graph: Graph) -> bool:
    """Apply each rule wherever it applies, once; whether any did."""
    found = False
    changed = True
    while changed:
        changed = False
        readers, shapes = graph.readers(), graph.shapes()
        for value in graph.order():
            if any(rule(graph, value, readers, shapes) for rule in _RULES):
                found = changed = True
                break
    return found


def _layout_twice(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A change of order or of shape after one that others read too reads what that one read."""
    node = graph.nodes[value]
    source = graph.nodes.get(node.sources[0])
    if source is None:
        return False
    first, second = source.operation, node.operation
    if isinstance(first, Order) and isinstance(second, Order):
        graph.nodes[value] = Node(first.then(second), source.sources)
    elif isinstance(first, NewShape) and isinstance(second, NewShape):
        graph.nodes[value] = Node(second, source.sources)
    else:
        return False
    return True


def _nothing_done(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A sum of one value, or a change of order or shape that changes nothing, is what it reads."""
    node = graph.nodes[value]
    operation, shape = node.operation, shapes[node.sources[0]]
    same = isinstance(operation, Sum) and operation.factors == (1.0,) and operation.constant == 0.0
    same = same or (isinstance(operation, NewShape) and operation.shape == shape)
    same = same or (isinstance(operation, Order) and operation.axes == tuple(range(len(shape))))
    if same:
        graph.replace_value(value, node.sources[0])
    return same


def _read_twice(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A value that a sum reads twice is read once with both factors."""
    node = graph.nodes[value]
    if not isinstance(node.operation, Sum) or len(set(node.sources)) == len(node.sources):
        return False
    factors: dict[int, float] = {}
    for source, factor in zip(node.sources, node.operation.factors, strict=True):
        factors[source] = factors.get(source, 0.0) + factor
    summed = Sum(node.operation.layer, tuple(factors.values()), node.operation.constant)
    graph.nodes[value] = Node(summed, tuple(factors))
    return True


def _mean_of_sum(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A public factor behind a sum becomes part of it, once nothing else wants it: the sum of a sum is one sum."""
    node = graph.nodes[value]
    source = graph.nodes.get(node.sources[0])
    if source is None or readers[node.sources[0]] > 1 or len(node.sources) > 1:
        return False
    first, second = source.operation, node.operation
    if not (isinstance(first, Sum) and isinstance(second, Sum) and first.whole):
        return False
    factor = second.factors[0]
    factors = tuple(factor * each for each in first.factors)
    summed = Sum(label_of(first, second), factors, first.constant * factor + second.constant)
    graph.nodes[value] = Node(summed, source.sources)
    return True


def _layout_waits(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A change of shape or order between a linear layer and a sum is done behind the sum, and undone elsewhere."""
    node = graph.nodes[value]
    if not isinstance(node.operation, Sum):
        return False
    if any(_is_affine(graph, source, readers) for source in node.sources):
        return False
    for place, source in enumerate(node.sources):
        layout = graph.nodes.get(source)
        if layout is None or readers[source] > 1 or not isinstance(layout.operation, (NewShape, Order)):
            continue
        affine = layout.sources[0]
        if not _is_affine(graph, affine, readers):
            continue
        back = _undone(layout.operation, shapes[affine])
        others = [graph.add(back, other) for other in node.sources]
        others[place] = affine
        summed = graph.add(node.operation, *others)
        graph.replace_value(value, graph.add(layout.operation, summed))
        return True
    return False


def _undone(layout: NewShape | Order, shape: Shape) -> NewShape | Order:
    return layout.inverse if isinstance(layout, Order) else NewShape(layout.layer, shape)


def _relu_of_parts(graph: Graph, value: int, readers: Counter[int], shapes: dict[int, Shape]) -> bool:
    """A relu behind values that are joined is done before, if one of them is that of a linear layer, which takes it."""
    node = graph.nodes[value]
    joined = graph.nodes.get(node.sources[0])
    if joined is None or readers[node.sources[0]] > 1:
        return False
    if not (isinstance(node.operation, Relu) and isinstance(joined.operation, Join)):
        return False
    if not any(_behind_affine(graph, source, readers) for source in joined.sources):
        return False
    parts = [graph.add(node.operation, source) for source in joined.sources]
    graph.replace_value(value, graph.add(joined.operation, *parts))
    return True


def _behind_affine(graph: Graph, value: int, readers: Counter[int]) -> bool:
    while value in graph.nodes and readers[value] == 1:
        node = graph.nodes[value]
        if isinstance(node.operation, Affine):
            return True
        if not isinstance(node.operation, (NewShape, Order, Scale)):
            return False
        value = node.sources[0]
    return False


def _is_affine(graph: Graph, value: int, readers: Counter[int]) -> bool:
    """Whether a value is that of a linear layer that nothing else reads."""
    return value in graph.nodes and readers[value] == 1 and isinstance(graph.nodes[value].operation, Affine)


_RULES: tuple[Rule, ...] = (
    _layout_twice,
    _nothing_done,
    _read_twice,
    _mean_of_sum,
    _layout_waits,
    _relu_of_parts,
)
