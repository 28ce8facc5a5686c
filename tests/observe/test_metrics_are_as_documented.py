"""The metrics that are served are the documented ones, with the documented kinds and labels."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import reduce as fold

import pytest
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from landfast import events
from landfast.errors import Misconfigured
from landfast.model import Halt, Receipt, Span
from landfast.observe.metrics import METRICS
from landfast.observe.prometheus import MetricsServer, exposition
from landfast.observe.state import State, reduce
from tests.observe.event_strategies import STREAMS, histories

SPAN = Span(STREAMS[0], 0, 10, 10, 7, 1, {"tombstone": 2}, "d")
RICH = (
    events.RunStarted("", "r", "exactly-once"),
    events.StreamGained("sensors", STREAMS[0], 0, 1),
    events.StreamGained("sensors", STREAMS[1], 0, 1),
    events.RecordsRead("sensors", STREAMS[0], 10, 100, 10),
    events.LaneProgress("sensors", STREAMS[0], 0, 30, held=False),
    events.BatchCut("sensors", 1, 10, 100),
    events.BatchPrepared("sensors", 1, 7, 0.2),
    events.MemoryHeld("sensors", 100, 1, 2, 1000),
    events.LettersBuried("sensors", 1, (("bad_json", 1),)),
    events.LettersRetried("sensors", 2, 1, 0),
    events.LettersWaiting("sensors", 3, 2, 100),
    events.ServiceCalled("sensors", 10, "finished", 0.1),
    events.RetryScheduled("sensors", "SINK_DOWN", "transient", 1, 0.1, "m"),
    events.BatchLanded("sensors", Receipt((SPAN,), 7, 1, 500, 3, 1, already=False, seconds=0.02), 1),
    events.ConflictMet("sensors", "PIPELINE_CONFLICT", "m"),
    events.OutcomeResolved("sensors", landed=True, message="m"),
    events.Maintained("sensors", "checkpoint", 1, 10, 0.1),
    events.LaneHalted("sensors", STREAMS[1], 0, Halt("DATA_EXPIRED", "m", "n")),
    events.Notice("", "DISK_FULL", "m"),
)


def after(history: tuple[events.Event, ...] | list[events.Event]) -> State:
    """The state after these events."""
    return fold(lambda state, event: reduce(state, event, 5.0), history, State())


def test_the_table_of_metrics_keeps_the_conventions() -> None:
    """Sorted, unique, prefixed; a counter ends in _total; a unit that Prometheus knows stands in the name; the meaning is a sentence."""
    names = [metric.name for metric in METRICS]
    assert sorted(set(names)) == names
    for metric in METRICS:
        assert re.fullmatch(r"landfast_[a-z_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.kind in {"counter", "gauge", "histogram"}
        assert metric.meaning.endswith(".")
        assert metric.unit not in {"seconds", "bytes"} or metric.unit in metric.name


def test_what_is_served_is_what_is_documented() -> None:
    """Every documented metric has a sample after a run that met everything, with its kind and labels; nothing else is served."""
    served = {family.name: family for family in text_string_to_metric_families(exposition(lambda: after(RICH)).decode())}
    assert {metric.name.removesuffix("_total") for metric in METRICS} == set(served)
    for metric in METRICS:
        family = served[metric.name.removesuffix("_total")]
        assert metric.kind == family.type
        assert family.samples, metric.name
        assert {frozenset(metric.labels)} == {frozenset(sample.labels) - {"le"} for sample in family.samples}


def test_the_figures_are_those_of_the_events() -> None:
    """The equation can be read off the metrics: landed = written + dead + skipped, by topic."""
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition(lambda: after(RICH)).decode())
        for sample in family.samples
    }
    assert samples["landfast_records_landed_total", "a", "sensors"] == 10
    assert samples["landfast_records_written_total", "a", "sensors"] == 7
    assert samples["landfast_records_dead_total", "a", "sensors"] == 1
    assert samples["landfast_records_skipped_total", "a", "sensors", "tombstone"] == 2
    assert samples["landfast_lag_offsets", "0", "a", "sensors"] == 20
    assert samples["landfast_flushes_total", "landed", "sensors"] == 1
    assert samples["landfast_flush_seconds_count", "sensors"] == 1
    assert samples["landfast_ready",] == 0


@given(histories)
def test_every_history_can_be_served(history: list[events.Event]) -> None:
    """Whatever names topics, reasons and codes have, the text is well formed."""
    assert list(text_string_to_metric_families(exposition(lambda: after(history)).decode()))


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """A server of a run that is ready."""
    opened = MetricsServer(lambda: after(RICH[:4]), port=0)
    yield opened
    opened.close()


def answer(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 — an http address of ours
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_server_answers_metrics_health_and_ready(server: MetricsServer) -> None:
    """Three paths, read only; everything else is not found or not allowed."""
    assert answer(server, "/metrics")[0] == 200
    assert json.loads(answer(server, "/health")[1])["status"] == "ok"
    assert answer(server, "/ready")[0] == 200
    assert answer(server, "/ready", "HEAD") == (200, b"")
    assert answer(server, "/../etc/passwd")[0] == 404
    assert answer(server, "/metrics", "POST")[0] == 501


def test_ready_and_health_answer_503_when_they_must() -> None:
    """A probe needs no parser: the status is the answer."""
    halted = MetricsServer(lambda: after(RICH), port=0)
    try:
        assert answer(halted, "/ready")[0] == 503
        assert answer(halted, "/health")[0] == 200
    finally:
        halted.close()


def test_the_server_listens_on_loopback_by_default(server: MetricsServer) -> None:
    """Nobody outside the machine can ask unless the operator says so."""
    assert server._server.server_address[0] == "127.0.0.1"  # noqa: SLF001 — what is bound is the promise


def test_a_taken_port_is_refused_with_a_code(server: MetricsServer) -> None:
    """A port in use is a mistake in the settings, told before the first read."""
    with pytest.raises(Misconfigured) as refused:
        MetricsServer(State, port=server.port)
    assert refused.value.code == "PORT_TAKEN"


def test_clients_that_say_nothing_do_not_keep_others_out(server: MetricsServer) -> None:
    """Requests are bounded: idle connections up to the limit leave no room, one less does, and nobody waits for ever."""
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(7)]
    try:
        assert answer(server, "/health")[0] == 200
    finally:
        for connection in idle:
            connection.close()
