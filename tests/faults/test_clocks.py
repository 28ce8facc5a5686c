"""Clocks that jump, stand in another century, or differ between members: nothing that matters asks the time of day."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.events import BatchLanded, StreamGained
from landfast.system import SystemClock
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_properties import BEARER_SCOPE
from landfast.testing.kafka_records import Record, Truth, create_topic, produce
from tests.faults.doomed import worker
from tests.faults.inside import Inside, land
from tests.faults.lines import Road, road, source, unhurt, unique
from tests.sources.kafka_rights import grant, token
from tests.sources.kafka_world import member, settings
from tests.system.field import line, rows

pytestmark = pytest.mark.system

DAY = 86_400.0
FOREVER = {"message.timestamp.after.max.ms": str(2**63 - 1), "message.timestamp.before.max.ms": str(2**63 - 1)}


class SkewedClock(SystemClock):
    """The machine's clock, whose time of day is wrong by so many seconds."""

    def __init__(self, skew_seconds: float = 0.0) -> None:
        self.skew_seconds = skew_seconds

    def now(self) -> float:
        """Seconds since the epoch, wrong."""
        return super().now() + self.skew_seconds


def begun(kafka: RealKafka, folder: Path, prefix: str, partitions: int = 1) -> Road:
    """A topic with a hundred records in each partition."""
    topic = unique(prefix)
    create_topic(kafka.servers, topic, partitions, FOREVER)
    made = road(folder, kafka.servers, topic, partitions, settings=source(**{"heartbeat.interval.ms": "300"}))
    made.load.produce(100 * partitions)
    return made


def test_c1_the_clock_jumps_a_day(kafka: RealKafka, tmp_path: Path) -> None:
    """Ahead and back while records come: batches land as before, no timer stands still, and there is no storm of flushes."""
    made, clock = begun(kafka, tmp_path, "jumping"), SkewedClock()
    with Inside(made.line.file, clock=clock) as run:
        run.until(made.landed)
        for skew in (DAY, -DAY, 0.0):
            clock.skew_seconds = skew
            before = len(run.of(BatchLanded))
            made.load.produce(100)
            run.until(made.landed)
            assert len(run.of(BatchLanded)) - before <= 5
        assert unhurt(run)
        assert not run.concerns
    made.settle()


@pytest.mark.parametrize("year", [1901, 2039, 2263])
def test_c2_the_clock_stands_in_another_century(kafka: RealKafka, tmp_path: Path, year: int) -> None:
    """Before 1970, after 2038, behind the last nanosecond that 64 bits hold: nothing crashes, all lands, and the proof holds."""
    skew = datetime(year, 7, 1, tzinfo=UTC).timestamp() - datetime.now(UTC).timestamp()
    made = begun(kafka, tmp_path, f"year-{year}")
    with Inside(made.line.file, until_end=True, clock=SkewedClock(skew)) as run:
        assert str(run.ended().outcome) == "finished"
    # A group may take more than the five seconds after which it is named.
    assert run.codes <= {"KAFKA_CLIENT", "GROUP_WAITING"}
    made.load.produce(100)
    land(made.line.file)
    made.settle()


def test_c3_the_time_zone_of_the_process(kafka: RealKafka, tmp_path: Path) -> None:
    """Times come from the records, in UTC: workers in zones with half hours and summer times land the same ones."""
    made = begun(kafka, tmp_path, "zoned")
    for zone in ("America/St_Johns", "Pacific/Chatham"):
        with worker(made.line.file, "--until-end", zone=zone) as one:
            assert one.ended() == 0, one.output[-3000:]
        made.load.produce(100)
    land(made.line.file)
    times = DeltaTable(made.table).to_pyarrow_table(columns=["n", "ts"]).to_pylist()
    assert len(times) == made.good
    assert all(row["ts"] == datetime(2026, 1, 2, 3, 4, 5, row["n"], tzinfo=UTC) for row in times)
    made.settle()


def test_c4_the_clocks_of_two_members_are_minutes_apart(kafka: RealKafka, tmp_path: Path) -> None:
    """They share the partitions and hand them over; who owns what is decided without a clock."""
    made = begun(kafka, tmp_path, "skewed", 2)
    with Inside(made.line.file, clock=SkewedClock(600.0)) as ahead:
        ahead.until(made.landed)
        with Inside(made.line.file, clock=SkewedClock(-600.0)) as behind:
            ahead.until(lambda: behind.of(StreamGained), behind)
            made.load.produce(200)
            ahead.until(made.landed, behind)
            assert unhurt(behind)
        made.load.produce(200)
        ahead.until(made.landed)
        assert unhurt(ahead)
    made.settle()


def test_c6_tokens_that_end_while_records_are_read(kafka: RealKafka) -> None:
    """The broker ends connections whose token is over: new ones are shown again and again, and every record arrives once."""
    topic, user = unique("tokens"), "renewing"
    create_topic(kafka.servers, topic)
    shown = token(BEARER_SCOPE, user)
    shown["sasl.oauthbearer.config"] += " lifeSeconds=4"
    chosen = settings(kafka.sasl_servers, topic, options=shown)
    grant(kafka.servers, "TOPIC", topic, "READ", user=user)
    grant(kafka.servers, "GROUP", chosen.group, "READ", user=user)
    reader = member(chosen)
    for number in range(1, 3):
        produce(kafka.servers, [Record(topic, b"x", 0) for _ in range(10)])
        reader.until(lambda number=number: reader.end() == 10 * number)
        over = time.monotonic() + 4.0
        reader.until(lambda over=over: time.monotonic() > over)
    assert reader.offsets() == list(range(20))
    # Where the client and the broker disagree about a renewal the operator hears of it; that reading goes on ends the alarm.
    assert reader.noted.codes() <= {"BROKER_UNREACHABLE", "KAFKA_CLIENT", "SOURCE_AUTH"}
    assert reader.halted == {}
    reader.source.close()


def test_c7_records_from_other_times(kafka: RealKafka, tmp_path: Path) -> None:
    """Record times of 1970, of the year 9999 and of none at all land as they are, beside those of today, and delay nothing."""
    made = begun(kafka, tmp_path, "outliers")
    moments = (1, 253_402_300_799_000, -1)
    truth = Truth()
    records = [Record(made.load.topic, line(made.load.topic, 0, 100 + at), 0, timestamp=moment) for at, moment in enumerate(moments)]
    produce(kafka.servers, records, truth=truth)
    with Inside(made.line.file) as run:
        run.until(lambda: rows(made.table) == 99 + len(moments))
        assert not run.concerns
    with made.load.truth.open("a") as known:
        known.writelines(record.line() + "\n" for record in truth.records)
    landed = DeltaTable(made.table).to_pyarrow_table(columns=["_offset", "_timestamp"]).sort_by("_offset").column("_timestamp").to_pylist()
    assert landed[-3:] == [
        datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        None,
    ]
    made.settle()


def test_c8_an_idle_worker(kafka: RealKafka, tmp_path: Path) -> None:
    """A worker that has landed all waits for more: it takes less than a twentieth of a processor, and is there at once."""
    made = begun(kafka, tmp_path, "idle")
    with worker(made.line.file) as one:
        one.until(made.landed)
        before = one.processor_seconds
        # The passing of real time is what is looked at, not a way to wait for something.
        threading.Event().wait(3.0)
        assert one.processor_seconds - before < 3.0 * 0.05
        made.load.produce(100)
        one.until(made.landed)
    made.settle()
