"""Members of a group: they share, hold back, come back, and are told when they must not be there."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from landfast.errors import Broken
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from tests.sources.kafka_world import Engine, Member, member, refusal, settings, unique
from tests.system.accountant import settle
from tests.system.field import Load, pipeline, rows, until

pytestmark = pytest.mark.system
both = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def topic_of(servers: str, partitions: int, records: int) -> str:
    """A topic with this many records in all."""
    topic = unique()
    create_topic(servers, topic, partitions)
    produce(servers, (Record(topic, b"%d" % number, number % partitions) for number in range(records)))
    return topic


@both
def test_holding_everything_keeps_the_membership(protocol: str, kafka: RealKafka) -> None:
    """A member that holds every stream for longer than session and poll interval keeps them, and then reads on without a gap."""
    topic = topic_of(kafka.servers, 2, 100)
    reader = member(settings(kafka.servers, topic, protocol=protocol, session_seconds=3.0, poll_interval_seconds_max=5.0))
    reader.until(lambda: len(reader.reached) == 2)
    reader.hold = set(reader.engine.owned)
    reader.poll()
    produce(kafka.servers, (Record(topic, b"later", number % 2) for number in range(100)))
    before, epochs = len(reader.chunks), dict(reader.engine.owned)
    until = time.monotonic() + 6.0
    reader.until(lambda: time.monotonic() > until)
    assert len(reader.chunks) == before
    reader.hold = set()
    reader.until(lambda: reader.end(0) == reader.end(1) == 100)
    assert reader.engine.owned == epochs
    assert reader.offsets(0) == reader.offsets(1) == list(range(100))
    reader.source.close()


@both
def test_what_goes_is_confirmed_first(protocol: str, kafka: RealKafka) -> None:
    """Giving streams up, the source checks what was read after the last read, so that the engine can still land all of it."""
    topic = topic_of(kafka.servers, 2, 100)
    chosen = settings(kafka.servers, topic, protocol=protocol, confirm_seconds=3600.0)
    reader = member(chosen)
    reader.until(lambda: len(reader.reached) == 2)
    produce(kafka.servers, (Record(topic, b"more", number % 2) for number in range(100)))
    reader.until(lambda: reader.end(0) == reader.end(1) == 100)
    assert not any(position == 100 for position in reader.confirmed.values())
    streams = set(reader.engine.owned)
    reader.source.close()
    assert {stream: reader.engine.lost_with[stream] for stream in streams} == {
        stream: (5.0, dict.fromkeys(streams, 100)) for stream in streams
    }


def test_p17_a_member_that_was_away_too_long_is_told_that_its_streams_are_gone(kafka: RealKafka) -> None:
    """Not polling past the poll interval costs the streams: the next poll says so with a deadline of 0, and they come back afresh."""
    topic = topic_of(kafka.servers, 1, 10)
    chosen = settings(kafka.servers, topic, session_seconds=1.5, poll_interval_seconds_max=2.0)
    reader = member(chosen)
    reader.until(lambda: reader.end() == 10)
    stream, epoch = reader.stream(), reader.engine.owned[reader.stream()]
    other = member(chosen)
    other.until(lambda: stream in other.engine.owned)
    reader.until(lambda: stream in reader.engine.lost_with)
    assert reader.engine.lost_with[stream][0] == 0.0
    other.source.close()
    reader.until(lambda: reader.engine.owned.get(stream, epoch) > epoch)
    reader.source.close()


@both
def test_r12_a_static_member_comes_back_to_its_streams(protocol: str, kafka: RealKafka) -> None:
    """A member with an instance id that went without a word and comes back gets its own streams, from the sink's position."""
    topic = topic_of(kafka.servers, 2, 100)
    chosen = settings(kafka.servers, topic, protocol=protocol, instance_id="worker-1")
    before = kafka.rebalances
    first = member(chosen)
    first.until(lambda: len(first.reached) == 2)
    assert kafka.rebalances > before, "what the test run says of rebalances is read from the broker's log"
    owned = set(first.engine.owned)
    first.source.close()
    again = member(chosen, Engine(dict.fromkeys(owned, 40)))
    again.until(lambda: len(again.reached) == 2)
    assert set(again.engine.owned) == owned
    assert again.offsets(0) == list(range(40, 50))
    again.source.close()


@both
def test_two_living_members_of_one_instance_id_do_not_both_go_on(protocol: str, kafka: RealKafka) -> None:
    """One of them ends with SOURCE_FATAL, which says where to look; the other reads on."""
    topic = topic_of(kafka.servers, 1, 100)
    chosen = settings(kafka.servers, topic, protocol=protocol, instance_id="worker-1", instance_seconds_max=2.5)
    members = [member(chosen)]
    members[0].until(lambda: members[0].end() == 100)
    members.append(member(chosen))
    loser, error = _first_to_fail(members)
    assert (type(error), error.code) == (Broken, "SOURCE_FATAL")
    assert "another living member with the same instance_id" in error.next_step
    other = members[1 - members.index(loser)]
    other.until(lambda: other.end() == 100)
    other.source.close()


