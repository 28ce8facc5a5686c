"""What happens to a log and a disk in the field, on real parts: each fault with its code, and nothing lost or doubled around it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from landfast.sinks.delta.log.spans import read_spans
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import (
    Acknowledged,
    Record,
    Truth,
    create_topic,
    delete_records,
    delete_topic,
    produce,
    produce_transactions,
)
from tests.system import accountant
from tests.system.field import Load, Pipeline, bad_line, line, pipeline, rows, until

pytestmark = pytest.mark.system

BATCH = "[batch]\nrows = 5000\nseconds = 0.5\n"
HALTED = 3


@pytest.mark.museum(17)
def test_b12_aborted_transactions_never_land(kafka: RealKafka, tmp_path: Path) -> None:
    """Committed transactions land once, aborted ones never, and a bounded run ends behind the markers at the tail."""
    create_topic(kafka.servers, "transacted", 2)
    made = pipeline(tmp_path, kafka.servers, "transacted", BATCH)
    truth = Truth()
    transactions = [
        (
            number % 3 != 0,
            [Record("transacted", line("transacted", lane, number * 100 + n), partition=lane) for lane in (0, 1) for n in range(50)],
        )
        for number in range(30)
    ]
    produce_transactions(kafka.servers, [*transactions, (False, transactions[0][1])], truth=truth)
    truth.write(tmp_path / "truth.jsonl")
    made.land()
    found = accountant.settle(tmp_path / "truth.jsonl", made.table)
    assert found.rows == 20 * 100
    made.verified("--source")


def test_b11_a_compacted_topic_lands_what_survives(kafka: RealKafka, tmp_path: Path) -> None:
    """Offsets that compaction took are gaps, not losses; tombstones are skipped, with that reason, in the equation.

    Compaction goes on while the records land. A log only shrinks, so whatever was read was there before, and whatever is there
    afterwards could be read: the rest may have landed or not.
    """
    config = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "100"}
    create_topic(kafka.servers, "compacted", 1, config)
    made = pipeline(tmp_path, kafka.servers, "compacted", BATCH)
    records = [Record("compacted", line("compacted", 0, number), 0, key=b"%d" % (number % 50)) for number in range(30_000)]
    produce(kafka.servers, [*records, *(Record("compacted", None, 0, key=b"%d" % number, fate="skip") for number in range(10))])
    before = compacted(kafka.servers, below=20_000)
    landed = made.landfast("run", "--until-end", "--json")
    assert landed.returncode == 0, landed.stdout + landed.stderr
    after = survivors_of(kafka.servers)
    left = {record.offset for record in after}
    assert left <= {record.offset for record in before}
    truth = Truth([record if record.offset in left or record.fate == "skip" else replace(record, fate="any") for record in before])
    truth.write(tmp_path / "truth.jsonl")
    found = accountant.settle(tmp_path / "truth.jsonl", made.table)
    totals = json.loads(landed.stdout)["totals"]
    assert (totals["written"], totals["dead"], found.dead) == (found.rows, 0, 0)
    assert 0 < tombstones(after) <= totals["skipped"]["tombstone"] <= tombstones(before)
    told = made.landfast("run", "--until-end")
    assert told.returncode == 0
    made.verified()


def compacted(servers: str, below: int) -> list[Acknowledged]:
    """Wait until compaction has taken most of the topic, and say what is left of it."""
    found: list[Acknowledged] = []

    def thinned() -> bool:
        # A new segment lets the cleaner work on the ones before it.
        produce(servers, [Record("compacted", line("compacted", 0, 0), 0, key=b"0") for _ in range(3000)])
        found[:] = survivors_of(servers)
        return len(found) < below

    until(thinned)
    return found


def tombstones(records: list[Acknowledged]) -> int:
    """How many of the records have no value."""
    return sum(record.sha is None for record in records)


def survivors_of(servers: str) -> list[Acknowledged]:
    """Every record that the topic holds throughout this look, by a plain consumer; of those that go meanwhile, any."""
    client = Consumer({"bootstrap.servers": servers, "group.id": "survivors", "enable.partition.eof": True, "log_level": 0})
    client.assign([TopicPartition("compacted", 0, 0)])
    survivors: list[Acknowledged] = []
    try:
        while True:
            for message in client.consume(10_000, 1.0):
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error  # noqa: SLF001 — the client's name for it
                    return survivors
                value = message.value()
                sha = None if value is None else hashlib.sha256(value).hexdigest()
                survivors.append(Acknowledged("compacted", 0, message.offset() or 0, sha, "skip" if value is None else "row"))
    finally:
        client.close()


@pytest.mark.museum(3, 22)
def test_b7_records_that_retention_took_halt_their_lane_with_the_range(kafka: RealKafka, tmp_path: Path) -> None:
    """The lane names exactly what is gone and halts; the other lane lands to its end."""
    create_topic(kafka.servers, "expired", 2)
    load, made = Load(kafka.servers, "expired", 2, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "expired", BATCH)
    load.produce(2000)
    made.land()
    load.produce(2000)
    delete_records(kafka.servers, "expired", 0, 1500)
    halted = made.landfast("run", "--until-end")
    assert halted.returncode == HALTED, halted.stdout + halted.stderr
    told = halted.stdout + halted.stderr
    assert "DATA_EXPIRED" in told
    assert "1000" in told
    assert "1500" in told
    assert rows(made.table) == 990 + 1980
    forget(load.truth, range(1000, 2000))
    accountant.settle(load.truth, made.table)


def test_u10_an_accepted_loss_lands_as_a_gap_and_the_rest_lands_whole(kafka: RealKafka, tmp_path: Path) -> None:
    """With the very line that the halt names the lane goes on: all that the log has left lands once, and the proof knows the gap."""
    incarnation = create_topic(kafka.servers, "accepted", 2)
    load = Load(kafka.servers, "accepted", 2, tmp_path / "truth.jsonl")
    made = pipeline(tmp_path, kafka.servers, "accepted", BATCH)
    load.produce(2000)
    made.land()
    load.produce(2000)
    delete_records(kafka.servers, "accepted", 0, 1500)
    checked = made.landfast("check")
    assert checked.returncode == 1
    halted = made.landfast("run", "--until-end")
    assert halted.returncode == HALTED, halted.stdout + halted.stderr
    line_to_write = f'"accepted[0]@{incarnation}" = 1500'
    for told in (checked, halted, made.landfast("status")):
        assert line_to_write in told.stdout + told.stderr
    accepting = pipeline(tmp_path, kafka.servers, "accepted", f"{BATCH}[source.accept_expired]\n{line_to_write}\n")
    assert "loss accepted" in accepting.landfast("status").stdout
    assert "offsets 1000 to 1499 of accepted[0] are gone" in accepting.landfast("check").stdout
    landed = accepting.landfast("run", "--until-end")
    assert landed.returncode == 0, landed.stdout + landed.stderr
    assert "EXPIRED_ACCEPTED" in landed.stderr
    forget(load.truth, range(1000, 1500))
    assert accountant.settle(load.truth, made.table).records == 4000 - 500
    accepting.verified()
    accepting.verified("--source")
    load.produce(100)
    delete_records(kafka.servers, "accepted", 0, 2020)
    again = accepting.landfast("run", "--until-end")
    assert again.returncode == HALTED
    assert f'"accepted[0]@{incarnation}" = 2020' in again.stdout + again.stderr
    delete_records(kafka.servers, "accepted", 0, 2050)
    emptied = pipeline(tmp_path, kafka.servers, "accepted", f'{BATCH}[source.accept_expired]\n"accepted[0]" = 2050\n')
    emptied.land()
    last = max(read_spans(str(made.table)), key=lambda record: record.version).span
    assert (last.stream.partition, last.start, last.end, last.read) == (0, 2000, 2050, 0)
    forget(load.truth, range(2000, 2050))
    assert accountant.settle(load.truth, made.table).records == 4100 - 550
    emptied.verified("--source")


@pytest.mark.parametrize("named", [True, False])
def test_a_line_that_outlives_its_topic_stops_nobody_and_accepts_nothing(named: bool, kafka: RealKafka, tmp_path: Path) -> None:
    """After the topic was made anew, with fewer records than the line says, the new one lands whole; a loss in it halts all the same."""
    topic = f"outlived-{named}"
    former = create_topic(kafka.servers, topic, 1)
    load = Load(kafka.servers, topic, 1, tmp_path / "former.jsonl")
    pipeline(tmp_path, kafka.servers, topic, BATCH).land()
    load.produce(10)
    pipeline(tmp_path, kafka.servers, topic, BATCH).land()
    delete_topic(kafka.servers, topic)
    incarnation = create_topic(kafka.servers, topic, 1)
    line = f'"{topic}[0]@{former}"' if named else f'"{topic}[0]"'
    accepted = f"{BATCH}[source.accept_expired]\n{line} = 1500\n"
    made = pipeline(tmp_path, kafka.servers, topic, accepted, sink=f'accept_topic_ids = ["{incarnation}"]')
    anew = Load(kafka.servers, topic, 1, tmp_path / "anew.jsonl")
    anew.produce(200)
    checked = made.landfast("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"ACCEPTANCE_IDLE: source.accept_expired has lines without effect: {line} = 1500" in checked.stdout
    landed = made.landfast("run", "--until-end")
    assert landed.returncode == 0, landed.stdout + landed.stderr
    assert "ACCEPTANCE_IDLE" in landed.stderr
    assert rows(made.table) == 10 + 198
    anew.produce(1800)
    delete_records(kafka.servers, topic, 0, 1400)
    halted = made.landfast("run", "--until-end")
    assert halted.returncode == HALTED, halted.stdout + halted.stderr
    assert f'"{topic}[0]@{incarnation}" = 1400' in halted.stdout + halted.stderr
    assert rows(made.table) == 10 + 198


def forget(truth: Path, offsets: range) -> None:
    """Take the records of partition 0 that were deleted before they were read out of the truth."""
    records = [json.loads(line) for line in truth.read_text().splitlines()]
    left = [record for record in records if record["partition"] != 0 or record["offset"] not in offsets]
    truth.write_text("".join(f"{json.dumps(record)}\n" for record in left))


def test_b9_a_topic_created_again_halts_until_the_operator_decides(kafka: RealKafka, tmp_path: Path) -> None:
    """Nothing of the new topic lands under the old one's position, though its offsets reach further."""
    create_topic(kafka.servers, "replaced", 1)
    load, made = Load(kafka.servers, "replaced", 1, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "replaced", BATCH)
    load.produce(1000)
    made.land()
    delete_topic(kafka.servers, "replaced")
    create_topic(kafka.servers, "replaced", 1)
    other = Load(kafka.servers, "replaced", 1, tmp_path / "other.jsonl")
    other.produce(5000)
    halted = made.landfast("run", "--until-end")
    assert halted.returncode == HALTED, halted.stdout + halted.stderr
    assert "TOPIC_REPLACED" in halted.stdout + halted.stderr
    accountant.settle(load.truth, made.table)


