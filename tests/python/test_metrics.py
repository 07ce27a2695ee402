"""Counters for Prometheus: only when asked for, on loopback, and nothing but counts."""

from __future__ import annotations

import urllib.request

import pytest
from syfr.errors import InputTypeError, PortInUseError
from syfr.party.metrics import publish
from syfr.player import parse

STATUS = {
    "sessions": 2,
    "connections": 5,
    "under_way": 1,
    "queries": {"buckets": [1, 0, 2] + [0] * 13, "seconds": 0.02, "failed": {"deadline": 4}, "together": 2},
    "waiting_for": ["server2"],
    "sent": {"server1": 10, "server2": 0},
    "received": {"server1": 7, "server2": 5},
    "models": [{"model": "ab" * 16, "name": "secret name", "served": 3, "serving": True}],
}


def look(port: int) -> str:
    """The text of one look."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def test_the_counters_are_those_of_the_status() -> None:
    text = look(publish("0", lambda: STATUS))
    assert "syfr_sessions 2.0" in text
    assert 'syfr_link_bytes_total{direction="received",peer="server2"} 5.0' in text
    assert f'syfr_served_requests_total{{model="{"ab" * 16}"}} 3.0' in text
    assert 'syfr_link_up{peer="server1"} 1.0' in text
    assert 'syfr_link_up{peer="server2"} 0.0' in text
    assert 'syfr_failed_queries_total{reason="deadline"} 4.0' in text
    assert "syfr_queries_together_total 2.0" in text
    assert 'syfr_query_seconds_bucket{le="0.0025"} 1.0' in text
    assert 'syfr_query_seconds_bucket{le="+Inf"} 3.0' in text
    assert "syfr_query_seconds_sum 0.02" in text
    assert "secret name" not in text


def test_an_address_that_cannot_be_used_is_refused() -> None:
    for address in ("localhost", "99999", "nowhere.invalid:9090"):
        with pytest.raises(InputTypeError, match="Give a port"):
            publish(address, lambda: STATUS)
    port = publish("0", lambda: STATUS)
    with pytest.raises(PortInUseError, match="Choose another port"):
        publish(str(port), lambda: STATUS)


def test_a_worker_has_no_metrics_unless_asked() -> None:
    assert parse(["--config", "cluster.json", "server0"]).metrics is None


def test_a_look_during_a_change_is_taken_again() -> None:
    looks: list[int] = []

    def status() -> dict[str, object]:
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("dictionary changed size during iteration")
        return STATUS

    assert "syfr_sessions 2.0" in look(publish("0", status))
