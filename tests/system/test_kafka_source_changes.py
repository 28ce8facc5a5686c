"""What happens to the log under a reader: retention, truncation, topics deleted, created again, grown, made anew."""

from __future__ import annotations

import pytest

from landfast.events import Notice
from landfast.model import Stream
from landfast.sources.kafka_losses import AcceptedLosses
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, add_partitions, create_topic, delete_records, delete_topic, produce
from tests.sources.kafka_world import Engine, Member, member, settings, unique

pytestmark = [pytest.mark.system, pytest.mark.parametrize("protocol", ["classic", "consumer"])]


def at_end(servers: str, records: int, **changes: object) -> tuple[str, Member]:
    """A topic with records in its one partition, and a reader that has read and confirmed them."""
    topic = unique()
    create_topic(servers, topic)
    produce(servers, (Record(topic, b"%d" % number, 0) for number in range(records)))
    reader = member(settings(servers, topic, **changes))
    reader.until(lambda: set(reader.confirmed.values()) == {records})
    return topic, reader


def test_retention_that_passes_a_held_stream_halts_it_with_the_range(protocol: str, kafka: RealKafka) -> None:
    """Records that go while nobody reads them are named exactly, and nothing behind them is read."""
    topic, reader = at_end(kafka.servers, 10, protocol=protocol, hold_seconds_max=0.0)
    stream = reader.stream()
    reader.hold = {stream}
    reader.poll()  # Paused at once: nothing is fetched any more.
    produce(kafka.servers, (Record(topic, b"new", 0) for _ in range(20)))
    delete_records(kafka.servers, topic, 0, 25)
    reader.hold = set()
    reader.until(lambda: reader.halted)
    assert reader.halted[stream].code == "DATA_EXPIRED"
    assert "offsets 10 to 24" in reader.halted[stream].message
    assert "begins at 25" in reader.halted[stream].message
    assert reader.offsets() == list(range(10))
    reader.source.close()


def test_a_position_below_the_first_offset_names_the_range_and_the_others_go_on(protocol: str, kafka: RealKafka) -> None:
    """At an assignment, an expired stream halts alone."""
    topic = unique()
    incarnation = create_topic(kafka.servers, topic, 2)
    produce(kafka.servers, (Record(topic, b"x", number % 2) for number in range(40)))
    delete_records(kafka.servers, topic, 0, 15)
    streams = [Stream(topic, incarnation, partition) for partition in (0, 1)]
    reader = member(settings(kafka.servers, topic, protocol=protocol), Engine({streams[0]: 7, streams[1]: 5}))
    reader.until(lambda: reader.halted and reader.end(1) == 20)
    assert reader.halted[streams[0]].code == "DATA_EXPIRED"
    assert "offsets 7 to 14" in reader.halted[streams[0]].message
    assert reader.offsets(0) == []
    assert reader.offsets(1) == list(range(5, 20))
    reader.source.close()


def test_an_accepted_loss_is_passed_over_as_a_gap_and_nothing_that_is_left(protocol: str, kafka: RealKafka) -> None:
    """The first chunk starts at the engine's position and brings what the log still has, though the settings accept more as gone."""
    topic = unique()
    incarnation = create_topic(kafka.servers, topic, 2)
    produce(kafka.servers, (Record(topic, b"x", number % 2) for number in range(40)))
    streams = [Stream(topic, incarnation, partition) for partition in (0, 1)]
    for stream, first in zip(streams, (15, 20), strict=True):
        delete_records(kafka.servers, topic, stream.partition, first)
    accepted = AcceptedLosses({streams[0]: 18, Stream(topic, "", 1): 20})
    chosen = settings(kafka.servers, topic, protocol=protocol, accept_expired=accepted, hold_seconds_max=0.0)
    reader = member(chosen, Engine(dict.fromkeys(streams, 7)))
    reader.hold = set(streams)
    reader.until(lambda: len(reader.engine.owned) == 2)
    reader.poll()  # Paused before anything came: what is let go begins behind the gap, too.
    reader.hold = set()
    reader.until(lambda: reader.end(0) == 20 and reader.end(1) == 20)
    assert (reader.offsets(0), reader.offsets(1)) == (list(range(15, 20)), [])
    began = {chunk.stream.partition: chunk.start for chunk in reversed(reader.chunks)}
    assert began == {0: 7, 1: 7}
    assert reader.tiles()
    assert reader.halted == {}
    said = [event.message for event in reader.noted.events if isinstance(event, Notice) and event.code == "EXPIRED_ACCEPTED"]
    assert {message.split(" are gone")[0] for message in said} == {f"offsets 7 to 14 of {streams[0]}", f"offsets 7 to 19 of {streams[1]}"}
    reader.until(lambda: reader.confirmed == dict.fromkeys(streams, 20))
    reader.source.close()


