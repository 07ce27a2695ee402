"""Where the time and the bytes of one query go, step by step, with the three parties in one process.

The parties run as the workers run them, over the in-memory link, one after the other: what is timed is computing alone,
without TLS, processes and waiting. A party computes from the arrival of one message to the sending of the next, so each
stretch is named by the message that it begins with.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

from syfr.importing.keras_import import Imported
from syfr.party import preprocessing
from syfr.party.memory import MemoryCluster, MemoryNetwork
from syfr.protocol import sharing
from syfr.protocol.channel import Run
from syfr.protocol.roles import DEALER, SERVERS, Role

from bench import models
from bench.stats import Figures, seconds_of

RUNS = 60
WORK = {
    "masked": "product and truncation",
    "opened": "compare",
    "compare": "dealer's look",
    "answer": "selection",
}
"""What a party does when this message has arrived."""

AHEAD = (1, 4, 32)
"""Rows of a block of preprocessing."""


class TimedNetwork(MemoryNetwork):
    """A network that keeps how long each stretch of each party took."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[tuple[int, str, Role], float] = defaultdict(float)

    def run_timed(self, runs: dict[Role, Run], first_step: int, follow: dict[int, int]) -> None:
        """As run(); ``follow`` names the step whose product begins when a step's masked values are there."""
        for role, run in runs.items():
            self.seconds[first_step, WORK["masked"], role] += seconds_of(run.advance)
        while self.on_the_way:
            sent = self.on_the_way.popleft()
            number, name = sent.tag
            step = follow[number] if name == "masked" else number
            run = runs[sent.receiver]
            self.seconds[step, WORK[name], sent.receiver] += seconds_of(
                lambda: run.deliver(sent.sender, sent.tag, sent.clock, sent.arrays)  # noqa: B023
            )


def measure(figures: Figures, imported: Imported, name: str) -> None:
    """Time and bytes by step of one row, and the processor time of preprocessing a row at each party."""
    program = imported.program
    kernels = {number: weights.kernel for number, weights in imported.weights.items()}
    biases = {number: weights.bias for number, weights in imported.weights.items()}
    cluster = MemoryCluster(program, kernels, biases)
    x = models.random_rows(program.input_shape, 1)
    numbers = [number for number, _ in program.linear_steps()]
    follow = dict(itertools.pairwise(numbers))
    found: dict[tuple[int, str, Role], list[float]] = defaultdict(list)
    for run in range(RUNS + 3):
        network = _query(cluster, x, numbers[0], follow)
        if run >= 3:
            for key, seconds in network.seconds.items():
                found[key].append(seconds)
    for (step, work, role), values in sorted(found.items()):
        figures.add(f"steps/{name}/{step} {program.steps[step].layer}/{work}/{role.label}", "s", values)
    _bytes(figures, name, cluster, network)
    for rows in AHEAD:
        _preprocessing(figures, name, cluster, rows)


def _query(cluster: MemoryCluster, x: Any, first: int, follow: dict[int, int]) -> TimedNetwork:
    """One query, as MemoryCluster.query() runs it, on a network that looks at the clock."""
    cluster.prepare(1)
    start, _, block = cluster._ready.pop(0)
    cluster._next_row = start + 1
    masked = sharing.mask_input(cluster.program.encode_input(x), cluster.seeds, start)
    network = TimedNetwork()
    inputs = {role: masked.copy() for role in (Role.SERVER0, Role.SERVER1)}
    network.run_timed(cluster._runs(network, block, inputs, start), first, follow)
    return network


def _bytes(figures: Figures, name: str, cluster: MemoryCluster, network: MemoryNetwork) -> None:
    program = cluster.program
    found: dict[tuple[int, str], int] = defaultdict(int)
    for sent in network.record:
        found[sent.tag] += sum(array.nbytes for array in sent.arrays)
    for (step, message), count in sorted(found.items()):
        figures.add(f"step bytes/{name}/{step} {program.steps[step].layer}/{message}", "B", count)
    for number, step in program.linear_steps():
        ahead = cluster.plan.operations[number].cost().preprocessing_bytes
        figures.add(f"step bytes/{name}/{number} {step.layer}/dealt ahead", "B", ahead)


def _preprocessing(figures: Figures, name: str, cluster: MemoryCluster, rows: int) -> None:
    """Seconds for each row of a block at each party."""
    program, found = cluster.program, defaultdict(list)
    for run in range(RUNS // 2 + 2):
        streams = {role: cluster.keys[role].block(run) for role in SERVERS}
        masks = [sharing.input_mask(seed, 0, rows, program.input_shape) for seed in cluster.seeds]
        message: list[Any] = []

        def deal() -> None:
            both = masks[0] + masks[1]  # noqa: B023
            _, arrays = preprocessing.deal_block(cluster.plan, cluster.layers[DEALER], streams[DEALER], both)  # noqa: B023
            message.extend(arrays)  # noqa: B023

        found[DEALER].append(seconds_of(deal) / rows)
        for role, mask, received in ((Role.SERVER0, masks[0], None), (Role.SERVER1, masks[1], message)):
            seconds = seconds_of(
                lambda: preprocessing.prepare_block(
                    cluster.plan, role, cluster.layers[role], streams[role], mask, received  # noqa: B023
                )
            )
            found[role].append(seconds / rows)
    for role, values in found.items():
        figures.add(f"preprocessing/{name}/block of {rows}/{role.label}", "s", values[2:])
