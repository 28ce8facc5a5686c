"""What lands is what was decoded: every type, every partition, read by others; and what does not fit is refused, not changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast import Outcome, Pipeline, RunReport
from landfast.cli import exits
from landfast.errors import Halted, Rejected
from landfast.model import TIMESTAMP_ABSENT, Chunk, Decoded
from landfast.system import SystemClock
from landfast.testing.memory import MemoryDeadLetters, MemoryGroup, MemoryLetterStore, MemoryLog, MemorySource
from tests.sinks.delta_world import NUMBERS, DeltaWorld, batch_of, chunk_of, decoded_of, stream

LANE = stream(0)
NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=dt.UTC)

EVERY_TYPE: dict[str, tuple[pa.DataType, list[Any]]] = {
    "string": (pa.string(), ["", "Grüße, 世界 🚀", "x" * 200, None]),
    "binary": (pa.binary(), [b"", b"\x00\xff", b"y" * 200, None]),
    "boolean": (pa.bool_(), [True, False, True, None]),
    "int8": (pa.int8(), [-128, 127, 0, None]),
    "int16": (pa.int16(), [-32768, 32767, 0, None]),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1, 0, None]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1, 2**53 + 1, None]),
    "float32": (pa.float32(), [1.5, -0.0, 3.4028234663852886e38, None]),
    "float64": (pa.float64(), [0.1, -1.7976931348623157e308, 5e-324, None]),
    "decimal": (pa.decimal128(38, 10), [Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.0000000001"), Decimal(0), None]),
    "date": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1), None]),
    "moment": (
        pa.timestamp("us", "UTC"),
        [NOON, dt.datetime(1, 1, 1, tzinfo=dt.UTC), NOON.replace(year=1968), None],
    ),
    "local": (pa.timestamp("us"), [NOON.replace(tzinfo=None), dt.datetime(1900, 1, 1), dt.datetime(2262, 4, 12), None]),  # noqa: DTZ001
    "list": (pa.list_(pa.field("element", pa.int64())), [[1, None, 3], [], [2**60], None]),
    "struct": (
        pa.struct([pa.field("a", pa.string()), pa.field("b", pa.struct([pa.field("c", pa.float64())]))]),
        [{"a": "x", "b": {"c": 1.5}}, {"a": None, "b": None}, {"a": "", "b": {"c": None}}, None],
    ),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", 1), ("b", None)], [], [("世界", 3)], None]),
}


def test_every_type_lands_exactly_and_is_read_by_others(world: DeltaWorld) -> None:
    """Extreme values, nulls and empty values of every type come back from DuckDB and Polars as they went in."""
    world.schema = pa.schema([pa.field(name, kind) for name, (kind, _) in EVERY_TYPE.items()])
    rows = pa.table({name: pa.array(values, kind) for name, (kind, values) in EVERY_TYPE.items()}, schema=world.schema)
    sink = world.sink(unknown_fields="dead")
    decoded = Decoded(chunk_of(LANE, range(4), 4), rows)
    sink.commit([sink.stage(batch_of(decoded, first=True))])

    expected = rows.to_pylist()
    back = DeltaTable(world.path).to_pyarrow_table().sort_by("_offset")
    assert back.select(list(EVERY_TYPE)).to_pylist() == expected
    assert back.column("_timestamp").to_pylist()[0] == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)

    polars = pl.read_delta(world.path).sort("_offset")
    plain = [name for name in EVERY_TYPE if name != "map"]
    assert polars.select(plain).to_dicts() == rows.select(plain).to_pylist()

    duck = duckdb.connect()
    duck.execute("set TimeZone = 'UTC'")
    table = DeltaTable(world.path).to_pyarrow_dataset()
    found = duck.from_arrow(table).order("_offset").to_arrow_table()
    assert found.num_rows == 4
    assert found.column("int64").to_pylist() == [row["int64"] for row in expected]
    assert found.column("string").to_pylist() == [row["string"] for row in expected]


def test_statistics_hide_no_row(world: DeltaWorld) -> None:
    """Whatever value is asked for, pruning by the log's statistics finds it: bounds are rounded outwards."""
    kinds = {"text": pa.string(), "moment": pa.timestamp("us", "UTC"), "ratio": pa.float64(), "count": pa.int64(), "day": pa.date32()}
    kinds |= {"on": pa.bool_(), "price": pa.decimal128(38, 10), "long": pa.string(), "bytes": pa.binary()}
    kinds |= {f"more_{number}": pa.string() for number in range(30)}
    world.schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])
    values: dict[str, list[Any]] = {
        "text": ["a" * 40, "\U0010ffff" * 40, "m", "Z" * 33],
        "moment": [NOON, NOON.replace(microsecond=999999), NOON.replace(microsecond=1), NOON],
        "ratio": [float("nan"), float("inf"), 0.1, -0.1],
        "count": [1, 2**63 - 1, -(2**63), 2**53 + 1],
        "day": [dt.date(2024, 1, 1), dt.date(2024, 1, 2), None, None],
        "on": [True, False, None, True],
        "price": [Decimal("0.1"), Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.0000000001"), None],
        "long": ["z" * 10_000, "z" * 9_999, "z", None],
        "bytes": [b"a" * 40, b"\xff", b"", None],
    }
    values |= {f"more_{number}": ["a", None, "c", "d"] for number in range(30)}
    sink = world.sink()
    for offset in range(4):
        rows = {name: pa.array([values[name][offset]], kind) for name, kind in kinds.items()}
        decoded = Decoded(chunk_of(LANE, [offset], offset + 1), pa.table(rows, schema=world.schema))
        sink.commit([sink.stage(batch_of(decoded, first=offset == 0))])
    for name in kinds:
        for value in values[name]:
            if value is None or value != value:  # noqa: PLR0124 — NaN equals nothing, not even itself
                continue
            count = sum(other == value for other in values[name])
            assert pl.scan_delta(world.path).filter(pl.col(name) == value).collect().height == count, (name, value)
            assert DeltaTable(world.path).to_pyarrow_table(filters=[(name, "=", value)]).num_rows == count, (name, value)
    assert DeltaTable(world.path).count() == 4


AWKWARD = ["plain", "a/b", "..", "line\nbreak", "x" * 200, "per%20cent", "Grüße 世界", "null", "=", None]


def test_d15_partitions_hold_any_value(world: DeltaWorld) -> None:
    """Values that no path could hold, null, and two columns at once come back from every reader, in order."""
    world.schema = pa.schema([*NUMBERS, pa.field("day", pa.date32()), pa.field("on", pa.bool_())])
    world.settings = replace(world.settings, partition_by=("text", "day", "on"))
    count = 60
    rows = pa.table(
        {
            "number": list(range(count)),
            "text": [AWKWARD[index % len(AWKWARD)] for index in range(count)],
            "day": [dt.date(2024, 1, 1 + index % 2) if index % 3 else None for index in range(count)],
            "on": [index % 2 == 0 for index in range(count)],
        },
        schema=world.schema,
    )
    sink = world.sink()
    receipt = sink.commit([sink.stage(batch_of(Decoded(chunk_of(LANE, range(count), count), rows), first=True))])
    assert receipt.files == len({tuple(row.items())[1:] for row in rows.to_pylist()})
    back = DeltaTable(world.path).to_pyarrow_table().sort_by("_offset").select(world.schema.names)
    assert back.to_pylist() == rows.to_pylist()
    assert pl.read_delta(world.path).sort("_offset").select(world.schema.names).to_dicts() == rows.to_pylist()
    for value in AWKWARD[:-1]:
        found = DeltaTable(world.path).to_pyarrow_table(filters=[("text", "=", value)]).num_rows
        assert found == count // len(AWKWARD), value


def test_order_is_kept_inside_every_partition(world: DeltaWorld) -> None:
    """Rows of one partition of the table lie in the file in the order they were read."""
    world.settings = replace(world.settings, partition_by=("text",))
    rows = {"number": list(range(1000)), "text": [f"p{index * 7 % 5}" for index in range(1000)]}
    sink = world.sink()
    sink.commit([sink.stage(batch_of(decoded_of(LANE, 0, 1000, rows=rows), first=True))])
    for value in {*rows["text"]}:
        offsets = DeltaTable(world.path).to_pyarrow_table(filters=[("text", "=", value)]).column("_offset").to_pylist()
        assert offsets == sorted(offsets)


class NoColumns:
    """A decoder whose rows have nothing but their coordinates."""

    def decode(self, chunk: Chunk) -> Decoded:
        """One row per record."""
        return Decoded(chunk, pa.table({"text": pa.nulls(len(chunk), pa.string())}))


def test_a_batch_for_too_many_partitions_writes_nothing_and_says_what_to_do(world: DeltaWorld) -> None:
    """A column like an id would take a file per row: at the limit all lands, above it nothing is written, and a higher limit lands it."""
    world.settings = replace(world.settings, partition_by=("_partition", "text"))
    sink = world.sink(partitions_per_batch_max=10)
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    files = sorted(Path(world.path).rglob("*.parquet"))
    with pytest.raises(Halted, match=r"11 partitions.*_partition, text.*at most 10") as caught:
        sink.stage(world.batch(LANE, 10, 21))
    assert caught.value.code == "PARTITIONS_TOO_MANY"
    assert "partitions_per_batch_max" in caught.value.next_step
    assert sorted(Path(world.path).rglob("*.parquet")) == files
    assert sink.positions([LANE]) == {LANE: 10}
    patient = world.sink(partitions_per_batch_max=11)
    patient.commit([patient.stage(world.batch(LANE, 10, 21))])
    assert len(world.landed()) == 21


def test_a_route_with_too_many_partitions_halts_and_loses_nothing(world: DeltaWorld) -> None:
    """The whole way: the run ends with the code, nothing is dead, and with a table that fits the same records land."""
    log = MemoryLog()
    log.create("events", partitions=2)
    for index in range(40):
        log.append("events", index % 2, b"{}")
    group = MemoryGroup(log, ["events"])

    def report(**changes: Any) -> RunReport:
        source = MemorySource(group, "worker", SystemClock())
        pipeline = Pipeline(source=source, decoder=NoColumns(), sink=world.sink(**changes), name="numbers", dead_letters=letters)
        return pipeline.run(until_end=True)

    world.settings, world.schema = replace(world.settings, partition_by=("_offset",)), pa.schema([("text", pa.string())])
    letters = MemoryDeadLetters(MemoryLetterStore())
    halted = report(partitions_per_batch_max=19)
    assert (halted.outcome, {halt.code for halt in halted.halts.values()}) == (Outcome.HALTED, {"PARTITIONS_TOO_MANY"})
    assert (halted.totals.written, exits.of_report(halted)) == (0, exits.HALTED)
    assert report(partitions_per_batch_max=20).totals.written == 40
    assert len(world.landed()) == 40


@pytest.mark.parametrize(
    ("value", "reason"),
    [("", "partition_value_empty"), ("x" * 300, "partition_value_too_long"), ("__HIVE_DEFAULT_PARTITION__", "partition_value_reserved")],
)
def test_what_reads_back_as_another_value_cannot_be_a_partition(world: DeltaWorld, value: str, reason: str) -> None:
    """The row is refused by name, so that the rest can land without it."""
    world.settings = replace(world.settings, partition_by=("text",))
    sink = world.sink()
    with pytest.raises(Rejected) as caught:
        sink.stage(batch_of(decoded_of(LANE, 0, 3, rows={"number": [1, 2, 3], "text": ["a", value, "c"]}), first=True))
    assert [(one.stream, one.offset, one.reason) for one in caught.value.refusals] == [(LANE, 1, reason)]


@pytest.mark.parametrize(
    ("column", "values", "bad", "reason"),
    [
        ("number", pa.array([1.0, 1.5, 3.0]), [1], "does_not_fit"),
        ("number", pa.array([1, 2**63, 3], pa.uint64()), [1], "does_not_fit"),
        ("number", pa.array([1, None, 3]), [1], "null_in_required_column"),
        ("when", pa.array([1000, 1001, 1_000_000], pa.timestamp("ns", "UTC")), [1], "does_not_fit"),
    ],
    ids=["a fraction", "too large", "a null", "nanoseconds"],
)
def test_nothing_is_cast_lossily(world: DeltaWorld, column: str, values: pa.Array[Any], bad: list[int], reason: str) -> None:
    """A value that the table's type cannot hold is refused with its column, and is not shown."""
    world.schema = pa.schema([pa.field("number", pa.int64(), nullable=False), pa.field("when", pa.timestamp("us", "UTC"))])
    columns = {"number": pa.array([1, 2, 3]), "when": pa.nulls(3, pa.timestamp("us", "UTC")), column: values}
    decoded = Decoded(chunk_of(LANE, [10, 11, 12], 13), pa.table(columns))
    with pytest.raises(Rejected) as caught:
        world.sink().stage(batch_of(decoded, first=True))
    assert [(one.offset - 10, one.reason) for one in caught.value.refusals] == [(index, reason) for index in bad]
    assert column in caught.value.refusals[0].message


def test_records_without_a_time_have_none(world: DeltaWorld) -> None:
    """Absent is null, the time before 1970 is kept, and a time that no column can hold is refused."""
    sink = world.sink()
    rows = pa.table({"number": [0, 1], "text": ["", ""]}, schema=NUMBERS)
    decoded = Decoded(chunk_of(LANE, [0, 1], 2, [TIMESTAMP_ABSENT, -2]), rows)
    sink.commit([sink.stage(batch_of(decoded, first=True))])
    times = DeltaTable(world.path).to_pyarrow_table().sort_by("_offset").column("_timestamp").to_pylist()
    assert times == [None, dt.datetime(1969, 12, 31, 23, 59, 59, 998000, dt.UTC)]
    with pytest.raises(Rejected) as caught:
        sink.stage(batch_of(Decoded(chunk_of(LANE, [2, 3], 4, [5, 2**62]), rows)))
    assert [(one.offset, one.reason) for one in caught.value.refusals] == [(3, "timestamp_out_of_range")]


_TIME_MAX = (2**63 - 1) // 1000
ONE_ROW = pa.table({"number": [0], "text": [""]}, schema=NUMBERS)


@pytest.mark.parametrize("milliseconds", [_TIME_MAX, -_TIME_MAX, 0, 1, -2])
def test_the_earliest_and_the_latest_time_land_as_they_are(world: DeltaWorld, milliseconds: int) -> None:
    """Up to the last millisecond that the column can hold, either way, a record's time comes back exactly."""
    sink = world.sink()
    sink.commit([sink.stage(batch_of(Decoded(chunk_of(LANE, [0], 1, [milliseconds]), ONE_ROW), first=True))])
    stored = DeltaTable(world.path).to_pyarrow_table().column("_timestamp").cast(pa.int64()).to_pylist()
    assert stored == [milliseconds * 1000]


@pytest.mark.parametrize("milliseconds", [_TIME_MAX + 1, -_TIME_MAX - 1, 2**63 - 1, -(2**63) + 1, -(2**63)])
def test_a_time_beyond_the_column_is_refused(world: DeltaWorld, milliseconds: int) -> None:
    """One millisecond more, and the extremes of the integer, are refused; none of them wraps around into a plausible time."""
    with pytest.raises(Rejected) as caught:
        world.sink().stage(batch_of(Decoded(chunk_of(LANE, [0], 1, [milliseconds]), ONE_ROW), first=True))
    assert [(one.offset, one.reason) for one in caught.value.refusals] == [(0, "timestamp_out_of_range")]


def test_a_large_batch_becomes_several_files(world: DeltaWorld) -> None:
    """Files are bounded by what they hold in memory; together they hold every row once."""
    sink = world.sink(file_bytes_target=10_000)
    receipt = sink.commit([sink.stage(world.batch(LANE, 0, 2000, first=True))])
    assert receipt.files > 3
    assert len(world.landed()) == 2000