def test_a_topic_created_again_while_a_worker_runs(kafka: RealKafka, tmp_path: Path) -> None:
    """A worker that reads on from the new topic by name lands nothing of it."""
    create_topic(kafka.servers, "swapped", 1)
    load, made = Load(kafka.servers, "swapped", 1, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "swapped", BATCH)
    load.produce(1000)
    with made.worker() as worker:
        until(lambda: rows(made.table) == 990, [worker])
        delete_topic(kafka.servers, "swapped")
        create_topic(kafka.servers, "swapped", 1)
        Load(kafka.servers, "swapped", 1, tmp_path / "other.jsonl").produce(5000)
        until(lambda: worker.process.poll() is not None)
        assert worker.end() == HALTED, worker.output[-3000:]
        assert "TOPIC_REPLACED" in worker.output or "TOPIC_GONE" in worker.output
    accountant.settle(load.truth, made.table)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with a few megabytes. Mounting one takes root."""
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted for this test, which takes root")
    place = tmp_path / "lake"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_f1_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(kafka: RealKafka, tmp_path: Path, small_disk: Path) -> None:
    """While the disk is full the run waits and says so; when there is room again it goes on by itself."""
    create_topic(kafka.servers, "filled", 2)
    load, made = Load(kafka.servers, "filled", 2, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "filled", BATCH)
    load.produce(2000)
    made.land()
    ballast = small_disk / "ballast"
    with made.worker() as worker:
        load.produce(100)
        until(lambda: rows(made.table) > 1980, [worker])
        fill(ballast)
        load.produce(19_900)
        until(lambda: "DISK_FULL" in worker.output, [worker])
        before = rows(made.table)
        ballast.unlink()
        until(lambda: rows(made.table) > before, [worker])
        until(lambda: rows(made.table) == 22_000 - 220, [worker])
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.output[-3000:]
    accountant.settle(load.truth, made.table)
    made.verified("--source")


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with ballast.open("wb", buffering=0) as out:
        block = 65536
        while block:
            try:
                out.write(bytes(block))
            except OSError:
                block //= 2


def test_d2_a_poisoned_topic_halts_before_it_is_drained_into_the_letters(kafka: RealKafka, tmp_path: Path) -> None:
    """When everything is bad the breaker halts the lane, names the reasons, and buries nothing of the batch."""
    create_topic(kafka.servers, "poisoned", 1)
    made: Pipeline = pipeline(tmp_path, kafka.servers, "poisoned", BATCH)
    produce(kafka.servers, [Record("poisoned", bad_line(number), 0) for number in range(3000)])
    halted = made.landfast("run", "--until-end")
    assert halted.returncode == HALTED, halted.stdout + halted.stderr
    assert "DLQ_RATE" in halted.stdout + halted.stderr
    letters = made.table.with_name(f"{made.table.name}__dead_letters")
    assert (rows(made.table), rows(letters)) == (0, 0)
    meant = pipeline(
        tmp_path, kafka.servers, "poisoned", f"{BATCH}[dead_letters]\nmax_share = 1.0\nmax_in_a_row = 10000\n", file_name="meant"
    )
    meant.land()
    assert (rows(made.table), rows(letters)) == (0, 3000)
    meant.verified("--source")
