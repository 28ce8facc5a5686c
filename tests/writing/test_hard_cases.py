"""What goes wrong around a write: others who change the table, a process that sleeps, a disk that refuses, a table of somebody else."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from landfast.delta_api import (
    DeltaWriteOptions,
    DeltaWriteRetryPolicy,
    IdempotentWriteOptions,
    complete_commits,
    sealed,
    start_run,
    write_idempotent,
)
from landfast.errors import Broken, Conflict, Misconfigured, Unavailable
from landfast.sinks.delta.files.names import LOG
from landfast.sinks.delta.table.marks import mark
from landfast.sinks.delta.writing.together import Together
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock
from landfast.testing.memory import RecordingObserver
from tests.writing.test_several_tables import commit_both, interrupted, seen
from tests.writing.writers import Crash, MortalDisk, landed, rows, write_on

JOB = IdempotentWriteOptions("job", 7)


def test_a_transaction_of_another_tool_is_not_taken_for_other_rows(tmp_path: Path) -> None:
    """The number is there, and nothing says which rows came with it: the digest that stands there is that of an earlier write."""
    write_idempotent(tmp_path / "t", rows("job", 7), JOB)
    moved = CommitProperties(app_transactions=[Transaction("job", 8)])
    write_deltalake(str(tmp_path / "t"), rows("job", 8), mode="append", commit_properties=moved)
    assert write_idempotent(tmp_path / "t", rows("job", 8), app_id="job", version=8).outcome == "already there"


def test_mode_error_refuses_a_table_that_was_made_with_rows(tmp_path: Path) -> None:
    """Another tool makes a table and fills it in its very first version."""
    write_deltalake(str(tmp_path / "t"), rows("old", 1))
    with pytest.raises(Misconfigured, match="there is a table"):
        write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=DeltaWriteOptions(mode="error"))
    assert landed(tmp_path / "t") == {("old", 1): 1}


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_the_table_of_a_pipeline_is_left_alone(tmp_path: Path, mode: str) -> None:
    """Its rows are proved one by one against Kafka; rows that come from elsewhere, or take their place, would end that."""
    write_deltalake(str(tmp_path / "t"), rows("old", 1))
    mark(DeltaTable(str(tmp_path / "t")), {"landfast.pipeline.orders": "an id"})
    with pytest.raises(Misconfigured, match="belongs to the pipeline orders") as refused:
        write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=DeltaWriteOptions(mode=mode))  # type: ignore[arg-type]
    assert refused.value.code == "FOREIGN_PIPELINE"
    assert landed(tmp_path / "t") == {("old", 1): 1}


def test_a_table_of_others_with_partitions_of_an_unsafe_kind_is_refused(tmp_path: Path) -> None:
    """The text of a fraction or a moment is not the same for every reader."""
    table = rows("old", 1).append_column("part", pa.array([1.5, 2.5, 3.5]))
    write_deltalake(str(tmp_path / "t"), table, partition_by=["part"])
    with pytest.raises(Misconfigured, match="partition column part is double") as refused:
        write_idempotent(tmp_path / "t", table, JOB)
    assert refused.value.code == "SCHEMA_CONFLICT"


def test_an_exception_of_the_maker_of_rows_comes_through_and_nothing_lands(tmp_path: Path) -> None:
    """As it is: it is the caller's own. The write may be made again."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield rows("job", 7).to_batches()[0]
        message = "the maker's own"
        raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError, match="the maker's own"):
        write_idempotent(tmp_path / "t", pa.RecordBatchReader.from_batches(rows("job", 7).schema, batches()), JOB)
    assert not DeltaTable(str(tmp_path / "t")).file_uris()
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB).outcome == "written"


def test_a_writer_that_slept_through_a_clean_up_of_the_log_lands_once_and_to_be_seen(tmp_path: Path) -> None:
    """While it sleeps, others commit, and clean-up takes their entries: the place of its own is free, and behind all that readers read."""
    path = tmp_path / "t"

    class Slept(MortalDisk):
        slept = False

        def link(self, draft: Path, name: Path) -> None:
            if not self.slept:
                self.slept = True
                for version in range(3):
                    write_idempotent(path, rows("other", version), app_id="other", version=version)
                DeltaTable(str(path)).create_checkpoint()
                for entry in sorted((path / LOG).glob("*.json"))[:-1]:
                    entry.unlink()
            super().link(draft, name)

    write_idempotent(path, rows("old", 1), app_id="old", version=1)
    done = write_on(Slept(0, False, Crash), path, JOB)
    assert (done.outcome, done.attempts, done.table_version) == ("written", 2, DeltaTable(str(path)).version())
    assert landed(path)["job", 7] == 1


def test_a_disk_that_refuses_to_sync_is_told_and_a_repetition_lands_once(tmp_path: Path) -> None:
    """At each act: an error that is never tried again, since the kernel may have dropped what it did not write."""
    for number in itertools.count(1):
        path = tmp_path / f"t{number}"
        disk = MortalDisk(number, True, lambda: Broken("FSYNC_FAILED", "fsync failed"))
        with contextlib.suppress(Broken):
            write_on(disk, path, JOB)
        write_idempotent(path, rows("job", 7), JOB)
        assert landed(path) == {("job", 7): 1}, number
        if disk.acts < number:
            return


