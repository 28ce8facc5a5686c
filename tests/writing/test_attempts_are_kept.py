"""What came of each attempt is told in a table beside, and never in the way of the write."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast.delta_api import (
    DeltaWriteOptions,
    IdempotentWriteOptions,
    complete_commits,
    start_run,
    write_attempts,
    write_idempotent,
)
from landfast.errors import Conflict, Rejected
from landfast.sinks.delta.files.local import Disk
from tests.writing.writers import Crash, MortalDisk, landed, rows, write_on

JOB = IdempotentWriteOptions("job", 7)
KEPT = DeltaWriteOptions(attempts="table")


def test_each_attempt_is_a_row_with_what_came_of_it(tmp_path: Path) -> None:
    """Others who come first, an answer that is lost, a landing, a repetition, a refusal: with code and kind."""
    path = tmp_path / "t"

    failures = ["rival", "lost", ""]

    class Unlucky(MortalDisk):
        def link(self, draft: Path, name: Path) -> None:
            failure = failures.pop(0) if name.suffix == ".json" and failures else ""
            if failure == "rival":
                write_idempotent(path, rows("rival", 1), app_id="rival", version=1)
            if failure == "lost":
                message = "Connection timed out"
                raise OSError(message)
            super().link(draft, name)

    write_idempotent(path, rows("old", 1), app_id="old", version=1)
    assert write_attempts(path) == []
    write_on(Unlucky(0, False, Crash), path, JOB, KEPT)
    write_idempotent(path, rows("job", 7), JOB, options=KEPT)
    with pytest.raises(Conflict):
        write_idempotent(path, rows("job", 7, count=9), JOB, options=KEPT)
    with pytest.raises(Rejected):
        write_idempotent(
            path,
            pa.table({"version": pa.array([2**63], pa.uint64())}),
            app_id="job",
            version=8,
            options=DeltaWriteOptions(attempts="table"),
        )
    kept = write_attempts(path)
    assert [(one.version, one.attempt, one.outcome, one.code, one.kind, one.table_version) for one in kept] == [
        (7, 1, "tried", "", "", None),
        (7, 2, "failed", "SINK_DOWN", "transient", None),
        (7, 3, "written", "", "", 3),
        (7, 0, "already there", "", "", 3),
        (7, 0, "failed", "WRITE_DIFFERS", "", None),
        (8, 0, "failed", "ROWS_REFUSED", "", None),
    ]
    assert len({one.call for one in kept}) == 4
    assert all(one.app_id == "job" and one.seconds >= 0 and one.at <= datetime.now(UTC) for one in kept)
    assert DeltaTable(f"{path}__attempts").version() == 3


def test_rows_that_cannot_be_kept_fail_no_write(tmp_path: Path) -> None:
    """A file lies where the table of attempts would be: the write lands, and says so."""
    (tmp_path / "t__attempts").write_text("in the way")
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=KEPT).outcome == "written"
    assert landed(tmp_path / "t") == {("job", 7): 1}


def test_each_table_of_a_commit_to_several_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the options of its write say, also where somebody else carries the commit out after a crash."""
    run = start_run("pair", run_id="r1")
    with run.commit_to(tmp_path / "a", tmp_path / "b") as commit:
        commit.write(tmp_path / "a", rows("a", 0), options=KEPT)
        commit.write(tmp_path / "b", rows("b", 0))
    assert [(one.version, one.attempt, one.outcome) for one in write_attempts(tmp_path / "a")] == [(0, 1, "written")]
    assert write_attempts(tmp_path / "b") == []
    link = Disk.link

    def crash(disk: Disk, draft: Path, name: Path) -> None:
        if "_delta_log" in name.parts:
            raise Crash
        link(disk, draft, name)

    with monkeypatch.context() as patch, contextlib.suppress(Crash), run.with_sequence(1).commit_to(tmp_path / "a") as commit:
        commit.write(tmp_path / "a", rows("a", 1), options=KEPT)
        patch.setattr(Disk, "link", crash)
    assert len(write_attempts(tmp_path / "a")) == 1
    complete_commits(tmp_path / "a")
    assert [(one.version, one.attempt, one.outcome) for one in write_attempts(tmp_path / "a")][1:] == [(1, 1, "written")]
