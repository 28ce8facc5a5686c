"""Overwriting what a predicate finds: once, all of it or nothing, never on a version that was not looked at."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.delta_api import DeltaWriteOptions, DeltaWriteResult, IdempotentWriteOptions, start_run, write_idempotent
from landfast.errors import Broken, Conflict, LandfastError, Misconfigured
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.log.digests import TAG
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock
from landfast.testing.memory import RecordingObserver
from tests.writing.writers import PATIENT, Crash, MortalDisk

JOB = IdempotentWriteOptions("job", 7)
NEW = pa.table({"day": ["b", "b"], "n": pa.array([70, 71], pa.int64())})
BY_DAY = DeltaWriteOptions(mode="overwrite", predicate="day = 'b'")


def table_at(path: Path | str, partition_by: list[str] | None = None, **options: Any) -> None:
    """Three days, one row each."""
    write_deltalake(str(path), pa.table({"day": ["a", "b", "c"], "n": [1, 2, 3]}), partition_by=partition_by, **options)


def content(path: Path | str, **options: Any) -> list[tuple[str, int]]:
    rows = DeltaTable(str(path), **options).to_pyarrow_table().to_pylist()
    return sorted((row["day"], row["n"]) for row in rows)


def replace_on(disk: Disk, path: Path) -> DeltaWriteResult:
    target = target_of(str(path), {}, BY_DAY, SystemClock(), RecordingObserver(), disk)
    return write(target, NEW.to_reader(), JOB, BY_DAY, PATIENT)


REPLACED = [("a", 1), ("b", 70), ("b", 71), ("c", 3)]


@pytest.mark.parametrize("partition_by", [[], ["day"]], ids=["rewritten", "partition"])
def test_just_the_rows_that_the_predicate_finds_are_replaced_once(tmp_path: Path, partition_by: list[str]) -> None:
    """Whether they are whole files or a part of one; repeated, it is already there, and what came since stays."""
    path = tmp_path / "t"
    table_at(path, partition_by)
    done = write_idempotent(path, NEW.to_reader(), JOB, options=BY_DAY)
    assert (done.outcome, done.rows, done.attempts, done.table_version) == ("written", 2, 1, 1)
    assert done.files == len(DeltaTable(str(path)).file_uris()) - (2 if partition_by else 0)
    assert content(path) == REPLACED
    write_deltalake(str(path), pa.table({"day": ["b"], "n": [9]}), mode="append")
    assert write_idempotent(path, NEW, JOB, options=BY_DAY).outcome == "already there"
    assert content(path) == sorted([*REPLACED, ("b", 9)])
    with pytest.raises(Conflict):
        write_idempotent(path, NEW.slice(1), JOB, options=BY_DAY)
    assert TAG in (path / "_delta_log" / f"{1:020d}.json").read_text()
    assert not list(path.glob("_landfast_overwrite-*"))


def test_a_new_partition_and_no_rows_are_replacements_too(tmp_path: Path) -> None:
    """Of a day that the table does not have, and of one by nothing at all."""
    path = tmp_path / "t"
    table_at(path, ["day"])
    day_d = DeltaWriteOptions(mode="overwrite", predicate="day = 'd'")
    write_idempotent(path, pa.table({"day": ["d"], "n": [4]}), app_id="job", version=1, options=day_d)
    gone = write_idempotent(path, NEW.slice(0, 0), app_id="job", version=2, options=BY_DAY)
    again = write_idempotent(path, NEW.slice(0, 0), app_id="job", version=2, options=BY_DAY)
    assert (gone.outcome, again.outcome) == ("written", "already there")
    assert content(path) == [("a", 1), ("c", 3), ("d", 4)]


@pytest.mark.parametrize(
    ("error", "after"), [(Crash, False), (lambda: Broken("FSYNC_FAILED", "fsync failed"), True)], ids=["crash before", "sync fails after"]
)
def test_ended_at_any_act_of_the_disk_it_is_repeated_once(tmp_path: Path, after: bool, error: Any) -> None:
    """Every act that makes bytes durable or gives them a name: readers see the old rows or the new ones, never a part."""
    for number in itertools.count(1):
        path = tmp_path / f"t{number}"
        table_at(path, ["day"])
        disk = MortalDisk(number, after, error)
        with contextlib.suppress(Crash, Broken):
            replace_on(disk, path)
        assert content(path) in (REPLACED, [("a", 1), ("b", 2), ("c", 3)]), number
        write_idempotent(path, NEW, JOB, options=BY_DAY)
        assert content(path) == REPLACED, number
        if disk.acts < number:
            return


def test_others_who_write_between_are_replaced_too_and_nothing_comes_back(tmp_path: Path) -> None:
    """Rows that are appended and files that are joined at the last moment: the overwrite is made anew for each version that it meets."""
    path = tmp_path / "t"

    class Rival(MortalDisk):
        rivals = 3

        def link(self, draft: Path, name: Path) -> None:
            if self.rivals and name.suffix == ".json":
                self.rivals -= 1
                write_deltalake(str(path), pa.table({"day": ["b", "c"], "n": [90 + self.rivals, 30]}), mode="append")
                DeltaTable(str(path)).optimize.compact()
            super().link(draft, name)

    table_at(path)
    done = replace_on(Rival(0, False, Crash), path)
    assert done.attempts == 4
    assert content(path) == sorted([*REPLACED, *[("c", 30)] * 3])


def test_rows_outside_the_predicate_and_what_is_no_predicate_are_refused(tmp_path: Path) -> None:
    """At once, without a word of what the rows hold, and nothing lands."""
    table_at(tmp_path / "t")
    outside = pa.table({"day": ["b", "hush"], "n": [1, 2]})
    for data, predicate, code in (
        (outside, "day = 'b'", "ROWS_REFUSED"),
        (NEW, "nowhere = 1", "WRITE_INVALID"),
        (NEW, "day = = 'b'", "WRITE_INVALID"),
    ):
        how = DeltaWriteOptions(mode="overwrite", predicate=predicate)
        with pytest.raises(LandfastError) as refused:
            write_idempotent(tmp_path / "t", data, JOB, options=how)
        assert refused.value.code == code
        assert "hush" not in str(refused.value)
        assert refused.value.__cause__ is None
    with pytest.raises(Misconfigured, match="predicate"):
        DeltaWriteOptions(predicate="day = 'b'")
    with pytest.raises(Misconfigured, match="write of its own"):
        start_run("job").commit_to(tmp_path / "t").write(tmp_path / "t", NEW, options=BY_DAY)
    assert content(tmp_path / "t") == [("a", 1), ("b", 2), ("c", 3)]


def test_a_change_data_feed_is_not_falsified(tmp_path: Path) -> None:
    """It would have to tell which rows went, file by file: refused before anything is read."""
    table_at(tmp_path / "t", configuration={"delta.enableChangeDataFeed": "true"})
    with pytest.raises(Misconfigured) as refused:
        write_idempotent(tmp_path / "t", NEW, JOB, options=BY_DAY)
    assert refused.value.code == "PROTOCOL_UNSUPPORTED"


def test_after_a_checkpoint_and_a_clean_up_of_the_log(tmp_path: Path) -> None:
    """The folder in which it is made has the checkpoint in place of the entries."""
    table_at(tmp_path / "t")
    write_deltalake(str(tmp_path / "t"), pa.table({"day": ["c"], "n": [4]}), mode="append")
    DeltaTable(str(tmp_path / "t")).create_checkpoint()
    (tmp_path / "t" / "_delta_log" / f"{0:020d}.json").unlink()
    assert write_idempotent(tmp_path / "t", NEW, JOB, options=BY_DAY).outcome == "written"
    assert content(tmp_path / "t") == sorted([*REPLACED, ("c", 4)])


@pytest.mark.parametrize("value", ["a b", "ü/%", "2026-11-22 10:00", "x=y"])
def test_partitions_of_any_name_are_found_again(tmp_path: Path, value: str) -> None:
    """One that the table has, and one that is new: what stands in a folder's name is not what stands in the log."""
    path = tmp_path / "t"
    for number in (1, 2):
        how = DeltaWriteOptions(mode="overwrite", predicate=f"day = '{value}'")
        if number == 1:
            table_at(path, ["day"])
        given = pa.table({"day": [value], "n": [number]})
        write_idempotent(path, given, app_id="job", version=number, options=how)
        assert content(path) == sorted([("a", 1), ("b", 2), ("c", 3), (value, number)])


@pytest.mark.parametrize("value", ["a b", "ü/%", "2026-11-22 10:00", "x=y", "+&'", None])
def test_partitions_of_any_name_go_when_the_whole_is_overwritten(tmp_path: Path, value: str | None) -> None:
    """Files of another tool, under names as that tool writes them: none of their rows stays."""
    path = tmp_path / "t"
    write_deltalake(str(path), pa.table({"day": pa.array([value, "b"], pa.string()), "n": [1, 2]}), partition_by=["day"])
    write_idempotent(path, NEW, JOB, options=DeltaWriteOptions(mode="overwrite"))
    assert content(path) == [("b", 70), ("b", 71)]
    write_idempotent(path, NEW, app_id="job", version=8, options=DeltaWriteOptions(mode="overwrite"))
    assert content(path) == [("b", 70), ("b", 71)]
