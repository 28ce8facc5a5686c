"""A write with a name and a number lands once, whoever repeats it, whenever, and says which it was."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import random
import signal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from landfast.delta_api import DeltaWriteOptions, IdempotentWriteOptions, write_idempotent
from landfast.errors import Conflict, Misconfigured
from landfast.sinks.delta.files.names import LOG
from landfast.testing.wait import wait_until
from tests.writing.writers import PATIENT, Crash, MortalDisk, landed, rows, write_all, write_for_ever, write_on

SPAWN = multiprocessing.get_context("spawn")
JOB = IdempotentWriteOptions("job", 7)


def test_without_us_a_repeated_transaction_lands_twice(tmp_path: Path) -> None:
    """The fact that all this is for: deltalake accepts the same application id and version again."""
    for _ in range(2):
        same = CommitProperties(app_transactions=[Transaction("job", 7)])
        write_deltalake(str(tmp_path / "t"), rows("job", 7), mode="append", commit_properties=same)
    assert landed(tmp_path / "t") == {("job", 7): 2}


def test_the_same_write_twice_lands_once_and_each_caller_is_told(tmp_path: Path) -> None:
    """Written, then already there, with the version of the table that holds the rows."""
    first = write_idempotent(tmp_path / "t", rows("job", 7), app_id="job", version=7)
    again = write_idempotent(tmp_path / "t", rows("job", 7), JOB)
    assert (first.outcome, first.rows, first.files, first.attempts) == ("written", 3, 1, 1)
    assert (again.outcome, again.rows, again.files, again.nbytes, again.attempts) == ("already there", 3, 0, 0, 0)
    assert first.table_version == again.table_version == DeltaTable(str(tmp_path / "t")).version()
    assert landed(tmp_path / "t") == {("job", 7): 1}


def test_a_lower_version_is_already_there_and_a_higher_one_may_skip(tmp_path: Path) -> None:
    """Numbers only grow: what lies below the newest has landed, or is given up; a gap is allowed."""
    for version in (3, 9):
        assert write_idempotent(tmp_path / "t", rows("job", version), app_id="job", version=version).outcome == "written"
    late = write_idempotent(tmp_path / "t", rows("job", 5), app_id="job", version=5)
    assert (late.outcome, late.table_version, late.rows) == ("already there", None, None)
    assert landed(tmp_path / "t") == {("job", 3): 1, ("job", 9): 1}


def test_writers_do_not_know_each_other(tmp_path: Path) -> None:
    """The same number under another name is another write."""
    for app_id in ("one", "two"):
        assert write_idempotent(tmp_path / "t", rows(app_id, 1), app_id=app_id, version=1).outcome == "written"
    assert landed(tmp_path / "t") == {("one", 1): 1, ("two", 1): 1}


def test_other_rows_under_the_same_number_are_an_error(tmp_path: Path) -> None:
    """Not a silent skip: the rows of the second call are nowhere, and its caller has to know."""
    write_idempotent(tmp_path / "t", rows("job", 7), JOB)
    with pytest.raises(Conflict, match="its rows are not the ones") as refused:
        write_idempotent(tmp_path / "t", rows("job", 7, count=4), JOB)
    assert refused.value.code == "WRITE_DIFFERS"
    skipped = write_idempotent(tmp_path / "t", rows("job", 7, count=4), IdempotentWriteOptions("job", 7, other_rows="skip"))
    assert skipped.outcome == "already there"
    assert landed(tmp_path / "t") == {("job", 7): 1}


def test_other_rows_are_known_when_the_log_has_forgotten_the_commit(tmp_path: Path) -> None:
    """The digest of a writer's newest rows stands beside its version, where clean-up of the log does not take it."""
    write_idempotent(tmp_path / "t", rows("job", 7), JOB)
    table = DeltaTable(str(tmp_path / "t"))
    table.create_checkpoint()
    for entry in (tmp_path / "t" / LOG).glob("*.json"):
        entry.unlink()
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB).outcome == "already there"
    with pytest.raises(Conflict):
        write_idempotent(tmp_path / "t", rows("job", 7, count=4), JOB)


def test_a_repeated_write_is_known_after_the_table_was_given_columns(tmp_path: Path) -> None:
    """The digest is of the columns that the rows have, whatever the table has beside them, and in whatever order they come."""
    write_idempotent(tmp_path / "t", rows("job", 7), JOB)
    wider = rows("job", 8).append_column("more", pa.array([1, 2, 3]))
    write_idempotent(tmp_path / "t", wider, app_id="job", version=8, options=DeltaWriteOptions(schema_mode="merge"))
    turned = rows("job", 7).select(["row", "version", "app"])
    assert write_idempotent(tmp_path / "t", turned, JOB).outcome == "already there"


def test_a_write_without_rows_counts(tmp_path: Path) -> None:
    """An empty batch moves the version all the same, so that a job may go on after it."""
    nothing = rows("job", 7).slice(0, 0)
    assert write_idempotent(tmp_path / "t", nothing, JOB).outcome == "written"
    assert write_idempotent(tmp_path / "t", nothing, JOB).outcome == "already there"
    assert DeltaTable(str(tmp_path / "t")).transaction_version("job") == 7


