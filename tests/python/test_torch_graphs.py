"""What a traced PyTorch network becomes, from nodes as torch.fx has them: no PyTorch is needed for these."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from syfr.errors import UnsupportedLayerError
from syfr.importing.elements import Softmax
from syfr.importing.graph import Graph
from syfr.importing.torch_import import _Reader


def read(*calls: tuple[str, tuple[Any, ...]], axis: int = -1) -> list[str]:
    """The operations that calls of functions, one after the other on rows of four numbers, become."""
    nodes = [SimpleNamespace(op="placeholder", name="x", target="x", args=(), kwargs={})]
    modules = {"module": type("Softmax", (), {"dim": axis})()}
    for place, (target, rest) in enumerate(calls):
        kind = "call_module" if target in modules else "call_function"
        nodes.append(SimpleNamespace(op=kind, name=f"n{place}", target=target, args=(nodes[-1], *rest), kwargs={}))
    nodes.append(SimpleNamespace(op="output", name="output", target="output", args=(nodes[-1],), kwargs={}))
    graph = Graph((4,))
    _Reader(graph, modules).read(nodes)
    return [type(graph.nodes[value].operation).__name__ for value in graph.order()]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_a_softmax_at_the_end_is_left_out(kind: str, axis: int) -> None:
    assert read(("relu", ()), (kind, (axis,))) == ["Relu"]
    assert read(("relu", ()), ("module", ()), axis=axis) == ["Relu"]


def test_a_softmax_inside_is_computed() -> None:
    assert read(("softmax", (1,)), ("relu", ())) == [Softmax.__name__, "Relu"]
    assert read(("module", ()), ("relu", ())) == [Softmax.__name__, "Relu"]


def test_what_is_no_softmax_over_the_last_axis_is_refused_inside() -> None:
    with pytest.raises(UnsupportedLayerError, match=r"'n0' calls log_softmax\(\) over axis 1 inside the network"):
        read(("log_softmax", (1,)), ("relu", ()))
    with pytest.raises(UnsupportedLayerError, match=r"'n0' calls softmax\(\) over axis 0 inside"):
        read(("softmax", (0,)), ("relu", ()))
    with pytest.raises(UnsupportedLayerError, match=r"'module' calls softmax\(\) over axis 0 inside"):
        read(("module", ()), ("relu", ()), axis=0)
