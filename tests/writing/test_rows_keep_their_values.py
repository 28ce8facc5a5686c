"""What is written is what was given: of any maker, losslessly, in bounded memory, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from landfast.delta_api import DeltaWriteOptions, write_idempotent
from landfast.errors import Misconfigured, Rejected
from landfast.sinks.delta.writing.digest import RowsDigest
from landfast.sinks.delta.writing.fitting import Fitting, new_columns

UTC_NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def wrote(path: Path, data: object, version: int = 1, **options: Any) -> pa.Table:
    """What readers find after a write."""
    write_idempotent(path, data, app_id="job", version=version, options=DeltaWriteOptions(**options))
    return DeltaTable(str(path)).to_pyarrow_table()


@pytest.mark.parametrize(
    "make",
    [
        lambda table: table,
        lambda table: table.to_batches()[0],
        lambda table: table.to_batches(),
        lambda table: table.to_reader(),
        pl.from_arrow,
        duckdb.from_arrow,
    ],
    ids=["table", "batch", "batches", "reader", "polars", "duckdb"],
)
def test_every_maker_of_arrow_is_taken(tmp_path: Path, make: Any) -> None:
    """Pyarrow in all its forms, Polars, DuckDB: the rows that come out are those that went in."""
    given_rows = pa.table(
        {"n": [1, None, 3], "text": ["a", "", None], "when": pa.array([UTC_NOON, None, UTC_NOON], pa.timestamp("us", "UTC"))}
    )
    found = wrote(tmp_path / "t", make(given_rows))
    assert found.sort_by("text").to_pylist() == given_rows.sort_by("text").to_pylist()


def test_what_is_no_arrow_is_refused(tmp_path: Path) -> None:
    """A list of mappings says nothing of its types; the message says what to make of it."""
    with pytest.raises(Misconfigured, match="Arrow stream") as refused:
        write_idempotent(tmp_path / "t", [{"n": 1}], app_id="job", version=1)
    assert refused.value.code == "WRITE_INVALID"
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([255, 0], pa.uint8()),
        ([2**32 - 1], pa.uint32()),
        ([2**64 - 1], pa.uint64()),
        ([1.5, None], pa.float16()),
        (["a", "b"], pa.large_string()),
        (["a", "b"], pa.string_view()),
        (["a", "b", "a"], pa.dictionary(pa.int8(), pa.string())),
        ([b"12", b"34"], pa.binary(2)),
        ([[1], None, []], pa.large_list(pa.int64())),
        ([[1, 2]], pa.list_(pa.int16(), 2)),
        ([{"a": 1, "b": None}], pa.struct([("a", pa.uint8()), ("b", pa.large_string())])),
        ([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        ([Decimal("1.10")], pa.decimal128(5, 2)),
        ([dt.date(2026, 11, 22)], pa.date32()),
        ([UTC_NOON], pa.timestamp("ms", "Europe/Vienna")),
        ([dt.datetime(2026, 11, 22, 12)], pa.timestamp("us")),  # noqa: DTZ001 — a time on the wall
    ],
    ids=str,
)
def test_a_new_table_has_a_type_for_every_value(tmp_path: Path, values: list[Any], kind: pa.DataType) -> None:
    """Also where Delta has no such type: the next that holds each of its values."""
    found = wrote(tmp_path / "t", pa.table({"n": pa.array(values, kind)}))
    assert found.column("n").to_pylist() == values


@pytest.mark.parametrize(
    ("table", "data"),
    [
        (pa.array([1]), pa.array([1.9])),
        (pa.array([1]), pa.array(["5"])),
        (pa.array([1]), pa.array([True])),
        (pa.array([1.0]), pa.array([2**53 + 1])),
        (pa.array([1.0], pa.float32()), pa.array([1.1])),
        (pa.array(["a"]), pa.array([5])),
        (pa.array([UTC_NOON]), pa.array([UTC_NOON.replace(tzinfo=None)])),
        (pa.array([dt.date(2026, 1, 1)]), pa.array([UTC_NOON])),
        (pa.array([{"a": 1}]), pa.array([{"a": 1, "b": 2}])),
        (pa.array([Decimal(1)]), pa.array([1.0])),
    ],
    ids=lambda array: str(array.type),
)
def test_another_kind_of_value_is_refused(tmp_path: Path, table: pa.Array, data: pa.Array) -> None:
    """Deltalake casts these and tells nobody; here nothing is written, and the column is named."""
    wrote(tmp_path / "t", pa.table({"n": table}))
    with pytest.raises(Misconfigured, match="column n is") as refused:
        wrote(tmp_path / "t", pa.table({"n": data}), version=2)
    assert refused.value.code == "SCHEMA_CONFLICT"
    assert DeltaTable(str(tmp_path / "t")).version() == 1


@pytest.mark.parametrize(
    ("table", "data", "row"),
    [
        (pa.array([1], pa.int8()), pa.array([*range(100), 128]), 100),
        (pa.array([UTC_NOON]), pa.array([0, 1], pa.timestamp("ns", "UTC")), 1),
        (pa.array([Decimal("1.1")], pa.decimal128(3, 1)), pa.array([Decimal("1.10"), Decimal("1.11")], pa.decimal128(5, 2)), 1),
    ],
    ids=["too large", "nanoseconds", "digits"],
)
def test_a_value_that_does_not_fit_is_refused_by_its_row(tmp_path: Path, table: pa.Array, data: pa.Array, row: int) -> None:
    """The kind is right and the value is not: nothing of the write lands, and the row is named, not its value."""
    wrote(tmp_path / "t", pa.table({"n": table}))
    with pytest.raises(Rejected, match=f"column n of row {row} ") as refused:
        wrote(tmp_path / "t", pa.table({"n": data}), version=2)
    assert refused.value.code == "ROWS_REFUSED"
    assert DeltaTable(str(tmp_path / "t")).version() == 1
    assert wrote(tmp_path / "t", pa.table({"n": data.slice(0, row)}), version=2).num_rows == 1 + row


def test_columns_are_matched_by_name_and_missing_ones_are_null(tmp_path: Path) -> None:
    """Order does not matter; a column that the table lacks is refused, unless the table is to grow."""
    wrote(tmp_path / "t", pa.table({"a": [1], "b": ["x"]}))
    assert wrote(tmp_path / "t", pa.table({"b": ["y"]}), version=2).sort_by("b").to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    with pytest.raises(Misconfigured, match="the table has no column c"):
        wrote(tmp_path / "t", pa.table({"c": [1]}), version=3)
    grown = wrote(tmp_path / "t", pa.table({"c": [1]}), version=3, schema_mode="merge")
    assert grown.filter(pa.compute.is_valid(grown.column("c"))).to_pylist() == [{"a": None, "b": None, "c": 1}]


def test_partitions_and_files_are_as_asked_and_memory_is_bounded(tmp_path: Path) -> None:
    """Rows of many partitions, more than memory may hold: files are made on the way, each of one partition, none larger than asked."""
    rows = 400_000

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, 10_000):
            numbers = range(start, start + 10_000)
            days = [dt.date(2026, 11, 1 + number % 4) for number in numbers]
            yield pa.record_batch({"day": days, "number": numbers, "text": [f"{number:032d}" for number in numbers]})

    schema = pa.schema([("day", pa.date32()), ("number", pa.int64()), ("text", pa.string())])
    stream = pa.RecordBatchReader.from_batches(schema, batches())
    limits = {"partition_by": ("day",), "memory_bytes_max": 16 << 20, "target_file_bytes": 1 << 30}
    found = wrote(tmp_path / "t", stream, **limits)
    assert found.num_rows == rows
    assert sorted(found.column("number").to_pylist()) == list(range(rows))
    files = DeltaTable(str(tmp_path / "t")).file_uris()
    assert len(files) > 4
    assert {file.split("/")[-2] for file in files} == {f"day=2026-11-{day:02d}" for day in range(1, 5)}


def test_too_many_partitions_and_unfit_partition_values_are_refused(tmp_path: Path) -> None:
    """Nothing lands; the message says which setting, or which column."""
    with pytest.raises(Misconfigured, match="more than 2 partitions"):
        wrote(tmp_path / "t", pa.table({"p": ["a", "b", "c"], "n": [1, 2, 3]}), partition_by=("p",), partitions_max=2)
    with pytest.raises(Rejected, match="column p holds an empty string"):
        wrote(tmp_path / "t", pa.table({"p": ["a", ""], "n": [1, 2]}), partition_by=("p",))
    assert DeltaTable(str(tmp_path / "t")).version() == 0


def test_a_stream_that_breaks_lands_nothing(tmp_path: Path) -> None:
    """The exception of the maker of the rows comes out as it is, and the write may be made again."""

    def breaking() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        message = "the query was cancelled"
        raise RuntimeError(message)

    schema = pa.schema([("n", pa.int64())])
    with pytest.raises(RuntimeError, match="cancelled"):
        wrote(tmp_path / "t", pa.RecordBatchReader.from_batches(schema, breaking()))
    assert wrote(tmp_path / "t", pa.table({"n": [1, 2]})).num_rows == 2


KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "i": (pa.int32(), st.integers(-5, 5)),
    "s": (pa.string(), st.sampled_from(["", "a", "é"])),
    "y": (pa.binary(), st.binary(max_size=2)),
    "b": (pa.bool_(), st.booleans()),
    "f": (pa.float64(), st.floats(allow_nan=False, width=16)),
    "d": (pa.decimal128(10, 2), st.integers(-99, 99).map(lambda cents: Decimal(cents).scaleb(-2))),
    "l": (pa.list_(pa.int32()), st.lists(st.none() | st.integers(0, 3), max_size=3)),
    "o": (
        pa.struct([("x", pa.int32()), ("l", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"x": st.none() | st.integers(0, 3), "l": st.none() | st.lists(st.sampled_from(["", "z"]), max_size=2)}),
    ),
    "m": (
        pa.map_(pa.string(), pa.int32()),
        st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2).map(lambda m: [*m.items()]),
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, (_, values) in KINDS.items()}), max_size=12)


def digest_of_rows(schema: pa.Schema, batches: list[pa.RecordBatch]) -> str:
    digest = RowsDigest(schema)
    for batch in batches:
        digest.add(batch)
    return digest.hexdigest()


@given(ROWS, ROWS, st.integers(1, 5))
def test_the_digest_tells_rows_apart_and_does_not_see_batches(one: list[Any], other: list[Any], size: int) -> None:
    """Equal for the same rows in the same order, however they are sliced and whatever lies below their nulls; else different."""
    table, second = pa.Table.from_pylist(one, SCHEMA), pa.Table.from_pylist(other, SCHEMA)
    sliced = [batch for start in range(0, len(one), size) for batch in table.slice(start, size).to_batches()]
    assert digest_of_rows(SCHEMA, sliced) == digest_of_rows(SCHEMA, table.to_batches())
    # As one stream: the same rows again, behind others, in memory of their own.
    behind = pa.concat_tables([second, table]).slice(len(other))
    assert digest_of_rows(SCHEMA, behind.to_batches()) == digest_of_rows(SCHEMA, table.to_batches())
    assert (digest_of_rows(SCHEMA, second.to_batches()) == digest_of_rows(SCHEMA, table.to_batches())) == (
        table.to_pylist() == second.to_pylist()
    )


def test_new_columns_keep_what_must_not_be_null() -> None:
    """A required column of the rows is one of the table, and rows with a null in it are refused by number."""
    required = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    assert new_columns(required) == required
    fitting = Fitting(pa.schema([("n", pa.int64())]), required)
    fitting.fitted(pa.record_batch({"n": [1, 2]}))
    with pytest.raises(Rejected, match="row 3 "):
        fitting.fitted(pa.record_batch({"n": [1, None]}))
