"""Brokers that end and come back, answer with errors, or hold damaged records: three scripted ones, and a real one for its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from landfast.events import Event, LaneHalted, LaneProgress, Notice, RecordsRead, StreamLost
from landfast.sources.kafka_errors import TABLE, Act
from landfast.testing import scripted_kafka
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, Truth, create_topic, produce
from landfast.testing.scripted_kafka import ScriptedKafka
from tests.faults.inside import Inside, land
from tests.faults.lines import Road, road, source, unhurt, unique
from tests.system import accountant
from tests.system.field import line

pytestmark = pytest.mark.system

GROUP = "landfast-field"
BROKERS = (1, 2, 3)


@pytest.fixture
def brokers() -> Iterator[ScriptedKafka]:
    """Three brokers, the last of which coordinates the group."""
    with ScriptedKafka(len(BROKERS)) as running:
        running.coordinate(GROUP, 3)
        yield running


def scene(brokers: ScriptedKafka, folder: Path, prefix: str, **options: str) -> Road:
    """A topic with two partitions, led by the first and the second broker, and a hundred records in each."""
    topic = unique(prefix)
    brokers.create(topic, 2)
    for partition in (0, 1):
        brokers.lead(topic, partition, partition + 1)
    made = road(folder, brokers.servers, topic, 2, settings=source(more='topic_ids = "ignored"', **options))
    made.load.produce(200)
    return made


def test_b1_the_leader_of_a_partition_is_killed(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """Another broker leads from then on: the run says that one does not answer, reads on without a gap, and the alarm is over."""
    made = scene(brokers, tmp_path, "led")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        brokers.end(1)
        brokers.lead(made.load.topic, 0, 2)
        run.until_told("BROKER_UNREACHABLE")
        made.load.produce(200)
        run.until(made.landed)
        brokers.start(1)
        run.until(lambda: not run.concerns)
        assert unhurt(run)
    made.settle()


@pytest.mark.museum(15)
def test_b3_all_brokers_are_restarted_one_by_one(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """Leaders and the coordinator move away from each broker before it goes down, under load: no lane halts, and all lands."""
    made = scene(brokers, tmp_path, "rolled")
    with Inside(made.line.file) as run:
        for broker in BROKERS:
            others = [other for other in BROKERS if other != broker]
            for partition in (0, 1):
                brokers.lead(made.load.topic, partition, others[partition])
            brokers.coordinate(GROUP, others[0])
            brokers.end(broker)
            made.load.produce(200)
            run.until(made.landed)
            brokers.start(broker)
        assert unhurt(run)
        # How much of a restart the client notices depends on its speed; what it may say of it are these.
        assert run.codes <= {"BROKER_UNREACHABLE", "KAFKA_CLIENT", "GROUP_COMMIT_FAILED", "SOURCE_DOWN"}
    made.settle()


def test_b5_the_coordinator_is_killed_while_offsets_are_written(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """The group's offsets may stay behind, and never run ahead of the table; landing goes on and the operator hears of it."""
    made = scene(brokers, tmp_path, "coordinated")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        brokers.answer(scripted_kafka.OFFSET_COMMIT, [16, 14, 30])
        made.load.produce(200)
        run.until_told("GROUP_COMMIT_FAILED")
        brokers.end(3)
        made.load.produce(200)
        run.until_told("BROKER_UNREACHABLE")
        brokers.coordinate(GROUP, 1)
        made.load.produce(200)
        run.until(made.landed)
        assert unhurt(run)
    made.settle()
    client = Consumer({"bootstrap.servers": brokers.servers, "group.id": GROUP, "log_level": 0})
    try:
        told = client.committed([TopicPartition(made.load.topic, partition) for partition in (0, 1)], timeout=30)
    finally:
        client.close()
    assert all(place.offset <= made.load.counts[place.partition] for place in told)


# What a healthy group meets in bad hours, by kind of request.
ANSWERS = {
    scripted_kafka.FETCH: [5, 6, 7, 9, 13, 56, 70, 71, 74, 75],
    scripted_kafka.OFFSET_COMMIT: [7, 14, 15, 16],
    scripted_kafka.HEARTBEAT: [15, 16, 22, 25, 27],
}


