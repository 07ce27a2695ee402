"""A trace of one query, by step, and logs as JSON: what happened, how much, how long; never a value."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest
from syfr.logs import JsonFormatter, read_line
from syfr.party.trace import Tracing
from syfr.protocol.roles import Role
from workers import SERVERS, cluster_of, perceptron

MODEL = perceptron()


def test_the_next_query_is_traced_and_no_other(tmp_path: Path) -> None:
    with cluster_of(tmp_path) as cluster, cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(MODEL)
        session = client.open(number, MODEL)
        session.check()
        assert all(wire.call("trace", model=number)["steps"] == [] for wire in owner.wires.values())
        before = [wire.call("status")["sent"] for wire in owner.wires.values()]
        session.check(2)
        session.check(3)
        traces = {name: wire.call("trace", model=number)["steps"] for name, wire in owner.wires.items()}
        after = [wire.call("status")["sent"] for wire in owner.wires.values()]
    for name, steps in traces.items():
        assert {step["rows"] for step in steps} == {2}, "the first query after it was asked for"
        assert {step["layer"] for step in steps} <= {"hidden", "logits"}
        assert all(step["ms"] >= step["waited_ms"] >= 0 for step in steps), name
    for sender in SERVERS:
        assert sum(step["sent"] for step in traces[sender]) > 0
    sent = sum(step["bytes_sent"] for steps in traces.values() for step in steps)
    received = sum(step["bytes_received"] for steps in traces.values() for step in steps)
    assert sent == received
    assert sent < sum(sum(now.values()) - sum(then.values()) for now, then in zip(after, before, strict=True))


def test_waiting_is_from_the_pause_to_the_message() -> None:
    tracing = Tracing(wanted=True)
    trace = tracing.begin(MODEL.program, 1)
    assert trace is not None
    assert tracing.begin(MODEL.program, 1) is None
    trace.paused(0)
    time.sleep(0.02)
    trace.received(0, Role.SERVER1, (0, "opened"), [], ((Role.SERVER1, 0, "opened"),))
    trace.received(0, Role.SERVER2, (0, "answer"), [], ())
    tracing.end(trace)
    (step,) = tracing.last
    assert step["waited_ms"] > 10
    assert (step["received"], step["sent"], step["layer"]) == (2, 0, "hidden")


def test_a_line_of_a_log_is_read_again() -> None:
    record = logging.LogRecord("syfr", logging.WARNING, __file__, 1, 'said "%s"', ("no\nmore",), None)
    line = JsonFormatter("server1").format(record)
    assert "\n" not in line
    assert json.loads(line)["time"].endswith("+00:00")
    found = read_line(line)
    assert {**found, "time": ""} == {"time": "", "worker": "server1", "level": "WARNING", "message": 'said "no\nmore"'}


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "3", '{"other": 1}', ""])
def test_a_line_that_is_no_log_is_a_message(line: str) -> None:
    assert read_line(line) == {"message": line}
