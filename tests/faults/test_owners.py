"""Streams that change hands: members that join, leave, die, stand still and come back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast.events import BatchCut, ConflictMet, StreamGained, StreamLost
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from landfast.testing.stores import VersityGateway
from landfast.testing.tcp_proxy import Holds, Line, TcpProxy
from tests.faults.doomed import Doom, worker
from tests.faults.inside import Inside
from tests.faults.lines import Road, read, road, source, to_store, unhurt, unique
from tests.system.field import rows

pytestmark = pytest.mark.system

COMMIT = "landfast.sinks.delta.landing.sink:DeltaSink.commit"
# What is read stays in memory until somebody asks for it.
PATIENT = "[batch]\nseconds = 600.0\n"
# A fifth of this is what a stream that goes has for what was read of it.
DEADLINES = "poll_interval_seconds_max = 10.0"
HEARTBEATS = {"heartbeat.interval.ms": "300"}


@pytest.fixture
def way(store: VersityGateway) -> Iterator[TcpProxy]:
    """The line between a sink and the store."""
    with TcpProxy(store.port) as opened:
        yield opened


def shared(kafka: RealKafka, folder: Path, prefix: str, extra: str = "[batch]\nseconds = 0.2\n", session_seconds: float = 6.0) -> Road:
    """A topic with two partitions, and a pipeline over it for several members."""
    topic = unique(prefix)
    create_topic(kafka.servers, topic, 2)
    return road(folder, kafka.servers, topic, 2, settings=source(session_seconds, DEADLINES, **HEARTBEATS), extra=extra)


def owned(run: Inside) -> set[int]:
    """The partitions that a run has now."""
    return {stream.partition for _, stream, lane in run.state.lanes if lane.assigned}


@pytest.mark.museum(14)
def test_r2_a_member_that_leaves_lands_what_it_read(kafka: RealKafka, tmp_path: Path) -> None:
    """What the leaving member had in memory has landed before it goes: nothing is abandoned, and nobody reads anything twice."""
    made = shared(kafka, tmp_path, "left", PATIENT)
    with Inside(made.line.file) as one, Inside(made.line.file) as other:
        one.until(lambda: len(owned(one)) == len(owned(other)) == 1, other)
        made.load.produce(400)
        one.until(lambda: read(one) + read(other) == 400, other)
        assert other.stop().abandoned == 0
        one.until(lambda: len(owned(one)) == 2)
        assert one.stop().abandoned == 0
    assert read(one) + read(other) == 400
    assert all(event.drained for event in (*one.of(StreamLost), *other.of(StreamLost)))
    made.settle()


@pytest.mark.museum(20)
def test_r1_r4_a_member_that_joins_gets_a_stream_whose_records_have_landed(kafka: RealKafka, tmp_path: Path) -> None:
    """The stream that goes is drained first: its progress is kept, and the new owner begins where the old one ended."""
    made = shared(kafka, tmp_path, "joined", PATIENT)
    made.load.produce(400)
    with Inside(made.line.file) as one:
        one.until(lambda: read(one) == 400)
        assert rows(made.table) == 0
        with Inside(made.line.file) as other:
            one.until(lambda: other.of(StreamGained), other)
            (lost,) = one.of(StreamLost)
            assert (lost.abandoned, lost.drained) == (0, True)
            (gained,) = other.of(StreamGained)
            assert (gained.stream, gained.position) == (lost.stream, 200)
    assert read(one) + read(other) == 400
    made.settle()


def test_r5_a_stream_that_goes_while_its_commit_is_on_the_way(
    kafka: RealKafka, store: VersityGateway, way: TcpProxy, tmp_path: Path
) -> None:
    """The store does not answer the old owner in time: what it held is abandoned and read again by the new one, whatever arrives late."""
    made = shared(kafka, tmp_path, "budget")
    one_file = to_store(made, store, way.port, "one")
    other_file = to_store(made, store, store.port, "other")
    made.load.produce(200)
    with Inside(one_file.line.file) as one:
        one.until(one_file.landed)
        way.be(Line(holds=Holds.REQUESTS))
        made.load.produce(200)
        one.until(lambda: len(one.of(BatchCut)) > 1)
        with Inside(other_file.line.file) as other:
            one.until(lambda: one.of(StreamLost), other)
            assert [event.drained for event in one.of(StreamLost)] == [False]
            assert one.of(StreamLost)[0].abandoned > 0
            one.until(lambda: other.of(StreamGained), other)
            way.heal()
            one.until(one_file.landed, other)
    one_file.settle()


def test_r3_a_member_dies_inside_a_commit(kafka: RealKafka, tmp_path: Path) -> None:
    """Its commit is there with its position, though nobody was told; the member that is left goes on from that very place."""
    made = shared(kafka, tmp_path, "bereaved", session_seconds=2.0)
    with Inside(made.line.file) as one:
        one.until(lambda: len(owned(one)) == 2)
        doom = Doom("landfast.sinks.delta.files.local:Disk.link", when="after", within=COMMIT)
        with worker(made.line.file, doom=doom) as victim:
            one.until(lambda: len(owned(one)) == 1)
            made.load.produce(400)
            assert victim.ended() == -signal.SIGKILL
        one.until(lambda: len(owned(one)) == 2)
        one.until(made.landed)
        assert one.of(StreamGained)[-1].position == 200
    made.settle()


def test_p13_c5_a_process_that_stands_still_for_longer_than_its_session(kafka: RealKafka, tmp_path: Path) -> None:
    """Stopped on the way into a commit, as a machine that sleeps: another member lands it all; woken up, its commit is refused."""
    made = shared(kafka, tmp_path, "asleep", session_seconds=2.0)
    made.load.produce(400)
    with worker(made.line.file, doom=Doom(COMMIT, act=signal.SIGSTOP)) as zombie:
        zombie.until(lambda: zombie.standing_still)
        assert rows(made.table) == 0
        with Inside(made.line.file) as one:
            one.until(made.landed)
            zombie.signal(signal.SIGCONT)
            zombie.until(lambda: "conflict_met" in zombie.output)
            zombie.until(lambda: zombie.output.count("stream_gained") > 2)
            made.load.produce(400)
            one.until(made.landed)
            zombie.signal(signal.SIGTERM)
            assert zombie.ended() == 0, zombie.output[-3000:]
    assert "stream_lost" in zombie.output
    made.settle()


@pytest.mark.museum(18)
def test_r10_a_storm_of_rebalances(kafka: RealKafka, tmp_path: Path) -> None:
    """Members come and go without a pause: every one of them hears of its streams, and the load lands all the while."""
    made = shared(kafka, tmp_path, "stormy")
    gained = 0
    with Inside(made.line.file) as steady:
        for _ in range(3):
            made.load.produce(200)
            with Inside(made.line.file) as guest:
                steady.until(lambda guest=guest: guest.of(StreamGained), guest)
            gained += len(guest.of(StreamGained))
            before = rows(made.table)
            made.load.produce(200)
            steady.until(lambda before=before: rows(made.table) > before)
        steady.until(made.landed)
        assert unhurt(steady)
        assert len(steady.of(StreamGained)) + gained >= 6
        assert not steady.of(ConflictMet) or steady.of(StreamLost)
    made.settle()
