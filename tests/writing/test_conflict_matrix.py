"""Whatever others do to the table between look and commit: the rows land once, beside what the others did, and the truth is told."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

from landfast.delta_api import DeltaWriteOptions, IdempotentWriteOptions, write_idempotent
from landfast.errors import Broken, Misconfigured
from tests.writing.writers import Crash, MortalDisk, landed, rows, write_all, write_on

SPAWN = multiprocessing.get_context("spawn")
JOB = IdempotentWriteOptions("job", 7)
MODES = {
    "append": DeltaWriteOptions(),
    "overwrite": DeltaWriteOptions(mode="overwrite"),
    "predicate": DeltaWriteOptions(mode="overwrite", predicate="app = 'job'"),
}


def append(path: str) -> None:
    write_idempotent(path, rows("rival", 1), app_id="rival", version=1)


def add_column(path: str) -> None:
    DeltaTable(path).alter.add_columns([Field("more", PrimitiveType("long"))])


def set_property(path: str) -> None:
    DeltaTable(path).alter.set_table_properties({"delta.checkpointInterval": "7"})


def compact(path: str) -> None:
    DeltaTable(path).optimize.compact()


def delete(path: str) -> None:
    DeltaTable(path).delete("app = 'old' and version = 1")


def update(path: str) -> None:
    DeltaTable(path).update(updates={"app": "'new'"}, predicate="app = 'old' and version = 1")


def overwrite(path: str) -> None:
    write_deltalake(path, rows("rival", 2), mode="overwrite")


def merge(path: str) -> None:
    source = rows("rival", 3)
    DeltaTable(path).merge(source, "t.app = s.app", source_alias="s", target_alias="t").when_not_matched_insert_all().execute()


def checkpoint(path: str) -> None:
    DeltaTable(path).create_checkpoint()
    DeltaTable(path).cleanup_metadata()


def vacuum(path: str) -> None:
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


OLD = {("old", 1): 1, ("old", 2): 1}
DISTURBANCES: dict[Callable[[str], None], dict[tuple[str, int], int]] = {
    append: {**OLD, ("rival", 1): 1},
    add_column: OLD,
    set_property: OLD,
    compact: OLD,
    delete: {("old", 2): 1},
    update: {("new", 1): 1, ("old", 2): 1},
    overwrite: {("rival", 2): 1},
    merge: {**OLD, ("rival", 3): 1},
    checkpoint: OLD,
}


class Disturbed(MortalDisk):
    """A disk on which others do something just before the first entry is put, after all that it stands on was looked at."""

    def __init__(self, path: str, disturb: Callable[[str], None]) -> None:
        super().__init__(0, after=False, error=Crash)
        self._path = path
        self._disturb: Callable[[str], None] | None = disturb

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        disturb, self._disturb = self._disturb, None if name.suffix == ".json" else self._disturb
        if disturb is not None and self._disturb is None:
            disturb(self._path)
        super().link(path, name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda one: one.__name__)
def test_what_others_do_between_look_and_commit_is_kept_and_the_rows_land_once(
    tmp_path: Path, mode: str, disturb: Callable[[str], None]
) -> None:
    """Each way to change a table against each way to write: nobody's rows are lost, doubled, or brought back."""
    path = str(tmp_path / "t")
    for version in (1, 2):
        write_idempotent(path, rows("old", version), app_id="old", version=version)
    done = write_on(Disturbed(path, disturb), tmp_path / "t", JOB, MODES[mode])
    # A checkpoint makes no version, so it is in nobody's way.
    assert (done.outcome, done.attempts, done.table_version) == ("written", 1 if disturb is checkpoint else 2, DeltaTable(path).version())
    others = {} if mode == "overwrite" else DISTURBANCES[disturb]
    assert landed(path) == {**others, ("job", 7): 1}
    assert write_on(Disturbed(path, compact), tmp_path / "t", JOB, MODES[mode]).outcome == "already there"
    assert landed(path) == {**others, ("job", 7): 1}


