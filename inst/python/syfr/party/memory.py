"""Three parties in one process, over an in-memory link: the protocol as the workers run it, without sockets.

Tests, virtual workers and the benchmark by step use it; operations cannot tell it from the workers' links.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError
from syfr.party import executor, preprocessing
from syfr.party.streams import PairKeys
from syfr.program import Program
from syfr.protocol import output, sharing
from syfr.protocol.channel import Array, Channel, Run, Tag
from syfr.protocol.operation import Streams
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.ring.streams import fresh_key


@dataclass
class Sent:
    """One message: who sent it to whom, under what name, at which logical time, and its arrays."""

    sender: Role
    receiver: Role
    tag: Tag
    clock: int
    arrays: list[Array]


@dataclass
class MemoryNetwork:
    """Carries messages between the channels of one query, and keeps a record of all of them."""

    record: list[Sent] = field(default_factory=list)
    on_the_way: deque[Sent] = field(default_factory=deque)

    def channel(self, role: Role) -> MemoryChannel:
        """The end of one party."""
        return MemoryChannel(role, self)

    def run(self, runs: Mapping[Role, Run]) -> None:
        """Drive all parties until none has anything left to do; raises ProtocolError when one is left waiting."""
        for run in runs.values():
            run.advance()
        while self.on_the_way:
            sent = self.on_the_way.popleft()
            runs[sent.receiver].deliver(sent.sender, sent.tag, sent.clock, sent.arrays)
        for role, run in runs.items():
            if not run.done:
                raise ProtocolError(f"{role.label} still waits for {run.missing}, which nobody will send.")


class MemoryChannel(Channel):
    """One party's end of a :class:`MemoryNetwork`. Arrays are copied, as a socket would."""

    def __init__(self, role: Role, network: MemoryNetwork) -> None:
        super().__init__(role)
        self._network = network

    def transmit(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Put the message on the way."""
        sent = Sent(self.role, peer, tag, clock, [array.copy() for array in arrays])
        self._network.record.append(sent)
        self._network.on_the_way.append(sent)


@dataclass
class Answer:
    """What came of one query in memory."""

    values: NDArray[np.float64]
    delays: int
    messages: list[Sent]


class MemoryCluster:
    """A shared model and a client's session on three parties in this process.

    Args:
        program: the public description.
        kernels, biases: the weights in clear, by step number; shared here with fresh masks.
        padded: the form of fewer delays (protocol/answer.py).
    """

    def __init__(
        self,
        program: Program,
        kernels: Mapping[int, NDArray[np.float64]],
        biases: Mapping[int, NDArray[np.float64]],
        padded: bool = False,
    ) -> None:
        program.check()
        self.program = program
        shares = sharing.share_weights(program, kernels, biases)
        self.plan = preprocessing.Plan(program, padded)
        self.layers = {share.role: sharing.layer_shares(program, share) for share in shares}
        self.session = fresh_key()
        self.keys = {role: PairKeys(keys, self.session) for role, keys in fresh_pair_keys().items()}
        self.seeds = sharing.fresh_seeds()
        self._next_row = 0
        self._blocks = 0
        self._ready: list[tuple[int, int, dict[Role, Any]]] = []

    def prepare(self, rows: int) -> list[Array]:
        """Preprocess ``rows`` more rows; returns what the dealer sent to server1."""
        start = self._ready[-1][1] if self._ready else self._next_row
        streams = {role: self.keys[role].block(self._blocks) for role in SERVERS}
        self._blocks += 1
        masks = [sharing.input_mask(seed, start, rows, self.program.input_shape) for seed in self.seeds]
        block, message = prepare_all(self.plan, self.layers, streams, masks)
        self._ready.append((start, start + rows, block))
        return message

    def query(
        self, x: NDArray[np.float64], tamper: Callable[[Role, Words], Words] | None = None
    ) -> Answer:
        """One query through all parties, preprocessing first when none is ready.

        Args:
            x: (rows, *input shape).
            tamper: changes the masked input that one server gets, as a cheating client could.
        """
        rows = self.program.check_rows(x.shape)
        if not self._ready:
            self.prepare(rows)
        start, stop, block = self._ready.pop(0)
        if stop - start != rows:
            raise ValueError("A query in memory takes the rows of one preparation.")
        self._next_row = stop
        encoded = self.program.encode_input(x)
        masked = sharing.low_bits(sharing.mask_input(encoded, self.seeds, start), self.program.input_bits)
        inputs = {role: tamper(role, masked) if tamper else masked for role in (Role.SERVER0, Role.SERVER1)}
        network = MemoryNetwork()
        runs = self._runs(network, block, inputs, start)
        network.run(runs)
        parts = [runs[role].result for role in (Role.SERVER0, Role.SERVER1)]
        delays = max(run.channel.clock for run in runs.values())
        return Answer(output.combine(parts[0], parts[1], self.program), delays, network.record)

    def _runs(
        self, network: MemoryNetwork, block: dict[Role, Any], inputs: Mapping[Role, Words], start: int
    ) -> dict[Role, Run]:
        openings = {role: (self.keys[role].transcript_key(role.partner, start), self.session) for role in inputs}
        return all_runs(network, self.plan, self.layers, block, inputs, openings)


def fresh_pair_keys() -> dict[Role, dict[Role, bytes]]:
    """What each party has in common with each other one, as if they had just been linked."""
    keys = {frozenset(pair): fresh_key() for pair in ((0, 1), (0, 2), (1, 2))}
    return {role: {peer: keys[frozenset((role, peer))] for peer in role.peers} for role in SERVERS}


def prepare_all(
    plan: preprocessing.Plan,
    layers: Mapping[Role, preprocessing.Layers],
    streams: Mapping[Role, Streams],
    masks: Sequence[Words],
) -> tuple[dict[Role, Any], list[Array]]:
    """Preprocessing of one block by all three parties, and what the dealer sent; ``masks`` are both lambdas."""
    kept, message = preprocessing.deal_block(plan, layers[DEALER], streams[DEALER], masks[0] + masks[1])
    prepared: dict[Role, Any] = {DEALER: kept}
    for role, received in ((Role.SERVER0, None), (Role.SERVER1, message)):
        prepared[role] = preprocessing.prepare_block(
            plan, role, layers[role], streams[role], masks[role], received
        )
    return prepared, message


def all_runs(
    network: MemoryNetwork,
    plan: preprocessing.Plan,
    layers: Mapping[Role, preprocessing.Layers],
    block: Mapping[Role, Any],
    inputs: Mapping[Role, Words],
    openings: Mapping[Role, tuple[bytes, bytes]],
) -> dict[Role, Run]:
    """One query at all three parties, not yet begun; ``openings`` are key and beginning of the servers' hashes."""
    runs = {}
    for role, masked in inputs.items():
        channel, transcript = network.channel(role), Transcript(*openings[role])
        work = executor.run_server(channel, transcript, plan, layers[role], block[role], masked)
        runs[role] = Run(work, channel)
    channel = network.channel(DEALER)
    runs[DEALER] = Run(executor.run_dealer(channel, plan, block[DEALER]), channel)
    return runs