def test_what_went_after_the_loss_was_accepted_halts_again(protocol: str, kafka: RealKafka) -> None:
    """The acceptance ends at its offset: with one record more gone the stream halts, and names the line that would hold now."""
    topic = unique()
    incarnation = create_topic(kafka.servers, topic)
    produce(kafka.servers, (Record(topic, b"x", 0) for _ in range(20)))
    delete_records(kafka.servers, topic, 0, 16)
    stream = Stream(topic, incarnation, 0)
    losses = AcceptedLosses({stream: 15})
    reader = member(settings(kafka.servers, topic, protocol=protocol, accept_expired=losses), Engine({stream: 7}))
    reader.until(lambda: reader.halted)
    assert reader.halted[stream].code == "DATA_EXPIRED"
    assert f'"{topic}[0]@{incarnation}" = 16' in reader.halted[stream].next_step
    assert reader.chunks == []
    reader.source.close()


def test_b6_b18_a_position_above_the_end_is_a_truncated_log(protocol: str, kafka: RealKafka) -> None:
    """Offsets that were given to other records are never read as new: the stream halts before the first record."""
    topic = unique()
    incarnation = create_topic(kafka.servers, topic)
    produce(kafka.servers, (Record(topic, b"x", 0) for _ in range(10)))
    stream = Stream(topic, incarnation, 0)
    reader = member(settings(kafka.servers, topic, protocol=protocol), Engine({stream: 11}))
    reader.until(lambda: reader.halted)
    assert reader.halted[stream].code == "LOG_TRUNCATED"
    assert "ends at 10" in reader.halted[stream].message
    produce(kafka.servers, (Record(topic, b"x", 0) for _ in range(10)))
    reader.poll()
    assert reader.chunks == []
    reader.source.close()


def test_nothing_of_a_topic_created_again_is_confirmed(protocol: str, kafka: RealKafka) -> None:
    """A new topic of the same name, longer than the position, would be read on silently: it halts the stream, unconfirmed."""
    topic, reader = at_end(kafka.servers, 50, protocol=protocol)
    old = reader.stream()
    delete_topic(kafka.servers, topic)
    incarnation = create_topic(kafka.servers, topic)
    produce(kafka.servers, (Record(topic, b"other", 0) for _ in range(500)))
    reader.until(lambda: old in reader.halted)
    assert reader.halted[old].code in {"TOPIC_REPLACED", "TOPIC_GONE"}
    assert reader.confirmed[old] == 50
    new = Stream(topic, incarnation, 0)
    reader.until(lambda: reader.confirmed.get(new) == 500 or new not in reader.engine.owned)
    assert all(position <= 500 for position in reader.confirmed.values())
    reader.source.close()


def test_records_read_from_a_new_topic_under_the_old_name_stay_unconfirmed(protocol: str, kafka: RealKafka) -> None:
    """The same with a reader that stands still while the topic is replaced, so that the driver itself notices nothing."""
    topic, reader = at_end(kafka.servers, 50, protocol=protocol, options={"topic.metadata.refresh.interval.ms": "300000"})
    old = reader.stream()
    delete_topic(kafka.servers, topic)
    create_topic(kafka.servers, topic)
    produce(kafka.servers, (Record(topic, b"other", 0) for _ in range(500)))
    reader.until(lambda: old in reader.halted)
    assert reader.halted[old].code in {"TOPIC_REPLACED", "TOPIC_GONE"}
    assert reader.confirmed[old] == 50
    reader.source.close()


