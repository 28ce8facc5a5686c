"""The demo's parts are honest: its count finds planted damage, its picture shows the figures, and the whole leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfast.cli.demo.count import compared
from landfast.cli.demo.picture import WIDTH, Ink, Partition, picture
from landfast.cli.demo.records import PARTITIONS, sensor_records
from landfast.cli.demo.worker import Worker
from landfast.errors import Broken
from landfast.testing.kafka_records import Acknowledged

SENT = [
    Acknowledged("sensors", number % 2, number // 2, f"sha-{number}", "dead" if number % 5 == 0 else "row", f"event-{number}")
    for number in range(20)
]
ROWS = [((one.partition, one.offset), str(one.id)) for one in SENT if one.fate == "row"]
DEAD = [((one.partition, one.offset), str(one.sha)) for one in SENT if one.fate == "dead"]


def test_a_whole_table_counts_as_well() -> None:
    """Each record in its place, once: nothing to report."""
    found = compared(SENT, ROWS, DEAD)
    assert (found.records, found.rows, found.letters, found.lost, found.doubled, found.changed, found.well) == (20, 16, 4, 0, 0, 0, True)


@given(st.sets(st.integers(0, len(ROWS) - 1), min_size=1))
def test_every_lost_row_is_counted(lost: set[int]) -> None:
    """As many as are taken away are missed."""
    found = compared(SENT, [row for index, row in enumerate(ROWS) if index not in lost], DEAD)
    assert (found.lost, found.doubled, found.well) == (len(lost), 0, False)


@given(st.lists(st.integers(0, len(ROWS) - 1), min_size=1))
def test_every_doubled_row_is_counted(again: list[int]) -> None:
    """As many as come again are found."""
    found = compared(SENT, ROWS + [ROWS[index] for index in again], DEAD)
    assert (found.lost, found.doubled, found.well) == (0, len(again), False)


def test_a_record_in_both_places_is_doubled() -> None:
    """In the table and among the dead letters is once too often."""
    place, event_id = ROWS[0]
    found = compared(SENT, ROWS, [*DEAD, (place, f"sha-{event_id.removeprefix('event-')}")])
    assert (found.doubled, found.well) == (1, False)


def test_a_changed_record_is_counted() -> None:
    """Another id in a row, other bytes in a letter, a row where a letter should be: none of them passes."""
    (place, _), *rest = ROWS
    assert compared(SENT, [(place, "event-x"), *rest], DEAD).changed == 1
    (where, _), *letters = DEAD
    assert compared(SENT, ROWS, [(where, "sha-x"), *letters]).changed == 1
    assert compared(SENT, [*ROWS, (where, "event-0")], letters).changed == 1
    assert not compared([replace(one, sha="x") for one in SENT], ROWS, DEAD).well


def test_one_in_a_hundred_records_is_broken_in_every_partition() -> None:
    """The demo shows dead letters, the same each time, and in each partition."""
    records = list(sensor_records(0, 60_000))
    assert records[:500] == list(sensor_records(0, 500))
    dead = [record for record in records if record.fate == "dead"]
    assert len(dead) == 600
    assert {record.partition for record in dead} == set(range(PARTITIONS))
    assert all(json.loads(record.value or b"")["event_id"] == record.id for record in records[:500] if record.fate == "row")


def test_the_picture_shows_the_figures() -> None:
    """Who landed how much, where the successor took over, and rows and dead letters that add up."""
    lines = picture([Partition("sensors[0]", 300, 100, 4, 311), Partition("sensors[1]", 0, 400, 0, 0)], Ink("#", "=", "x"))
    assert "300 landed, then SIGKILL" in lines[0]
    assert "500 landed" in lines[1]
    assert lines[3].count("#") == WIDTH * 3 // 4
    assert lines[3].endswith("400 = 396 rows + 4 dead")
    assert "=" * WIDTH in lines[4]
    assert lines[-1].endswith("taken over at offset 311, 0")


def test_the_picture_fits_a_small_terminal() -> None:
    """Eighty columns are enough for the most records that the demo takes: a bar that wraps shows nothing."""
    most = [Partition(f"sensors[{number}]", 10_000, 10_000, 200, 10_000) for number in range(4)]
    assert max(map(len, picture(most, Ink()))) <= 80
    assert max(map(len, picture([Partition("sensors[0]", 80_000, 0, 800, 80_000)], Ink()))) <= 80


def test_the_picture_uses_what_the_screen_can_show() -> None:
    """Blocks in UTF-8, plain characters elsewhere."""
    assert Ink.for_encoding("utf-8") == Ink()
    assert Ink.for_encoding("latin-1") == Ink.for_encoding(None) == Ink.for_encoding("nonsense") == Ink("#", "=", "x")


def test_a_worker_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """A demo that cannot go on says why, and does not hang."""
    file = tmp_path / "pipeline.toml"
    file.write_text("name = 1\n", encoding="utf-8")
    with Worker(file) as worker, pytest.raises(Broken, match="CONFIG_"):
        worker.wait_until_landed(1, 60)
    with Worker(file) as worker, pytest.raises(Broken, match="ended with 2"):
        worker.report(60)
    with Worker(file) as worker, pytest.raises(Broken, match="did not end"):
        worker.report(0.0)


@pytest.mark.system
def test_the_demo_ends_with_nothing_lost_and_nothing_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole demo in small: killed half-way for real, proved, under a minute, no file and no process left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-m", "landfast", "demo", "--records", "12000"],
        check=False,
        capture_output=True,
        text=True,
        timeout=170,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "12,000 records, 0 lost, 0 doubled"
    assert "SIGKILL" in ended.stdout
    assert "landfast verify --source: proved" in ended.stdout
    assert "11,880 rows + 120 dead letters, 0 changed" in ended.stdout
    assert list(tmp_path.iterdir()) == []
    workers = [int(pid) for pid in re.findall(r"process (\d+)", ended.stdout)]
    assert len(workers) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists() and b"landfast" in Path(f"/proc/{pid}/cmdline").read_bytes()]
