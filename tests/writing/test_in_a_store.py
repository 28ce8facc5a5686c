"""In an object store: the same promises, where an answer may be lost after the object is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from obstore.store import ObjectStore

from landfast.delta_api import (
    DeltaWriteOptions,
    DeltaWriteResult,
    IdempotentWriteOptions,
    complete_commits,
    sealed,
    start_run,
    write_idempotent,
)
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.object_store import Objects
from landfast.sinks.delta.files.paths import at_end_of, way_to
from landfast.sinks.delta.writing import replacing
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock
from landfast.testing.memory import RecordingObserver
from landfast.testing.stores import BUCKET, FakeS3
from tests.writing.writers import PATIENT, rows

pytestmark = pytest.mark.system
JOB = IdempotentWriteOptions("job", 7)


@pytest.fixture(scope="module")
def store() -> Iterator[FakeS3]:
    with FakeS3() as one:
        yield one


class Deaf(Objects):
    """A store whose answers to the first creations are lost, after their effect."""

    def __init__(self, lost: int) -> None:
        self.lost = lost

    def create(self, store: ObjectStore, name: str, content: bytes) -> bool:
        """See `Objects`."""
        made = super().create(store, name, content)
        if self.lost:
            self.lost -= 1
            message = "connection reset by peer"
            raise OSError(message)
        return made


def deaf_write(path: str, options: dict[str, str], how: DeltaWriteOptions) -> DeltaWriteResult:
    disk = Disk()
    disk.objects = Deaf(3)
    target = target_of(path, options, how, SystemClock(), RecordingObserver(), disk)
    return write(target, rows("job", 7), JOB, how, PATIENT)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_lost_answer_is_not_taken_for_anothers_commit(store: FakeS3, mode: str) -> None:
    """The commit is there, the answer is not: the next attempt finds it, and says written, in the version that it was."""
    path, options = f"s3://{BUCKET}/deaf-{mode}", store.storage_options
    write_idempotent(path, rows("old", 1), app_id="old", version=1, storage_options=options)
    done = deaf_write(path, options, DeltaWriteOptions(mode=mode))  # type: ignore[arg-type]
    assert (done.outcome, done.attempts, done.table_version, done.files) == ("written", 1, 2, 1)
    table = DeltaTable(path, storage_options=options)
    assert (table.version(), table.to_pyarrow_table().num_rows) == (2, 6 if mode == "append" else 3)
    again = write_idempotent(path, rows("job", 7), JOB, options=DeltaWriteOptions(mode=mode), storage_options=options)  # type: ignore[arg-type]
    assert (again.outcome, again.table_version) == ("already there", 2)


def test_several_tables_in_a_store_are_sealed(store: FakeS3) -> None:
    """Intent, shares and seal lie in the store; whoever has its address finds them."""
    first, second = (f"s3://{BUCKET}/lake/{name}" for name in ("a", "b"))
    run, options = start_run("pair", run_id="r1"), store.storage_options
    for outcome in ("written", "already there"):
        with run.commit_to(first, second, storage_options=options) as commit:
            commit.write(first, rows("a", 0))
            commit.write(second, rows("b", 0))
        assert [result.outcome for result in commit.results.values()] == [outcome] * 2
    assert complete_commits(second, storage_options=options) == []
    assert sealed(first, second, storage_options=options) == {first: 1, second: 1}


def test_a_part_is_replaced_once(store: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a store deltalake commits, once, on the version that was compared; a rival makes it look again."""
    path, options = f"s3://{BUCKET}/part", store.storage_options
    given, by_day = pa.table({"day": ["b", "b"], "n": [70, 71]}), DeltaWriteOptions(mode="overwrite", predicate="day = 'b'")
    write_deltalake(path, pa.table({"day": ["a", "b", "c"], "n": [1, 2, 3]}), storage_options=options)
    real, rivals = write_deltalake, [1, 2]

    def late(table: DeltaTable, *args: Any, **more: Any) -> None:
        if rivals:
            real(path, pa.table({"day": ["b"], "n": [90 + rivals.pop()]}), mode="append", storage_options=options)
        real(table, *args, **more)

    monkeypatch.setattr(replacing, "write_deltalake", late)
    done = write_idempotent(path, given, JOB, options=by_day, storage_options=options, retry=PATIENT)
    assert (done.outcome, done.attempts, done.table_version, done.rows) == ("written", 3, 3, 2)
    assert done.files >= 1
    found = DeltaTable(path, storage_options=options).to_pyarrow_table().to_pylist()
    assert sorted((row["day"], row["n"]) for row in found) == [("a", 1), ("b", 70), ("b", 71), ("c", 3)]
    assert write_idempotent(path, given, JOB, options=by_day, storage_options=options).outcome == "already there"


@pytest.mark.parametrize(
    ("path", "origin", "way"),
    [
        ("/lake/b", "/lake/a", "../b"),
        ("/lake/a", "/lake/a", "."),
        ("file:///lake/b", "/lake/a", "../b"),
        ("s3://bucket/lake/b", "s3://bucket/lake/a", "../b"),
        ("s3://bucket/lake/a/", "s3://bucket/lake/a", "."),
        ("s3://other/lake/b", "s3://bucket/lake/a", "s3://other/lake/b"),
        ("/lake/b", "s3://bucket/lake/a", "/lake/b"),
        ("s3://bucket/lake/a", "/lake/b", "s3://bucket/lake/a"),
    ],
)
def test_the_way_to_a_table_leads_there(path: str, origin: str, way: str) -> None:
    """Relative where the two can be moved together, whole where they cannot."""
    assert way_to(path, origin) == way
    assert at_end_of(way, origin) == path.removeprefix("file://").rstrip("/")
