"""The Delta sink and its dead letters keep every promise of their ports, on real tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast.model import TIMESTAMP_ABSENT, Letter, Rows, Stream
from landfast.ports import DeadLetters, Sink
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, UpsertSettings, letters_path
from landfast.testing.suites import DEAD_LETTERS_CHECKS, SINK_CHECKS, Landed, LettersHarness, SinkHarness
from tests.sinks.delta_world import DeltaWorld

VALUES = pa.schema([pa.field("value", pa.binary())])


class DeltaSinkHarness:
    """One table on disk; every sink is opened as another run."""

    def __init__(self, folder: Path) -> None:
        self.world = DeltaWorld(str(folder / "table"), VALUES)
        self.runs = itertools.count()

    def open_sink(self) -> Sink:
        """See `SinkHarness`."""
        return self.world.sink(run_id=f"run-{next(self.runs)}")

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """See `SinkHarness`."""
        return pa.table({"value": pa.array(values, pa.binary())}, schema=VALUES)

    def landed(self) -> Sequence[Landed]:
        """See `SinkHarness`."""
        if not DeltaTable.is_deltatable(self.world.path):
            return []
        rows = DeltaTable(self.world.path).to_pyarrow_table().to_pylist()
        return [(row["_topic"], row["_partition"], row["_offset"], row["value"]) for row in rows]

    def refused_value(self) -> bytes | None:
        """Bytes always fit a binary column; `tests/sinks/test_delta_types.py` has the refusals."""
        return None


@pytest.mark.parametrize("promise", SINK_CHECKS, ids=lambda promise: promise.__name__)
def test_the_delta_sink_keeps_its_promises(promise: Callable[[SinkHarness], None], tmp_path: Path) -> None:
    """Each promise of `ports.Sink`, on a fresh table."""
    promise(DeltaSinkHarness(tmp_path))


class UpsertSinkHarness(DeltaSinkHarness):
    """The same with one row per key, where each row that is made has a key of its own, so that whatever lands twice is there twice."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        schema = pa.schema([*VALUES, pa.field("id", pa.int64())])
        self.world = DeltaWorld(str(folder / "table"), schema, DeltaSettings(path="", upsert=UpsertSettings(("id",))))
        self.ids = itertools.count()

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """See `SinkHarness`."""
        ids = [next(self.ids) for _ in values]
        return pa.table({"value": pa.array(values, pa.binary()), "id": pa.array(ids, pa.int64())})


@pytest.mark.parametrize("promise", SINK_CHECKS, ids=lambda promise: promise.__name__)
def test_the_delta_sink_keeps_its_promises_with_one_row_per_key(promise: Callable[[SinkHarness], None], tmp_path: Path) -> None:
    """Each promise of `ports.Sink`, on a fresh table that holds one row per key."""
    promise(UpsertSinkHarness(tmp_path))


class DeltaLettersHarness:
    """One pair of tables on disk; the letters are opened as another run each time."""

    def __init__(self, folder: Path) -> None:
        self.world = DeltaWorld(str(folder / "table"), VALUES)
        self.runs = itertools.count()

    def open_letters(self) -> DeadLetters:
        """See `LettersHarness`."""
        return DeltaDeadLetters(self.world.home(run_id=f"run-{next(self.runs)}"))

    def buried(self) -> Sequence[Letter]:
        """See `LettersHarness`."""
        path = letters_path(self.world.path)
        if not DeltaTable.is_deltatable(path):
            return []
        return [_letter_of(row) for row in DeltaTable(path).to_pyarrow_table().to_pylist()]


def _letter_of(row: dict[str, Any]) -> Letter:
    return Letter(
        stream=Stream(row["topic"], row["topic_id"], row["partition"]),
        offset=row["offset"],
        timestamp=TIMESTAMP_ABSENT if row["timestamp"] is None else round(row["timestamp"].timestamp() * 1000),
        key=row["key"],
        value=row["value"],
        headers=tuple((header["name"], header["value"]) for header in row["headers"]),
        phase=row["phase"],
        reason=row["reason"],
        message=row["message"],
        attempts=row["attempts"],
        failed_at=row["last_failed_at"].timestamp(),
    )


@pytest.mark.parametrize("promise", DEAD_LETTERS_CHECKS, ids=lambda promise: promise.__name__)
def test_the_delta_dead_letters_keep_their_promises(promise: Callable[[LettersHarness], None], tmp_path: Path) -> None:
    """Each promise of `ports.DeadLetters`, on a fresh table."""
    promise(DeltaLettersHarness(tmp_path))
