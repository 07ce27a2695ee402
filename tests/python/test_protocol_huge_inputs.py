"""A client that sends numbers far outside the range: it reads a weight bit by bit, unless clients are not trusted."""

from __future__ import annotations

import numpy as np
import pytest
from syfr.party.memory import MemoryCluster
from syfr.program import Program
from syfr.protocol.roles import Role
from syfr.ring.fixedpoint import Words
from syfr.steps import Linear

BITS = 15
BIAS = 0.25


def model(weight: float, untrusted_clients: bool) -> MemoryCluster:
    """relu(weight · x + bias), of one number."""
    steps = (
        Linear("secret", 0, (1, 1), (1,), (1,), "relu"),
        Linear("out", 1, (1, 1), (1,), (1,), "output"),
    )
    program = Program((1,), steps, untrusted_clients=untrusted_clients)
    kernels = {0: np.array([[weight]]), 1: np.ones((1, 1))}
    return MemoryCluster(program, kernels, {0: np.full(1, BIAS), 1: np.zeros(1)})


def answers(cluster: MemoryCluster) -> list[float]:
    """What the client gets for 2^(k - 1 - i), which moves bit i of the weight to where the sign of the product is."""
    found = []
    for bit in range(BITS):
        huge = np.uint64(1) << np.uint64(cluster.program.precision.value_bits - 1 - bit)

        def tamper(_: Role, masked: Words, huge: np.uint64 = huge) -> Words:
            return masked + huge

        found.append(float(cluster.query(np.zeros((1, 1)), tamper).values[0, 0]))
    return found


def encoded(weight: float) -> int:
    """The low bits of the weight in fixed point."""
    return round(weight * 2**14) % 2**BITS


@pytest.mark.parametrize("weight", [0.7312, -0.4999, 0.0, 1.9, -1.0])
def test_huge_inputs_read_a_weight(weight: float) -> None:
    read = sum((answer < BIAS / 2) << bit for bit, answer in enumerate(answers(model(weight, False))))
    assert read == encoded(weight)


def test_lifted_inputs_tell_nothing() -> None:
    """Every message stands for a legal input: the same one for all of these, whatever the weight is."""
    for weight in (0.7312, -0.4999, 1.9):
        assert np.allclose(answers(model(weight, True)), BIAS, atol=2.0**-12)