def test_tries_end_with_what_to_do_and_the_next_call_finds_out(tmp_path: Path) -> None:
    """The commit landed and each answer was lost: the last error comes through, and the same call again is told the truth."""

    class Deaf(MortalDisk):
        def link(self, draft: Path, name: Path) -> None:
            super().link(draft, name)
            message = "Connection timed out"
            raise OSError(message)

    write_idempotent(tmp_path / "t", rows("old", 1), app_id="old", version=1)
    options = DeltaWriteOptions()
    target = target_of(str(tmp_path / "t"), {}, options, SystemClock(), RecordingObserver(), Deaf(0, False, Crash))
    with pytest.raises(Unavailable) as ended:
        write(target, rows("job", 7), JOB, options, DeltaWriteRetryPolicy(attempts_max=1))
    assert (ended.value.code, ended.value.kind) == ("SINK_DOWN", "transient")
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB).outcome == "already there"


def test_many_writes_leave_checkpoints(tmp_path: Path) -> None:
    """Without them a table opens slower with each commit; they are durable before they are seen."""
    for version in range(51):
        write_idempotent(tmp_path / "t", rows("job", version, 1), app_id="job", version=version)
    assert [entry.name for entry in (tmp_path / "t" / LOG).glob("*.checkpoint.parquet")] == [f"{50:020d}.checkpoint.parquet"]
    assert landed(tmp_path / "t") == {("job", version): 1 for version in range(51)}


def test_a_table_that_was_replaced_meanwhile_gets_nothing(tmp_path: Path) -> None:
    """The rows were written for another table: the commit is refused, and so is whoever would carry it out later."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    commit = start_run("pair", run_id="r2").commit_to(tmp_path / "a", tmp_path / "b")
    for table in ("a", "b"):
        commit.write(tmp_path / table, rows(table, 5))
    shutil.rmtree(tmp_path / "b" / LOG)
    write_deltalake(str(tmp_path / "b"), rows("new", 1))
    with pytest.raises(Conflict) as refused:
        commit.__exit__(None, None, None)
    assert refused.value.code == "TABLE_REPLACED"
    assert landed(tmp_path / "b") == {("new", 1): 1}
    [left] = complete_commits(tmp_path / "a")
    assert "TABLE_REPLACED" in left.missing


def test_a_share_that_a_later_number_has_passed_over_is_missing_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later write of the run to one of the tables makes its number grow; that is no word of the share that never came."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    write_idempotent(tmp_path / "b", rows("b", 5), run_id="r1", commit_sequence=5)
    [left] = complete_commits(tmp_path / "a")
    assert "COMMIT_INCOMPLETE" in left.missing
    assert seen(tmp_path)["a"] == {0: 3}


def test_who_carries_out_what_another_has_begun_is_told_just_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written is what this call has put; what the process before it had put was already there."""
    run = start_run("pair", run_id="r1")
    commit_both(run, tmp_path)
    interrupted(tmp_path, monkeypatch)
    with run.with_sequence(1).commit_to(tmp_path / "a", tmp_path / "b") as commit:
        for table in ("a", "b"):
            commit.write(tmp_path / table, rows(table, 1))
    assert {result.outcome for result in commit.results.values()} == {"already there"}
    interrupted(tmp_path, monkeypatch, sequence=2)
    together = Together(str(tmp_path / "a"), {}, SystemClock(), DeltaWriteRetryPolicy())
    [intent] = together.unsealed()
    assert [result.outcome for result in together.land(intent).values()] == ["already there", "written"]
    assert [result.outcome for result in together.land(intent).values()] == ["already there", "already there"]


def test_a_sealed_commit_behind_an_unsealed_one_is_left_out_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the first commit has landed; the second has all of its tables, but a reader of the first table must stop before both."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    commit_both(start_run("pair", run_id="r2").with_sequence(8), tmp_path)
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}
    complete_commits(tmp_path / "a")
    assert seen(tmp_path) == {"a": {0: 3, 1: 3, 8: 3}, "b": {0: 3, 1: 3, 8: 3}}


def test_a_commit_to_several_tables_is_found_from_anywhere_and_after_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths that the caller gave from where it stood; another process stands elsewhere, and later the lake lies elsewhere."""
    lake = tmp_path / "lake"
    lake.mkdir()
    commit_both(start_run("pair", run_id="r1"), lake)
    interrupted(lake, monkeypatch)
    moved = tmp_path / "moved"
    shutil.move(lake, moved)
    monkeypatch.chdir(moved)
    assert set(sealed("a", "b")) == {"a", "b"}
    monkeypatch.chdir(tmp_path)
    [done] = complete_commits(os.path.join("moved", "a"))  # noqa: PTH118 — a path as people type it
    assert done.missing == ""
    assert seen(moved) == {"a": {0: 3, 1: 3}, "b": {0: 3, 1: 3}}


def test_no_secret_is_shown_or_written_down(tmp_path: Path) -> None:
    """Neither in what stands for a commit in a log, nor in the file that keeps the way to its tables."""
    run = start_run("pair", run_id="r1")
    with run.commit_to(tmp_path / "a", tmp_path / "b", storage_options={"token": "hush"}) as commit:
        for table in ("a", "b"):
            commit.write(tmp_path / table, rows(table, 0))
    assert "hush" not in repr(commit)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"hush" in file.read_bytes()]
    with pytest.raises(Misconfigured, match="password or a query") as refused:
        run.commit_to("s3://user:hush@bucket/a")
    assert "hush" not in str(refused.value)
