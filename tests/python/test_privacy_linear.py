"""Linear layers hide input, weights and biases exactly, at a tiny ring size.

Everything between the sharing and the shares of z is additions and products in Z_2^64, so the run modulo 2^BITS is the
run in that smaller ring, and random values need only be enumerated there. Besides each worker alone, the views of a
worker together with the client (who knows the input and its masks) and with the owner (who knows the weights and
theirs) are counted: then only the other one's secrets must be hidden.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from harness import Given, dense
from layouts import signed
from numpy.typing import NDArray
from syfr.program import Program
from syfr.protocol import linear, sharing
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare
from syfr.ring.fixedpoint import Precision, Words
from syfr.ring.packing import unpack_elements
from syfr.ring.streams import Source
from views import View, every

Array = NDArray[Any]
BITS = 2
RING = 1 << BITS
PRECISION = Precision(1, 5, 3)
STEP = dense(0, 1, 1, "relu")
PROGRAM = Program((1,), (STEP, dense(1, 1, 1, "output")), PRECISION)

MODEL_DRAWS = ("kernel0", "kernel1", "bias")
QUERY_DRAWS = ("input0", "input1", "c0")
Secrets = tuple[int, int, int]
"""Input, weight and bias, in units of their last bits."""


class Scripted:
    """Stands in for KeyStream in the sharing: hands out chosen values by what they are and whose seed it is."""

    def __init__(self, values: Mapping[str, Array]) -> None:
        self._values = values

    def __call__(self, seed: bytes, nonce: bytes = bytes(8), start: int = 0) -> Source:
        which = seed[:1].decode()
        named = {name[:-1]: values for name, values in self._values.items() if name[-1:] == which}
        return _Spread({**named, "bias": self._values["bias"]})


class _Spread(Given):
    """Pads what is chosen to the shape that is drawn."""

    def __init__(self, values: Mapping[str, Array]) -> None:
        super().__init__({})
        self._values = values

    def elements(self, label: str, shape: tuple[int, ...]) -> Words:
        """One value for each row, or the same for all."""
        values = self._values[label].astype(np.uint64)
        return np.array(np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape))


@dataclass
class Layer:
    """One linear layer run with chosen randomness; the query's values are arrays with a row for each combination."""

    draws: Mapping[str, Array]
    masked_input: Words
    shares: Mapping[Role, LayerShare]
    c1: Words
    z: Mapping[Role, Words]

    def knows(self, who: str) -> list[Array]:
        """What a worker, the client or the owner has seen of this layer."""
        kernels = [self.draws["kernel0"], self.draws["kernel1"]]
        inputs = [self.draws["input0"], self.draws["input1"]]
        masked_kernel = self.shares[Role.SERVER0].masked
        biases = [self.shares[role].bias for role in (Role.SERVER0, Role.SERVER1)]
        seen: dict[str, list[Any]] = {
            "server0": [self.masked_input, inputs[0], masked_kernel, kernels[0], biases[0], self.draws["c0"]],
            "server1": [self.masked_input, inputs[1], masked_kernel, kernels[1], biases[1], self.c1],
            "server2": [*inputs, *kernels, self.draws["c0"]],
            "client": [self.masked_input, *inputs],
            "owner": [masked_kernel, *kernels, *biases],
        }
        shared = {"server0": Role.SERVER0, "server1": Role.SERVER1}
        return [*seen[who], self.z[shared[who]]] if who in shared else seen[who]


def run_layer(monkeypatch: pytest.MonkeyPatch, secrets: Secrets, draws: Mapping[str, Array]) -> Layer:
    """Share, mask, preprocess and compute one layer of one weight with the shipped functions."""
    x, weight, bias = (float(secret) for secret in secrets)
    monkeypatch.setattr(sharing, "KeyStream", Scripted(draws))
    monkeypatch.setattr(sharing, "derive_key", lambda seed, purpose: seed)
    fresh = iter([b"0" * 16, b"1" * 16, b"own"])
    monkeypatch.setattr(sharing, "fresh_key", lambda: next(fresh))
    f = PRECISION.fraction_bits
    kernels = {0: np.full((1, 1), weight / 2**f), 1: np.zeros((1, 1))}
    biases = {0: np.full(1, bias / 4**f), 1: np.zeros(1)}
    models = sharing.share_weights(PROGRAM, kernels, biases)
    shares = {share.role: sharing.layer_shares(PROGRAM, share)[0] for share in models}
    seeds = models[2].seeds[0], models[2].seeds[1]
    rows = draws["c0"].size
    encoded = PRECISION.encode(np.full((rows, 1), x / 2**f))
    masked = sharing.mask_input(encoded, seeds, 0)
    masks = [sharing.input_mask(seed, 0, rows, (1,)) for seed in seeds]

    def offsets() -> Source:
        return Given({"c0": draws["c0"].reshape(rows, 1)})

    dealt = linear.deal(STEP, shares[DEALER], masks[0] + masks[1], offsets())
    offset0 = linear.prepare0(STEP, shares[Role.SERVER0], masks[0], (1 << PRECISION.fraction_bits) - 1, offsets())
    offset1 = linear.prepare1(STEP, shares[Role.SERVER1], masks[1], dealt)
    z = {
        Role.SERVER0: linear.online(STEP, shares[Role.SERVER0], offset0, masked),
        Role.SERVER1: linear.online(STEP, shares[Role.SERVER1], offset1, masked),
    }
    return Layer(draws, masked, shares, unpack_elements(dealt.reshape(-1), (rows, 1)), z)