def test_an_overwrite_is_repeated_without_harm(tmp_path: Path) -> None:
    """What came after an overwrite is not overwritten by its repetition."""
    replace = DeltaWriteOptions(mode="overwrite")
    write_idempotent(tmp_path / "t", rows("old", 1), app_id="old", version=1)
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=replace).outcome == "written"
    write_idempotent(tmp_path / "t", rows("new", 1), app_id="new", version=1)
    assert write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=replace).outcome == "already there"
    assert landed(tmp_path / "t") == {("job", 7): 1, ("new", 1): 1}


def test_an_overwrite_is_complete_when_others_write_between(tmp_path: Path) -> None:
    """It replaces all that the table has at the moment of its commit, never less: its files are named again at each attempt."""

    class Rival(MortalDisk):
        """Another writer appends, and joins files, just before the entry is put."""

        rivals = 3

        def link(self, path: Path, name: Path) -> None:
            if self.rivals:
                self.rivals -= 1
                write_idempotent(tmp_path / "t", rows("rival", self.rivals + 100 - 2 * self.rivals), app_id=f"r{self.rivals}", version=1)
                DeltaTable(str(tmp_path / "t")).optimize.compact()
            super().link(path, name)

    write_idempotent(tmp_path / "t", rows("old", 1), app_id="old", version=1)
    done = write_on(Rival(0, False, Crash), tmp_path / "t", JOB, DeltaWriteOptions(mode="overwrite"))
    assert done.attempts == 4
    assert landed(tmp_path / "t") == {("job", 7): 1}


def test_mode_error_makes_a_table_and_refuses_one_that_is_there(tmp_path: Path) -> None:
    """Refused, unless this very write has made it: so it may be repeated."""
    new = DeltaWriteOptions(mode="error")
    for outcome in ("written", "already there"):
        assert write_idempotent(tmp_path / "t", rows("job", 7), JOB, options=new).outcome == outcome
    with pytest.raises(Misconfigured, match="there is a table"):
        write_idempotent(tmp_path / "t", rows("job", 8), app_id="job", version=8, options=new)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("mode", ["append", "overwrite", "error"])
def test_a_crash_at_any_act_of_the_disk_and_a_repetition_land_once(tmp_path: Path, mode: str, after: bool) -> None:
    """Every act that makes bytes durable or visible, one by one: the process ends there, and the write is made again by another."""
    how = DeltaWriteOptions(mode=mode)  # type: ignore[arg-type]
    for number in itertools.count(1):
        path = tmp_path / f"t{number}"
        disk = MortalDisk(number, after, Crash)
        with contextlib.suppress(Crash):
            write_on(disk, path, JOB, how)
        again = write_idempotent(path, rows("job", 7), JOB, options=how)
        assert landed(path) == {("job", 7): 1}, number
        if disk.acts < number:
            assert again.outcome == "already there"
            assert number > 8
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_error_at_any_act_of_the_disk_is_outlived_and_the_truth_told(tmp_path: Path, after: bool) -> None:
    """An act that fails once, before or after its effect: the call goes on, lands once, and does not take its own commit for another's."""
    for number in itertools.count(1):
        path = tmp_path / f"t{number}"
        disk = MortalDisk(number, after, lambda: OSError(errno.ETIMEDOUT, "Connection timed out"))
        done = write_on(disk, path, JOB)
        assert done.outcome == "written", number
        assert done.rows == 3
        assert landed(path) == {("job", 7): 1}, number
        if disk.acts < number:
            return


def test_eight_processes_that_repeat_the_same_writes_land_each_once(tmp_path: Path) -> None:
    """All eight try every write of two writers: of each, one is told that it wrote it, and seven that it was there."""
    said = SPAWN.Queue()
    path, app_ids, versions = str(tmp_path / "t"), ["one", "two"], 4
    writers = [SPAWN.Process(target=write_all, args=(path, app_ids, versions, said)) for _ in range(8)]
    for writer in writers:
        writer.start()
    told = [said.get(timeout=120) for _ in range(8 * len(app_ids) * versions)]
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    every = [(app_id, version) for app_id in app_ids for version in range(versions)]
    assert landed(path) == dict.fromkeys(every, 1)
    # A slow process may find a version below the newest by then: it is told that this was there, which is true.
    assert sorted((app_id, version) for app_id, version, outcome in told if outcome == "written") == sorted(every)


def test_writers_that_are_killed_at_any_moment_land_each_version_once(tmp_path: Path) -> None:
    """Killed by the system, started again at the version that the table has: every one is there, none twice."""
    path, moments = str(tmp_path / "t"), random.Random(3)
    write_idempotent(path, rows("job", 0), app_id="job", version=0, retry=PATIENT)
    for _ in range(6):
        reached = DeltaTable(path).transaction_version("job") or 0
        writer = SPAWN.Process(target=write_for_ever, args=(path, "job", reached), daemon=True)
        writer.start()
        goal = reached + moments.randrange(1, 6)
        wait_until(partial(has_reached, path, goal), 60)
        writer.kill()
        writer.join(30)
        assert writer.exitcode == -signal.SIGKILL
    reached = DeltaTable(path).transaction_version("job") or 0
    assert write_idempotent(path, rows("job", reached), app_id="job", version=reached).outcome == "already there"
    assert landed(path) == {("job", version): 1 for version in range(reached + 1)}


def has_reached(path: str, version: int) -> bool:
    return (DeltaTable(path).transaction_version("job") or 0) >= version