@pytest.mark.parametrize("mode", MODES)
def test_the_same_write_between_look_and_commit_wins_and_that_is_told(tmp_path: Path, mode: str) -> None:
    """Another call of it comes first, in whichever mode: this one finds its rows there."""
    path = str(tmp_path / "t")
    write_idempotent(path, rows("old", 1), app_id="old", version=1)
    done = write_on(Disturbed(path, lambda at: _same(at, mode)), tmp_path / "t", JOB, MODES[mode])
    assert (done.outcome, done.attempts, done.table_version) == ("already there", 1, 1 + 1)
    assert landed(path)["job", 7] == 1


def _same(path: str, mode: str) -> None:
    write_idempotent(path, rows("job", 7), JOB, options=MODES[mode])


def test_a_clean_up_that_takes_files_before_they_are_named_stops_the_write(tmp_path: Path) -> None:
    """Vacuum without any retention takes what no commit names yet: the write is told so, or has landed whole; made again, it lands once."""
    path = str(tmp_path / "t")
    write_idempotent(path, rows("old", 1), app_id="old", version=1)

    def vacuumed(at: str) -> None:
        append(at)
        vacuum(at)

    with pytest.raises(Broken) as stopped:
        write_on(Disturbed(path, vacuumed), tmp_path / "t", JOB)
    assert stopped.value.code == "STAGED_FILE_GONE"
    assert write_idempotent(path, rows("job", 7), JOB).outcome == "written"
    assert landed(path) == {("old", 1): 1, ("rival", 1): 1, ("job", 7): 1}


def test_columns_that_do_not_fit_any_more_are_told(tmp_path: Path) -> None:
    """Somebody replaces the schema in between: the files that were written for the former one do not land."""
    path = str(tmp_path / "t")
    write_idempotent(path, rows("old", 1), app_id="old", version=1)

    def replace_schema(at: str) -> None:
        other = pa.table({"app": ["new"], "version": ["one"], "row": [0]})
        write_deltalake(at, other, mode="overwrite", schema_mode="overwrite")

    with pytest.raises(Misconfigured) as refused:
        write_on(Disturbed(path, replace_schema), tmp_path / "t", JOB)
    assert refused.value.code == "SCHEMA_CONFLICT"
    assert DeltaTable(path).to_pyarrow_table().num_rows == 1


def test_eight_processes_and_others_who_change_the_table_meanwhile(tmp_path: Path) -> None:
    """Four writers of their own names, four of one that they share, while columns come, files are joined, rows go and are replaced."""
    path, versions = str(tmp_path / "t"), 3
    said = SPAWN.Queue()
    write_idempotent(path, rows("old", 1), app_id="old", version=1)
    app_ids = [*(f"own{number}" for number in range(4)), *["shared"] * 4]
    writers = [SPAWN.Process(target=write_all, args=(path, [app_id], versions, said)) for app_id in app_ids]
    for writer in writers:
        writer.start()
    told = []
    for number in range(8 * versions):
        told.append(said.get(timeout=120))
        if number % 3 == 0:
            disturb_by_turns(path, number // 3)
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    every = [(app_id, version) for app_id in sorted(set(app_ids)) for version in range(versions)]
    assert {write: times for write, times in landed(path).items() if write[0] not in {"old", "rival"}} == dict.fromkeys(every, 1)
    assert sorted((app_id, version) for app_id, version, outcome in told if outcome == "written") == every


def disturb_by_turns(path: str, turn: int) -> None:
    """What another tool does to the table, with as many attempts as it takes against eight writers."""
    for _ in range(200):
        try:
            match turn % 4:
                case 0:
                    DeltaTable(path).alter.add_columns([Field(f"more{turn}", PrimitiveType("long"))])
                case 1:
                    compact(path)
                case 2:
                    DeltaTable(path).delete("app = 'old' or app = 'rival'")
                case _:
                    write_deltalake(DeltaTable(path), rows("rival", turn), mode="overwrite", predicate="app = 'rival'", schema_mode="merge")
        except DeltaError:
            continue
        return