def test_b14_every_answer_that_is_to_be_waited_out(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """Codes that our table waits out are answered once each, to a fetch, a heartbeat and a commit: nothing halts, and all lands."""
    assert {TABLE[code].act for codes in ANSWERS.values() for code in codes} == {Act.RETRY}
    quick = {"fetch.error.backoff.ms": "10", "retry.backoff.ms": "10", "retry.backoff.max.ms": "20", "heartbeat.interval.ms": "200"}
    made = scene(brokers, tmp_path, "answered", **quick)
    with Inside(made.line.file) as run:
        run.until(made.landed)
        for request, codes in ANSWERS.items():
            brokers.answer(request, codes)
            made.load.produce(200)
            run.until(made.landed)
        assert unhurt(run)
        run.until(lambda: not run.concerns)
    made.settle()


@pytest.mark.parametrize(("code", "ours"), [(29, "SOURCE_AUTH"), (2, "BATCH_CORRUPT"), (35, "SOURCE_FATAL")])
def test_b14_an_answer_that_ends_reading_has_a_code(brokers: ScriptedKafka, tmp_path: Path, code: int, ours: str) -> None:
    """What cannot be waited out halts the lanes or ends the run, under a code of ours; the next run lands the rest."""
    made = scene(brokers, tmp_path, "refused", **{"fetch.error.backoff.ms": "10"})
    with Inside(made.line.file) as run:
        run.until(made.landed)
        brokers.answer(scripted_kafka.FETCH, [code] * 8)
        made.load.produce(200)
        report = run.ended()
    brokers.answer_well(scripted_kafka.FETCH)
    assert ours in {halt.code for halt in report.halts.values()} | ({report.error.code} if report.error else set())
    land(made.line.file)
    made.settle()


class Raising(Inside):
    """An observer that raises where it hears of a code."""

    def notice(self, event: Event) -> None:
        """Remember it, and raise."""
        super().notice(event)
        if isinstance(event, Notice) and event.code == "GROUP_COMMIT_FAILED":
            raise ZeroDivisionError


def test_p15_an_observer_that_raises_while_the_client_speaks(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """The client calls us from its own depths, and what is raised there must not stay there: the run ends with the code of a defect."""
    made = scene(brokers, tmp_path, "overheard")
    with Raising(made.line.file) as run:
        run.until(made.landed)
        brokers.answer(scripted_kafka.OFFSET_COMMIT, [30] * 4)
        made.load.produce(200)
        report = run.ended()
    assert report.error is not None
    assert report.error.code == "UNEXPECTED"
    brokers.answer_well(scripted_kafka.OFFSET_COMMIT)
    land(made.line.file)
    made.settle()


def test_b13_a_producer_that_sends_everything_twice(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """Two offsets are two records: each of them lands once, under its own offset, and the account counts both."""
    made = scene(brokers, tmp_path, "repeated")
    truth = Truth()
    values = [line(made.load.topic, 0, number) for number in range(100)]
    produce(brokers.servers, [Record(made.load.topic, value, 0) for value in (*values, *values)], truth=truth)
    assert land(made.line.file).totals.written == 198 + 200
    with made.load.truth.open("a") as known:
        known.writelines(record.line() + "\n" for record in truth.records)
    made.settle()


def test_r13_one_slow_partition(brokers: ScriptedKafka, tmp_path: Path) -> None:
    """The leader of one partition answers late: the other one's records land meanwhile, and the member keeps both."""
    made = scene(brokers, tmp_path, "slow")
    with Inside(made.line.file) as run:
        run.until(made.landed)
        before = len(run.of(RecordsRead))
        brokers.slow(1, 1.5)
        made.load.produce(200, partition=1)
        made.load.produce(200, partition=0)
        run.until(made.landed)
        came = [event.stream.partition for event in run.of(RecordsRead)[before:]]
        assert came.index(1) < came.index(0)
        brokers.slow(1, 0.0)
        assert not run.of(StreamLost)
        run.until(lambda: run.of(LaneProgress))
    made.settle()


@pytest.mark.long
def test_b17_a_quota_of_the_broker(kafka: RealKafka, tmp_path: Path) -> None:
    """The broker holds its answers back: records come slowly, the operator hears why, nothing is given up, and all lands."""
    topic = unique("throttled")
    create_topic(kafka.servers, topic, 1)
    kafka.throttle(topic, 20_000)
    made = road(tmp_path, kafka.servers, topic, 1, settings=source(**{"client.id": topic, "fetch.message.max.bytes": "50000"}))
    # More than the quota of the ten seconds over which the broker takes it.
    for _ in range(8):
        made.load.produce(200)
    with Inside(made.line.file) as run:
        run.until_told("SOURCE_THROTTLED")
        run.until(made.landed)
        assert unhurt(run)
        assert not run.of(StreamLost)
        assert not run.concerns
    made.settle()


def test_b15_a_batch_that_is_damaged_in_the_log(kafka: RealKafka, tmp_path: Path) -> None:
    """A byte of the broker's own file is turned: what was read before it lands, then the lane halts there; the other one lands whole."""
    topic = unique("damaged")
    create_topic(kafka.servers, topic, 2)
    made = road(tmp_path, kafka.servers, topic, 2)
    for _ in range(3):
        made.load.produce(200)
    segment = kafka.folder / "data" / f"{topic}-0" / "00000000000000000000.log"
    content = bytearray(segment.read_bytes())
    begin = 0
    while int.from_bytes(content[begin : begin + 8]) < 100:
        begin += 12 + int.from_bytes(content[begin + 8 : begin + 12])
    content[begin + 12 + int.from_bytes(content[begin + 8 : begin + 12]) - 20] ^= 0xFF
    segment.write_bytes(content)
    with Inside(made.line.file, until_end=True) as run:
        report = run.ended()
    assert str(report.outcome) == "halted", report
    (halted,) = run.of(LaneHalted)
    assert (halted.stream.partition, halted.halt.code, halted.position) == (0, "BATCH_CORRUPT", 100)
    known = [json.loads(text) for text in made.load.truth.read_text().splitlines()]
    landed = [record for record in known if record["partition"] == 1 or record["offset"] < 100]
    assert len(landed) == 400
    made.load.truth.write_text("".join(f"{json.dumps(record)}\n" for record in landed))
    assert accountant.settle(made.load.truth, made.table).records == 400
