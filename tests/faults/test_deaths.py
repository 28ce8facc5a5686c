"""A worker that dies, at each moment of the way of a record: nothing is lost or doubled, and the next worker says where it goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.events import StreamGained
from landfast.sinks.delta.table.marks import OTHERS_CLEAN_UP
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from tests.faults.doomed import Doom, die, worker
from tests.faults.inside import Inside
from tests.system import accountant
from tests.system.field import Load, Pipeline, pipeline, rows

pytestmark = pytest.mark.system

# What was read of a worker that died is given to the next one after a session.
QUICK = "session_seconds = 1.0"
BATCH = "[batch]\nseconds = 0.2\n"
COMMIT = "landfast.sinks.delta.landing.sink:DeltaSink.commit"
LANDED_BEFORE = 99


class Scene:
    """A pipeline with a hundred records landed, one of them a letter, and a hundred more to come."""

    def __init__(self, kafka: RealKafka, folder: Path, topic: str) -> None:
        create_topic(kafka.servers, topic, 1)
        self.load = Load(kafka.servers, topic, 1, folder / "truth.jsonl")
        self.line: Pipeline = pipeline(folder, kafka.servers, topic, BATCH, source=QUICK)
        self.go_on(at=None)
        self.load.produce(100)

    def files_without_a_commit(self) -> int:
        """How many data files no commit names."""
        lying = {str(path) for path in self.line.table.glob("*.parquet")}
        return len(lying - set(accountant.active_files(self.line.table)))

    def go_on(self, at: int | None) -> None:
        """The next worker says that it begins there, and lands what is left; each record is in one place, once."""
        self.load.produce(100)
        with Inside(self.line.file, until_end=True) as run:
            report = run.ended()
        assert str(report.outcome) == "finished"
        assert [event.position for event in run.of(StreamGained)] == [at]
        accountant.settle(self.load.truth, self.line.table)


def test_p1_sigkill_while_idle(kafka: RealKafka, tmp_path: Path) -> None:
    """A worker that has landed all is killed; the next one begins exactly there and finds nothing left."""
    scene = Scene(kafka, tmp_path, "killed-idle")
    with worker(scene.line.file) as one:
        one.until(lambda: rows(scene.line.table) == 2 * LANDED_BEFORE)
        one.signal(signal.SIGKILL)
        assert one.ended() == -signal.SIGKILL
    scene.go_on(at=200)


def test_p2_sigkill_before_the_data_file(kafka: RealKafka, tmp_path: Path) -> None:
    """Nothing of the batch is there, and all of it is read again."""
    scene = Scene(kafka, tmp_path, "killed-before-file")
    die(scene.line.file, Doom("landfast.sinks.delta.landing.sink:write"))
    assert (rows(scene.line.table), scene.files_without_a_commit()) == (LANDED_BEFORE, 0)
    scene.go_on(at=100)


def test_p3_sigkill_with_half_a_data_file(kafka: RealKafka, tmp_path: Path) -> None:
    """The torn file lies in the table's folder, no commit ever names it, and readers do not see it."""
    scene = Scene(kafka, tmp_path, "killed-half-file")
    die(scene.line.file, Doom("pyarrow.parquet:ParquetWriter.write_table", when="after"))
    assert (rows(scene.line.table), scene.files_without_a_commit()) == (LANDED_BEFORE, 1)
    scene.go_on(at=100)
    assert scene.files_without_a_commit() == 1


def test_p4_sigkill_between_the_data_file_and_its_commit(kafka: RealKafka, tmp_path: Path) -> None:
    """The whole file lies there without a commit; the next worker writes its own."""
    scene = Scene(kafka, tmp_path, "killed-after-file")
    die(scene.line.file, Doom(COMMIT))
    assert (rows(scene.line.table), scene.files_without_a_commit()) == (LANDED_BEFORE, 1)
    scene.go_on(at=100)
    assert scene.files_without_a_commit() == 1


@pytest.mark.parametrize(("when", "landed", "at"), [("before", LANDED_BEFORE, 100), ("after", 2 * LANDED_BEFORE, 200)])
def test_p5_sigkill_inside_the_commit(kafka: RealKafka, tmp_path: Path, when: str, landed: int, at: int) -> None:
    """On either side of the one act that lands a commit: it is there whole with its position, or not at all."""
    scene = Scene(kafka, tmp_path, f"killed-{when}-link")
    die(scene.line.file, Doom("landfast.sinks.delta.files.local:Disk.link", when=when, within=COMMIT))
    assert rows(scene.line.table) == landed
    scene.go_on(at=at)


