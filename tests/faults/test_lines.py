"""Networks between the engine, the broker and the store: cut, half open, slow, and leading elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast import Unavailable
from landfast.events import LaneProgress, StreamGained, StreamLost
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from landfast.testing.stores import VersityGateway
from landfast.testing.tcp_proxy import Holds, Line, TcpProxy
from tests.faults.inside import Inside
from tests.faults.lines import BATCH, Road, read, road, source, to_store, unhurt, unique

pytestmark = pytest.mark.system


@pytest.fixture
def way(store: VersityGateway) -> Iterator[TcpProxy]:
    """The line between a sink and the store."""
    with TcpProxy(store.port) as opened:
        yield opened


def begun(kafka: RealKafka, folder: Path, prefix: str, **given: str) -> Road:
    """A road through the line, with a hundred records to begin with."""
    topic = unique(prefix)
    create_topic(kafka.servers, topic, 1)
    made = road(folder, kafka.servers, topic, 1, kafka.line_servers, **given)
    made.load.produce(100)
    return made


def test_n1_the_broker_is_cut_off(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """While the line is cut the run says so and waits; when it is whole again all lands, and the alarm is over."""
    made = begun(kafka, tmp_path, "cut")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        line.cut()
        made.load.produce(100)
        run.until(lambda: "BROKER_UNREACHABLE" in run.concerns)
        assert not made.landed()
        line.heal()
        run.until(made.landed)
        run.until(lambda: not run.concerns)
        assert run.stop().abandoned == 0
    made.settle()


def test_n8_a_connection_that_is_half_open(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """Nobody says that the other end is gone: the deadline of an answer finds it out (a minute by default), and reading goes on."""
    made = begun(kafka, tmp_path, "half-open")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        line.forget()
        made.load.produce(100)
        run.until_told("KAFKA_CLIENT")
        run.until(made.landed)
        run.until(lambda: not run.concerns)
    made.settle()


@pytest.mark.museum(8)
def test_n3_n4_answers_that_come_late_or_never(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """The broker has every request and its answers wait in the line, longer than anybody waits for them; then they come all the same."""
    made = begun(kafka, tmp_path, "one-way")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        line.be(Line(holds=Holds.REPLIES))
        made.load.produce(100)
        run.until_told("BROKER_UNREACHABLE")
        assert not made.landed()
        line.heal()
        run.until(made.landed)
        line.be(Line(holds=Holds.REPLIES))
        made.load.produce(100)
        line.reset()
        line.heal()
        run.until(made.landed)
        run.until(lambda: not run.concerns)
    made.settle()


def test_n5_a_line_with_delays_and_breaks(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """Every piece of bytes is late and connections break again and again: it takes longer, and nothing else happens."""
    line.be(Line(delay_seconds=0.1))
    made = begun(kafka, tmp_path, "jittery")
    with Inside(made.line.file) as run:
        for _ in range(2):
            run.until(made.landed)
            made.load.produce(100)
            line.reset()
        run.until(made.landed)
        assert unhurt(run)
    made.settle()


def test_n9_a_line_of_a_hundred_kilobits(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """The line is narrower than a fetch is large: records come slowly, no deadline begins all over again, and no alarm is raised."""
    topic = unique("narrow")
    create_topic(kafka.servers, topic, 1)
    made = road(tmp_path, kafka.servers, topic, 1, kafka.line_servers, source(**{"socket.timeout.ms": "60000"}))
    made.load.produce(400)
    line.be(Line(bytes_per_second=12_500))
    with Inside(made.line.file) as run:
        run.until(made.landed)
        assert run.of(LaneProgress)
        assert unhurt(run)
        assert read(run) == 400
        line.heal()
    made.settle()


def test_n2_the_store_is_cut_off(kafka: RealKafka, store: VersityGateway, way: TcpProxy, tmp_path: Path) -> None:
    """Reading stops at the limit of memory, the membership is kept, the operator is told; when the store is back all lands."""
    extra = f"{BATCH}bytes = 262144\n[engine]\nmemory_bytes = 1048576\n"
    topic = unique("storeless")
    create_topic(kafka.servers, topic, 1)
    made = to_store(road(tmp_path, kafka.servers, topic, 1, extra=extra), store, way.port)
    made.load.produce(100)
    with Inside(made.line.file) as run:
        run.until(made.landed)
        way.cut()
        made.load.produce(30_000)
        run.until(lambda: "SINK_DOWN" in run.concerns)
        run.until(lambda: any(event.held for event in run.of(LaneProgress)))
        assert read(run) < 30_100
        assert not run.of(StreamLost)
        way.heal()
        run.until(made.landed)
        run.until(lambda: "SINK_DOWN" not in run.concerns)
        assert not run.of(StreamLost)
    made.settle()


def test_n10_one_member_sees_the_broker_and_the_other_the_store(
    kafka: RealKafka,
    line: TcpProxy,
    store: VersityGateway,
    way: TcpProxy,
    tmp_path: Path,
) -> None:
    """Two members, each cut off from another half of the world: both say so; nothing lands twice, and with both halves back all lands."""
    topic = unique("split")
    create_topic(kafka.servers, topic, 2)
    made = road(tmp_path, kafka.servers, topic, 2)
    made.load.produce(200)
    sighted = to_store(made, store, way.port, "sighted")
    brokerless = to_store(road(tmp_path, kafka.servers, topic, 2, kafka.line_servers), store, store.port, "brokerless")
    with Inside(sighted.line.file) as one, Inside(brokerless.line.file) as other:
        one.until(sighted.landed, other)
        one.until(lambda: one.of(StreamGained) and other.of(StreamGained), other)
        way.cut()
        line.cut()
        made.load.produce(200)
        one.until(lambda: "SINK_DOWN" in one.concerns and "BROKER_UNREACHABLE" in other.concerns, other)
        assert not sighted.landed()
        way.heal()
        one.until(sighted.landed, other)
        line.heal()
        made.load.produce(200)
        one.until(sighted.landed, other)
    sighted.load = made.load
    sighted.settle()


@pytest.mark.parametrize("leads", ["nowhere", "elsewhere"])
def test_n7_a_name_that_leads_nowhere_or_elsewhere(kafka: RealKafka, store: VersityGateway, tmp_path: Path, leads: str) -> None:
    """A name that does not resolve, or whose address is another service's: the run says that no broker answers, and has done nothing."""
    servers = "no-such-host.invalid:9092" if leads == "nowhere" else f"127.0.0.1:{store.port}"
    topic = unique("misled")
    create_topic(kafka.servers, topic, 1)
    extra = f"{BATCH}[engine]\nopen_wait_seconds = 2.0\n"
    made = road(tmp_path, kafka.servers, topic, 1, servers, extra=extra)
    made.load.produce(100)
    with Inside(made.line.file, until_end=True) as run, pytest.raises(Unavailable) as told:
        run.ended()
    assert told.value.code == "SOURCE_DOWN"
    assert "SOURCE_DOWN" in run.concerns
    assert not made.table.exists()
    right = road(tmp_path, kafka.servers, topic, 1)
    right.line.land()
    made.settle()
