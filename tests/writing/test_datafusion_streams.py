"""What DataFusion computes goes into a table as it comes, also where it reads tables of the same lake."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from datafusion import SessionContext
from deltalake import DeltaTable, write_deltalake

from landfast.delta_api import DeltaWriteOptions, write_idempotent
from landfast.errors import Rejected


def test_a_result_without_end_is_refused_at_its_first_misfit(tmp_path: Path) -> None:
    """A trillion rows, of which the 32,768th does not fit: nobody waits for the rest, and nothing of it lands."""
    path = str(tmp_path / "t")
    write_deltalake(path, pa.table({"n": pa.array([], pa.int16())}))
    endless = SessionContext().sql("select value as n from generate_series(1, 1000000000000)")
    with pytest.raises(Rejected, match=r"row 32,767 "):
        write_idempotent(path, endless, app_id="job", version=1)
    assert not DeltaTable(path).file_uris()


def test_a_large_result_lands_in_bounded_memory(tmp_path: Path) -> None:
    """More than the memory that rows may wait in: they go to files of their own before the last of them is computed."""
    context, path = SessionContext(), str(tmp_path / "t")
    large = context.sql("select value as n, repeat(cast(value as varchar), 12) as text from generate_series(1, 400000)")
    small = DeltaWriteOptions(target_file_bytes=2**20 * 4, memory_bytes_max=2**20 * 16)
    done = write_idempotent(path, large, app_id="job", version=1, options=small)
    assert (done.outcome, done.rows) == ("written", 400_000)
    assert done.files > 5
    table = DeltaTable(path).to_pyarrow_table()
    assert table.column("n").unique().sort().to_pylist() == list(range(1, 400_001))


def test_a_query_over_a_table_of_the_same_lake_lands_once(tmp_path: Path) -> None:
    """The table is registered as it is, the query is computed again for the repetition, and its rows are known."""
    write_deltalake(str(tmp_path / "orders"), pa.table({"day": ["a", "b", "b"], "amount": [1, 2, 3]}))
    context = SessionContext()
    context.register_table("orders", DeltaTable(str(tmp_path / "orders")))
    for outcome in ("written", "already there"):
        per_day = context.sql("select day, sum(amount) as amount from orders group by day order by day")
        assert write_idempotent(tmp_path / "per_day", per_day, app_id="per-day", version=1).outcome == outcome
    assert DeltaTable(str(tmp_path / "per_day")).to_pyarrow_table().to_pylist() == [{"day": "a", "amount": 1}, {"day": "b", "amount": 5}]
