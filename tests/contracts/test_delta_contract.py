"""The Delta sink and its dead letters keep every promise of their ports, on real tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from tests.sinks.delta_world import DeltaWorld

from landfast.model import Rows
from landfast.ports import Sink
from landfast.testing.suites import SINK_CHECKS, Landed, SinkHarness

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