@pytest.mark.museum(2)
def test_p6_sigkill_between_the_commit_and_the_groups_offsets(kafka: RealKafka, tmp_path: Path) -> None:
    """The group never heard of the commit; the table's position counts, and what landed is not read again."""
    scene = Scene(kafka, tmp_path, "killed-after-commit")
    die(scene.line.file, Doom(COMMIT, when="after"))
    assert rows(scene.line.table) == 2 * LANDED_BEFORE
    scene.go_on(at=200)


def test_v5_sigkill_where_a_start_brings_an_older_table_up_to_date(kafka: RealKafka, tmp_path: Path) -> None:
    """What earlier versions did not say of their tables is said by the next start that lives, once, and it goes on."""
    scene = Scene(kafka, tmp_path, "killed-in-migration")
    log = scene.line.table / "_delta_log"
    first = log / f"{0:020d}.json"
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    (metadata,) = [line["metaData"] for line in lines if "metaData" in line]
    assert metadata["configuration"].pop(OTHERS_CLEAN_UP) == "false"
    first.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for when in ("before", "after"):
        die(scene.line.file, Doom("landfast.sinks.delta.table.startup:mark", when=when))
    said = {entry.name for entry in log.glob("*.json") if "SET TBLPROPERTIES" in entry.read_text()}
    assert len(said) == 1
    assert DeltaTable(scene.line.table).metadata().configuration[OTHERS_CLEAN_UP] == "false"
    scene.go_on(at=100)
    assert {entry.name for entry in log.glob("*.json") if "SET TBLPROPERTIES" in entry.read_text()} == said


@pytest.mark.museum(21)
def test_p7_sigkill_while_the_groups_offsets_are_written(kafka: RealKafka, tmp_path: Path) -> None:
    """The request is with the client, and nobody knows whether the broker has it: nothing depends on it.

    The first thing that the group is told is where the table stands already; the second is the commit.
    """
    scene = Scene(kafka, tmp_path, "killed-in-acknowledge")
    die(scene.line.file, Doom("landfast.sources.kafka_session:Session.acknowledge", when="after", number=2))
    assert rows(scene.line.table) == 2 * LANDED_BEFORE
    scene.go_on(at=200)


def test_p8_sigkill_between_the_letters_and_the_commit_that_passes_them(kafka: RealKafka, tmp_path: Path) -> None:
    """The letter is durable and the rows are not; in the end each is there once."""
    scene = Scene(kafka, tmp_path, "killed-after-letters")
    die(scene.line.file, Doom("landfast.sinks.delta.landing.dead_letters:DeltaDeadLetters.put", when="after"))
    letters = scene.line.table.with_name(f"{scene.line.table.name}__dead_letters")
    assert (rows(scene.line.table), rows(letters)) == (LANDED_BEFORE, 2)
    scene.go_on(at=100)
    assert rows(letters) == 3


def test_p9_sigkill_during_every_start(kafka: RealKafka, tmp_path: Path) -> None:
    """Eight workers in a row die while they take over; nothing grows but an entry of the log each, and the ninth goes on."""
    scene = Scene(kafka, tmp_path, "killed-at-start")
    before, entries = scene.files_without_a_commit(), len(list((scene.line.table / "_delta_log").glob("*.json")))
    for number in range(8):
        die(scene.line.file, Doom("landfast.sinks.delta.landing.sink:DeltaSink.take_over", when="before" if number % 2 else "after"))
    assert rows(scene.line.table) == LANDED_BEFORE
    assert scene.files_without_a_commit() == before
    assert len(list((scene.line.table / "_delta_log").glob("*.json"))) <= entries + 8
    scene.go_on(at=100)


def test_p18_x12_a_native_crash_at_the_same_record_again_and_again(kafka: RealKafka, tmp_path: Path) -> None:
    """A library that crashes the process at a batch does so at each start, at the same position; once it is mended, all lands once."""
    scene = Scene(kafka, tmp_path, "crashing")
    for _ in range(3):
        crashed = die(scene.line.file, Doom("landfast.sinks.delta.landing.sink:DeltaSink.stage", act=signal.SIGSEGV))
        assert "stream_gained" in crashed.output
        assert "position=100" in crashed.output
    assert rows(scene.line.table) == LANDED_BEFORE
    scene.go_on(at=100)
