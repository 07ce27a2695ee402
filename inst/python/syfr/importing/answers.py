"""What of a model's output its clients get, as the owner wants it: predictions, logits, a label, or the best labels.

A softmax or sigmoid that ends a model is left to the client: it changes no order, and whoever gets predictions could
work out the logits anyway. For a label, the winner is found on shares, and nothing else is opened.
"""

from __future__ import annotations

import math

from syfr.errors import UnsupportedLayerError, ValueRangeError
from syfr.importing.elements import Curved, Softmax, Sum
from syfr.importing.graph import Answer, Exact, Graph
from syfr.importing.places import Join, NewShape
from syfr.ring.fixedpoint import Precision
from syfr.steps import MAX_RANKED, Ranks, Shape, Signs, Weigh

OUTPUTS = ("model", "logits", "label", "top_k")
"""What clients can get."""


def choose_answers(graph: Graph, output: str, k: int, precision: Precision) -> None:
    """Change a graph whose answers are a model's outputs into one that answers as the owner wants."""
    graph.answers = [_headed(graph, answer) for answer in graph.answers]
    if output == "logits":
        graph.answers = [Answer(answer.value, answer.name) for answer in graph.answers]
    elif output in ("label", "top_k"):
        shapes = graph.shapes()
        count = k if output == "top_k" else 1
        graph.answers = [_labelled(graph, answer, shapes[answer.value], count, precision) for answer in graph.answers]


def _headed(graph: Graph, answer: Answer) -> Answer:
    """The head of an answer apart from the value that the workers compute."""
    node = graph.nodes.get(answer.value)
    operation = None if node is None else node.operation
    if node is not None and isinstance(operation, Softmax) and operation.counts is None:
        return Answer(node.sources[0], answer.name, "softmax")
    if node is not None and isinstance(operation, Curved) and operation.name == "sigmoid":
        return Answer(node.sources[0], answer.name, "sigmoid")
    return answer


def _labelled(graph: Graph, answer: Answer, shape: Shape, count: int, precision: Precision) -> Answer:
    classes = math.prod(shape)
    node = graph.nodes.get(answer.value)
    layer = "input" if node is None else node.operation.layer
    if classes != max(shape) or classes > MAX_RANKED:
        raise UnsupportedLayerError(
            f"Layer '{layer}' ends the model with rows of {shape}; labels are for at most {MAX_RANKED} classes. "
            "End the model with one number for each class, or choose output 'model' or 'logits'."
        )
    if count > classes:
        raise ValueRangeError(f"k is {count}; the model gives {classes} number(s) for a row. Give k up to {classes}.")
    value = answer.value
    if len(shape) > 1:
        value = graph.add(NewShape(layer, (classes,)), value)
    one = 1 << precision.fraction_bits
    if classes == 1:
        if answer.head != "sigmoid":
            raise UnsupportedLayerError(
                f"Layer '{layer}' ends the model with one number that is no probability, so there is no label. "
                "End the model with a sigmoid, or with one number for each class; or choose output 'model'."
            )
        return Answer(graph.add(Exact(Signs(layer, 0, (1,), (0,), (one,), bits=True)), value), answer.name, "label")
    ranks = graph.add(Exact(Ranks(layer, 0, (classes,))), value)
    labels: list[int] = []
    above: int | None = None
    for place in range(count):
        knot = (classes - 1 - place) * one
        reached = graph.add(Exact(Signs(layer, 0, (classes,), (knot,), (one,), bits=True)), ranks)
        chosen = reached if above is None else graph.add(Sum(layer, (1.0, -1.0)), reached, above)
        labels.append(graph.add(Exact(Weigh(layer, 0, (1,), tuple(range(classes)))), chosen))
        above = reached
    found = labels[0] if count == 1 else graph.add(Join(layer, 0), *labels)
    return Answer(found, answer.name, "label")