def test_an_empty_topic_created_again_is_no_truncated_log(protocol: str, kafka: RealKafka) -> None:
    """Its end lies below the position, but it is another topic: the halt says so, while reading and at an assignment alike."""
    topic, reader = at_end(kafka.servers, 50, protocol=protocol)
    old = reader.stream()
    delete_topic(kafka.servers, topic)
    create_topic(kafka.servers, topic)
    reader.source.rewind({old: reader.engine.next(old, 50)})
    reader.until(lambda: old in reader.halted)
    assert reader.halted[old].code in {"TOPIC_REPLACED", "TOPIC_GONE"}
    reader.source.close()


def test_b8_a_deleted_topic_halts_its_streams(protocol: str, kafka: RealKafka) -> None:
    """The group takes the partitions of a deleted topic away without a word; the streams halt all the same, with a code."""
    topic, reader = at_end(kafka.servers, 10, protocol=protocol)
    stream = reader.stream()
    delete_topic(kafka.servers, topic)
    reader.until(lambda: reader.halted)
    assert reader.halted[stream].code == "TOPIC_GONE"
    assert reader.source.bounds([stream]) == {}
    reader.source.close()


def test_b10_partitions_that_are_added_are_read_from_their_first_record(protocol: str, kafka: RealKafka) -> None:
    """New partitions arrive by themselves and nothing in them is skipped; the old ones go on."""
    topic, reader = at_end(kafka.servers, 10, protocol=protocol)
    add_partitions(kafka.servers, topic, 3)
    produce(kafka.servers, (Record(topic, b"new", number % 3) for number in range(30)))
    reader.until(lambda: len(reader.engine.owned) == 3 and reader.end(0) == 20 and reader.end(1) == 10 and reader.end(2) == 10)
    assert reader.offsets(0) == list(range(20))
    assert reader.offsets(1) == reader.offsets(2) == list(range(10))
    assert reader.tiles()
    reader.source.close()


def test_what_appears_while_running_is_read_from_its_first_record_though_the_start_is_latest(protocol: str, kafka: RealKafka) -> None:
    """Everything in a partition or topic that is made after the start was written after the start."""
    prefix = unique("appears")
    create_topic(kafka.servers, f"{prefix}.one")
    produce(kafka.servers, [Record(f"{prefix}.one", b"old", 0)])
    reader = member(settings(kafka.servers, protocol=protocol, topic_pattern=rf"^{prefix}\..*", start="latest"))
    reader.until(lambda: len(reader.engine.owned) == 1 and reader.end(0) == 1)
    create_topic(kafka.servers, f"{prefix}.two")
    add_partitions(kafka.servers, f"{prefix}.one", 2)
    produce(kafka.servers, [Record(f"{prefix}.one", b"new", 1), Record(f"{prefix}.two", b"new", 0)])
    reader.until(lambda: sum(map(len, reader.chunks)) == 2)
    assert {value for chunk in reader.chunks for value in chunk.values} == {b"new"}
    assert "READ_FROM_FIRST" not in reader.noted.codes()  # All of it is certainly new.
    reader.source.close()


def test_topics_that_come_to_match_the_pattern_are_read(protocol: str, kafka: RealKafka) -> None:
    """A pattern is searched for in topic names, also in those that are made later; internal topics never match."""
    prefix = unique("pattern")
    create_topic(kafka.servers, f"{prefix}.one")
    create_topic(kafka.servers, f"other.{prefix}.no")
    produce(kafka.servers, [Record(f"{prefix}.one", b"1", 0)])
    reader = member(settings(kafka.servers, protocol=protocol, topic_pattern=rf"^{prefix}\..*"))
    reader.until(lambda: reader.offsets() == [0])
    create_topic(kafka.servers, f"{prefix}.two")
    produce(kafka.servers, [Record(f"{prefix}.two", b"2", 0)])
    reader.until(lambda: {chunk.stream.topic for chunk in reader.chunks} == {f"{prefix}.one", f"{prefix}.two"})
    assert {stream.topic for stream in reader.source.bounds()} == {f"{prefix}.one", f"{prefix}.two"}
    assert reader.tiles()
    reader.source.close()
