"""What people are shown of a model's cost and of a shared input."""

from __future__ import annotations

import numpy as np
import pytest
from fake_client import PROGRAM, Workers, X, connected, described
from fake_worker import reply
from syfr.errors import NotConnectedError
from syfr.face.describe import facts, held, layers
from syfr.party.preprocessing import program_cost
from syfr.program import Program
from syfr.steps import Linear, Ranks, Reshape

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(60)

STEPS = (
    Reshape("flatten", 0, (2, 2), (4,)),
    Linear("first", 1, (4, 5), (4,), (5,), "relu"),
    Linear("last", 2, (5, 3), (5,), (3,), "output"),
)


@pytest.mark.parametrize("untrusted", [False, True])
def test_the_layers_add_up_to_the_program(untrusted: bool) -> None:
    program = Program((2, 2), STEPS, untrusted_clients=untrusted)
    table = layers(program)
    assert [row["layer"] for row in table] == [*(["input"] if untrusted else []), "first", "last"]
    cost = program_cost(program)
    for figure in ("delays", "online_bytes", "preprocessing_bytes"):
        assert sum(row[figure] for row in table) == getattr(cost, figure)
    first = table[-2]
    assert (first["operation"], first["output"]) == ("dense, relu", [5])
    assert (first["weights"], first["products"]) == (4 * 5 + 5, 4 * 5)
    assert all(isinstance(row["products"], float) for row in table)


def test_the_facts_of_a_model() -> None:
    told = facts(Program((2, 2), STEPS, rows=3, digits=10))
    assert told["inputs"] == [[2, 2]]
    assert told["outputs"] == [[3]]
    assert told["heads"] == ["linear"]
    assert (told["rows"], told["digits"], told["proven"]) == (3, 10, True)


def test_steps_that_cost_nothing_are_left_out_and_others_are_named() -> None:
    first = Linear("first", 0, (4, 5), (4,), (5,), "relu")
    ranks = Ranks("rank", 1, (5,))
    last = Linear("last", 2, (5, 3), (5,), (3,), "output")
    table = layers(Program((4,), (first, ranks, last)))
    assert [row["operation"] for row in table] == ["dense, relu", "ranks", "dense"]
    assert table[1]["delays"] > 0
    assert table[1]["weights"] == 0


def test_one_worker_holds_noise_and_two_hold_the_input(fakes: Workers) -> None:
    client, _ = connected(fakes)
    with pytest.raises(NotConnectedError):
        held(client)
    client.querying(X).wait(20)
    views = held(client)
    np.testing.assert_array_equal(views["server0"], client.sent_view()["server0"])
    for alone in ("server0", "server1", "server2"):
        assert ((views[alone] >= 0) & (views[alone] < 1)).all()
        assert not np.isclose(views[alone], X, atol=1e-3).all()
    for pair in ("server0+server1", "server0+server2", "server1+server2"):
        np.testing.assert_allclose(views[pair], X, atol=1e-4)


def test_an_input_in_a_small_ring(fakes: Workers) -> None:
    program = Program((2, 2), PROGRAM.steps, input_range=(-3.0, 5.0), untrusted_clients=True)
    shown = {"describe": lambda frame: reply(frame, models=[described(program)])}
    client, _ = connected(fakes, **dict.fromkeys(("server0", "server1", "server2"), shown))
    client.querying(X - 2).wait(20)
    views = held(client)
    np.testing.assert_allclose(views["server1+server2"], X - 2, atol=1e-3)
    assert views["server0"].max() > 0.01
    np.testing.assert_array_equal(views["server0"], client.sent_view()["server0"])