def all_draws(dropped: str = "") -> Iterator[dict[str, Array]]:
    """All random values modulo RING: one after the other for the model's, a row each for the query's."""
    sizes = {name: 1 if name == dropped else RING for name in (*MODEL_DRAWS, *QUERY_DRAWS)}
    query = every(**{name: sizes[name] for name in QUERY_DRAWS})
    for model in itertools.product(*(range(sizes[name]) for name in MODEL_DRAWS)):
        yield {**query, **{name: np.array([value]) for name, value in zip(MODEL_DRAWS, model, strict=True)}}


PARTIES: tuple[tuple[str, ...], ...] = (
    ("server0",),
    ("server1",),
    ("server2",),
    ("client", "server0"),
    ("client", "server1"),
    ("client", "server2"),
    ("owner", "server0"),
    ("owner", "server1"),
    ("owner", "server2"),
)


def distributions(
    monkeypatch: pytest.MonkeyPatch, secrets: Secrets, dropped: str = ""
) -> dict[tuple[str, ...], Array]:
    """For each party or pair, how often each view occurs when everything random runs over all values."""
    columns: dict[tuple[str, ...], list[list[Array]]] = {who: [] for who in PARTIES}
    for draws in all_draws(dropped):
        layer = run_layer(monkeypatch, secrets, draws)
        rows = draws["c0"].size
        for who in PARTIES:
            known = [values for party in who for values in layer.knows(party)]
            columns[who].append([np.broadcast_to(values.reshape(-1), rows) for values in known])
    found = {}
    for who, parts in columns.items():
        view = View()
        for column in zip(*parts, strict=True):
            view.see(np.concatenate(column).astype(np.uint64) % np.uint64(RING), RING)
        found[who] = view.distribution()
    return found


def hidden(who: tuple[str, ...], secrets: Secrets) -> Secrets:
    """The secrets with those that the party itself contributed set apart: views are compared where these agree."""
    x, weight, bias = secrets
    if "client" in who:
        return x, 0, 0
    return (0, weight, bias) if "owner" in who else (0, 0, 0)


def who_learns(monkeypatch: pytest.MonkeyPatch, all_secrets: list[Secrets], dropped: str = "") -> set[tuple[str, ...]]:
    """The parties and pairs whose view tells apart two secrets that they did not both know."""
    first: dict[Any, Array] = {}
    learning = set()
    for secrets in all_secrets:
        for who, found in distributions(monkeypatch, secrets, dropped).items():
            expected = first.setdefault((who, hidden(who, secrets)), found)
            if not np.array_equal(found, expected):
                learning.add(who)
    return learning


def test_no_party_and_no_pair_learns_a_secret_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [(x, weight, bias) for x in range(RING) for weight in range(RING) for bias in range(RING)]
    assert who_learns(monkeypatch, secrets) == set()


@pytest.mark.parametrize(
    ("dropped", "alone"),
    [
        ("input0", {"server1"}),
        ("input1", {"server0"}),
        ("kernel0", {"server1"}),
        ("kernel1", {"server0"}),
        ("bias", {"server1"}),
        ("c0", {"server1"}),
    ],
)
def test_without_any_one_random_value_a_worker_learns(
    monkeypatch: pytest.MonkeyPatch, dropped: str, alone: set[str]
) -> None:
    learning = who_learns(monkeypatch, [(0, 0, 0), (1, 0, 0), (1, 3, 0), (3, 3, 0), (1, 3, 1)], dropped)
    assert {who[0] for who in learning if len(who) == 1} == alone


def test_the_shares_of_a_layer_sum_to_its_product(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(18)
    for _ in range(20):
        draws = {name: rng.integers(0, 2**64, 1, np.uint64) for name in MODEL_DRAWS}
        draws |= {name: rng.integers(0, 2**64, 50, np.uint64) for name in QUERY_DRAWS}
        x, weight, bias = rng.integers(-7, 8, 3).tolist()
        layer = run_layer(monkeypatch, (x, weight, bias), draws)
        total = signed(layer.z[Role.SERVER0] + layer.z[Role.SERVER1], 48).view(np.int64)
        assert (total == x * weight + bias + 1).all()

