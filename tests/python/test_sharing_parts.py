"""A share that comes in several calls is the one that comes at once; one that is not finished is nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import pytest
from syfr.errors import ProtocolError, SyfrError
from syfr.face.sending import Part, in_parts
from syfr.party.receiving import Receiving
from syfr.protocol import sharing
from syfr.protocol.roles import SERVERS, Role
from syfr.protocol.sharing import ModelShare
from workers import SERVERS as NAMES
from workers import Array, Cluster, Model, Owner, check_serving, cluster_of, digits, perceptron

MOST = 4096


def layers_of(model: Model, seeds: tuple[bytes, bytes]) -> list[sharing.SharedLayer]:
    """The model split once."""
    return list(sharing.sharing_layers(model.program, model.kernels, model.biases, seeds))


def fields_of(model: Model, seeds: tuple[bytes, bytes], number: str = "ab" * 16) -> list[dict[str, object]]:
    """Of the first call, by worker."""
    same = {"model": number, "name": "model", "program": model.program.to_message()}
    return [{**same, "seeds": own} for own in ([seeds[0]], [seeds[1]], list(seeds))]


def received(model: Model, role: Role, parts: list[Part], seeds: tuple[bytes, bytes]) -> Receiving:
    """What a worker has after these parts."""
    found = Receiving(role, fields_of(model, seeds)[role])
    for part in parts:
        found.take(part.arrays[role] if role < Role.SERVER2 else (), part.layers)
    return found


@pytest.mark.parametrize("most", [8, 1000, MOST, 1 << 30])
def test_parts_are_bounded_and_make_the_same_share(most: int) -> None:
    model, seeds = digits(), sharing.fresh_seeds()
    layers = layers_of(model, seeds)
    parts = list(in_parts(layers, most))
    biases = max(layer.biases[0].nbytes for layer in layers)
    assert all(part.size <= most + biases for part in parts)
    assert len(parts) == 1 or most < 1 << 30
    for role in SERVERS:
        masked = {layer.number: layer.masked for layer in layers} if role < Role.SERVER2 else {}
        own = {layer.number: layer.biases[role] for layer in layers} if role < Role.SERVER2 else {}
        whole = ModelShare(role, (seeds[:1], seeds[1:], seeds)[role], masked, own)
        found = received(model, role, parts, seeds)
        assert sharing.digests(model.program, found.share()) == sharing.digests(model.program, whole)
        for number, layer in sharing.layer_shares(model.program, whole).items():
            for name in ("factor", "masked", "bias"):
                one, other = getattr(found.layers[number], name), getattr(layer, name)
                assert (one is None and other is None) or np.array_equal(one, other)


def test_the_dealer_expands_the_layers_that_are_whole() -> None:
    model, seeds = digits(), sharing.fresh_seeds()
    parts = list(in_parts(layers_of(model, seeds), MOST))
    for count in range(len(parts) + 1):
        dealer = received(model, Role.SERVER2, parts[:count], seeds)
        assert len(dealer.layers) == (parts[count - 1].layers if count else 0)
        if count < len(parts):
            with pytest.raises(ProtocolError, match="number of arrays"):
                dealer.share()


def share_of(server: Receiving, arrays: list[Array]) -> ModelShare:
    """The share of these arrays."""
    server.take(arrays)
    return server.share()


def test_what_does_not_fit_is_refused() -> None:
    model, seeds = digits(), sharing.fresh_seeds()
    first = layers_of(model, seeds)[0]
    flat, bias = first.masked.reshape(-1), first.biases[0]
    wrong: list[list[Array]] = [
        [flat[:10].reshape(2, 5)],
        [flat[:10].astype(np.uint8)],
        [flat[:0]],
        [np.concatenate([flat, flat])],
        [flat[:10], first.masked],
        [first.masked, first.masked],
        [first.masked, bias[:1]],
        [bias],
    ]
    for arrays in wrong:
        with pytest.raises(ProtocolError, match=r"layer 'conv1'|number of arrays"):
            share_of(Receiving(Role.SERVER0, fields_of(model, seeds)[0]), arrays)
    with pytest.raises(ProtocolError, match="number of arrays"):
        Receiving(Role.SERVER2, fields_of(model, seeds)[2]).take([bias])


# ---- between an owner and workers ----


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def begin(owner: Owner, model: Model, calls: int | None = None) -> tuple[str, int]:
    """Share a model in parts, or the first so many of them: its number, and how many parts there are."""
    number, seeds = secrets.token_hex(16), sharing.fresh_seeds()
    parts = list(in_parts(layers_of(model, seeds), MOST))
    fields = dict(zip(NAMES, fields_of(model, seeds, number), strict=True))
    for place, part in enumerate(parts[:calls]):
        same = {"model": number, "layers": part.layers, "more": place + 1 < len(parts)}
        given = {name: {**(own if place == 0 else {}), **same} for name, own in fields.items()}
        owner.ask_all("part" if place else "share", given, dict(zip(NAMES, part.arrays, strict=False)))
    return number, len(parts)


def test_workers_serve_a_model_that_came_in_parts(cluster: Cluster) -> None:
    model = digits()
    with cluster.owner() as owner, cluster.client() as client:
        number, parts = begin(owner, model)
        assert parts > 3
        owner.serve(number)
        client.open(number, model).check()
        owner.tell("drop", model=number)


def test_a_share_that_stops_in_the_middle_is_nothing(cluster: Cluster) -> None:
    model = digits()
    with cluster.owner() as owner:
        number, _ = begin(owner, model, 2)
        with pytest.raises(SyfrError, match="not shared"):
            owner.serve(number)
        with cluster.owner() as other, pytest.raises(ProtocolError, match="No share of this model has been begun"):
            other.tell("part", model=number, more=False)
    check_serving(cluster)


def test_a_share_that_is_dropped_in_the_middle_does_not_go_on(cluster: Cluster) -> None:
    with cluster.owner() as owner:
        number, _ = begin(owner, digits(), 2)
        owner.tell("drop", model=number)
        with pytest.raises(ProtocolError, match="No share of this model has been begun"):
            owner.tell("part", model=number, more=False)


def test_a_connection_has_few_unfinished_shares(cluster: Cluster) -> None:
    with cluster.owner() as owner:
        for _ in range(4):
            begin(owner, digits(), 1)
        with pytest.raises(ProtocolError, match="Too many models"):
            begin(owner, digits(), 1)
    with cluster.owner() as owner:
        owner.tell("drop", model=owner.share(perceptron()))


def test_a_share_in_parts_survives_a_restart() -> None:
    """What is kept is whole, whatever calls it came in."""
    model, seeds = digits(), sharing.fresh_seeds()
    server = received(model, Role.SERVER1, list(in_parts(layers_of(model, seeds), MOST)), seeds)
    again = Receiving(Role.SERVER1, server.fields())
    again.take(server.share().arrays)
    assert sharing.digests(model.program, again.share()) == sharing.digests(model.program, server.share())