def test_a_static_member_that_stood_still_is_not_ended_by_its_own_name(kafka: RealKafka) -> None:
    """Who stood still beyond its session may find its name with another member, once: it lets everything go, joins anew and reads on."""
    topic = topic_of(kafka.servers, 1, 100)
    chosen = settings(kafka.servers, topic, instance_id="worker-1", session_seconds=1.5)
    reader = member(chosen)
    reader.until(lambda: reader.end() == 100)
    stream, epoch = reader.stream(), reader.engine.owned[reader.stream()]
    double = member(chosen)
    long_away = time.monotonic() + 1.5 * chosen.session_seconds
    double.until(lambda: stream in double.engine.owned and time.monotonic() > long_away)
    double.source.close()
    reader.until(lambda: reader.engine.owned.get(stream, epoch) > epoch)
    assert reader.engine.lost_with[stream][0] == 0.0
    assert "GROUP_REJOINED" in reader.noted.codes()
    produce(kafka.servers, [Record(topic, b"later", 0)])
    reader.until(lambda: reader.end() == 101)
    taker = member(chosen)
    with pytest.raises(Broken, match="the Kafka client cannot go on"):
        reader.until(lambda: False, taker)
    taker.source.close()


def test_r12_a_killed_static_member_comes_back_within_its_session(kafka: RealKafka, tmp_path: Path) -> None:
    """The newer protocol holds a dead worker's name until its session ends: the next one says so, asks again, and goes on."""
    topic = unique()
    create_topic(kafka.servers, topic, 1)
    load = Load(kafka.servers, topic, 1, tmp_path / "truth.jsonl")
    chosen = 'protocol = "consumer"\ninstance_id = "worker-1"'
    line = pipeline(tmp_path, kafka.servers, topic, "[batch]\nseconds = 0.2\n", source=chosen)
    load.produce(200)
    with line.worker() as first:
        until(lambda: rows(line.table) > 0, [first])
    load.produce(200)
    with line.worker() as second:
        until(lambda: "GROUP_WAITING" in second.output, [second])
        until(lambda: rows(line.table) == 396, [second])
        assert "SOURCE_FATAL" not in second.output
        assert "KAFKA_CLIENT" not in second.output
        second.signal(signal.SIGTERM)
        assert second.end() == 0
    settle(load.truth, line.table)


def test_who_waits_for_a_name_can_leave(kafka: RealKafka) -> None:
    """Closing a source whose name the group still holds ends at once and takes nothing from the owner."""
    topic = topic_of(kafka.servers, 1, 10)
    chosen = settings(kafka.servers, topic, protocol="consumer", instance_id="worker-1")
    owner = member(chosen)
    owner.until(lambda: owner.end() == 10)
    late = member(chosen)
    late.until(lambda: "GROUP_WAITING" in late.noted.codes(), owner)
    late.source.close()
    produce(kafka.servers, [Record(topic, b"more", 0)])
    owner.until(lambda: owner.end() == 11)
    owner.source.close()


def _first_to_fail(members: list[Member]) -> tuple[Member, Broken]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for one in members:
            try:
                one.poll()
            except Broken as error:
                return one, error
    raise AssertionError("nobody failed")


def test_a_hot_partition_does_not_starve_a_quiet_one(kafka: RealKafka) -> None:
    """Behind a slow engine, a quiet record waits for no more than the local queue: far less than the hot partition's backlog."""
    topic = unique()
    create_topic(kafka.servers, topic, 2)
    backlog = 200_000
    produce(kafka.servers, (Record(topic, b"h" * 200, 0) for _ in range(backlog)))
    reader = member(settings(kafka.servers, topic))
    reader.limit = 500
    reader.until(lambda: len(reader.offsets(0)) >= 5000)
    before = len(reader.offsets(0))
    produce(kafka.servers, [Record(topic, b"quiet", 1)])
    reader.until(lambda: reader.offsets(1))
    waited_records = len(reader.offsets(0)) - before
    assert waited_records < 40_000, waited_records
    reader.source.close()


def test_a_closed_member_is_replaced_at_once_and_polls_no_more(kafka: RealKafka) -> None:
    """Closing leaves the group, so that the next member need not wait for a session to end."""
    topic = topic_of(kafka.servers, 1, 10)
    chosen = settings(kafka.servers, topic)
    first = member(chosen)
    first.until(lambda: first.end() == 10)
    first.source.close()
    assert refusal(first.poll).code == "SOURCE_DOWN"
    second = member(chosen)
    second.until(lambda: second.end() == 10, wait_seconds_max=40)
    second.source.close()
