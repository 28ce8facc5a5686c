"""What the design stands on, measured against the installed deltalake and pyarrow: a new version that changes it fails here.

The numbers are those of the experiments in the fault catalogue's specification, M1 to M13. That deltalake syncs nothing (M6) cannot be
seen from inside a process; the order of our own syncs is proved in `tests/sinks/test_delta_durability.py`. Killed writers (M14) are in
`tests/sinks/test_delta_processes.py`.
"""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

APP = "app"
ROWS = pa.table({"number": pa.array(range(10), pa.int64())})
FLIPS = 40


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A table with one row."""
    place = str(tmp_path / "probe")
    write_deltalake(place, ROWS.slice(0, 1))
    return place


def append(table: DeltaTable | str, *transactions: Transaction) -> None:
    write_deltalake(table, ROWS, mode="append", commit_properties=CommitProperties(app_transactions=list(transactions) or None))


def rows(path: str) -> int:
    return DeltaTable(path).to_pyarrow_table().num_rows


def watermark(path: str) -> int | None:
    return DeltaTable(path).transaction_version(APP)


def last_entry(path: str) -> Path:
    return max((Path(path) / "_delta_log").glob("*.json"))


def test_v7_probe_m1_a_transaction_version_that_is_there_is_accepted_again(path: str) -> None:
    """So whoever commits has to look himself."""
    append(path, Transaction(APP, 10))
    append(path, Transaction(APP, 10))
    assert rows(path) == 21


def test_v7_probe_m2_a_lower_transaction_version_is_accepted_and_goes_back(path: str) -> None:
    """So a position may only be moved from where it was seen."""
    append(path, Transaction(APP, 10))
    append(path, Transaction(APP, 5))
    assert watermark(path) == 5


def test_v7_probe_m3_of_two_handles_on_one_snapshot_the_second_is_refused(path: str) -> None:
    """The conflict that others' commits of a take-over or a compaction run into."""
    one, other = DeltaTable(path), DeltaTable(path)
    append(one, Transaction(APP, 1))
    with pytest.raises(CommitFailedError, match="Concurrent transaction failed"):
        append(other, Transaction(APP, 1))
    assert rows(path) == 11


def test_v7_probe_m4_a_write_by_path_looks_at_nothing_that_was_compared(path: str) -> None:
    """The table is loaded anew inside the call, so nothing is ever written by path."""
    looked = DeltaTable(path)
    append(path, Transaction(APP, 1))
    assert looked.transaction_version(APP) is None
    append(path, Transaction(APP, 1))
    assert rows(path) == 21


def test_v7_probe_m5_appends_without_a_transaction_never_conflict(path: str) -> None:
    """So every commit of ours carries one."""
    one, other = DeltaTable(path), DeltaTable(path)
    append(one)
    append(other)
    assert rows(path) == 21


def test_v7_probe_m7_an_empty_last_entry_is_an_empty_commit(path: str) -> None:
    """It opens in silence at the older position, and the next write goes on: the start looks at the tail before deltalake does."""
    append(path, Transaction(APP, 1))
    append(path, Transaction(APP, 2))
    last_entry(path).write_bytes(b"")
    assert (rows(path), watermark(path), DeltaTable(path).version()) == (11, 1, 2)
    append(path, Transaction(APP, 2))
    assert rows(path) == 21


def test_v7_probe_m8_half_an_entry_makes_the_table_unreadable(path: str) -> None:
    """Loudly."""
    append(path)
    entry = last_entry(path)
    entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    with pytest.raises(Exception, match=r"[Jj]son|truncated|EOF"):
        DeltaTable(path)


def flipped(folder: Path, *, checksums: bool) -> list[bool]:
    """For each of some bits of a file's pages: whether a read that verifies checksums says that it was flipped."""
    file = folder / f"{checksums}.parquet"
    draw = random.Random(1)
    table = pa.table({"number": pa.array([draw.randrange(2**62) for _ in range(2000)], pa.int64())})
    pq.write_table(table, file, compression="none", use_dictionary=False, write_page_checksum=checksums)
    column = pq.read_metadata(file).row_group(0).column(0)
    whole = file.read_bytes()
    loud = []
    for _ in range(FLIPS):
        place = column.data_page_offset + column.total_compressed_size - 1 - draw.randrange(8000)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        try:
            pq.read_table(file, page_checksum_verification=True)
        except OSError:
            loud.append(True)
        else:
            loud.append(False)
    return loud


def test_v7_probe_m9_m10_flipped_bits_are_seen_where_pages_have_checksums_and_only_there(tmp_path: Path) -> None:
    """So our files have them, and `verify` asks for them."""
    assert not any(flipped(tmp_path, checksums=False))
    assert all(flipped(tmp_path, checksums=True))


def test_v7_probe_m11_a_restore_takes_rows_back_and_leaves_the_transaction_version(path: str) -> None:
    """So a restore is looked for in the log's entries, and halts."""
    append(path, Transaction(APP, 1))
    append(path, Transaction(APP, 2))
    DeltaTable(path).restore(1)
    assert (rows(path), watermark(path)) == (11, 2)


def test_v7_probe_m12_what_others_do_to_a_table_leaves_the_transaction_version(path: str) -> None:
    """Overwrite, optimize, vacuum, checkpoint and the clean-up of the log."""
    append(path, Transaction(APP, 7))
    write_deltalake(path, ROWS, mode="overwrite")
    append(path)
    table = DeltaTable(path)
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    assert watermark(path) == 7


def test_v7_probe_m13_only_transactions_that_tell_their_time_expire(tmp_path: Path) -> None:
    """So ours never tell it, and a table with the property is refused."""
    place = str(tmp_path / "probe")
    write_deltalake(place, ROWS, configuration={"delta.setTransactionRetentionDuration": "interval 1 days"})
    long_ago = int((dt.datetime.now(dt.UTC) - dt.timedelta(days=3)).timestamp() * 1000)
    append(place, Transaction(APP, 1), Transaction("timed", 1, long_ago))
    assert (watermark(place), DeltaTable(place).transaction_version("timed")) == (1, None)
    DeltaTable(place).create_checkpoint()
    assert watermark(place) == 1
