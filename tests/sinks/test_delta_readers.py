"""Other engines read what the sink wrote: every value of every type, row by row, and every filter finds what is there."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, QueryBuilder

from landfast.sinks.delta import DeltaSettings
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from tests.sinks.delta_world import DeltaWorld, QuickClock, batch_of, decoded_of, stream, world_at

LANE = stream(0)
ZONE = dt.UTC
PARTITION_BY = ("p_text", "p_number", "p_flag", "p_day")
LONG = "z" * 5000
"""Longer than a Parquet footer keeps as a bound."""

TYPES = pa.schema(
    [
        ("flag", pa.bool_()),
        ("tiny", pa.int8()),
        ("small", pa.int16()),
        ("medium", pa.int32()),
        ("big", pa.int64()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("money", pa.decimal128(20, 4)),
        ("text", pa.string()),
        ("blob", pa.binary()),
        ("day", pa.date32()),
        ("moment", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("pair", pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ("items", pa.list_(pa.int64())),
        ("labels", pa.map_(pa.string(), pa.int64())),
        ("nothing", pa.int64()),
        ("p_text", pa.string()),
        ("p_number", pa.int64()),
        ("p_flag", pa.bool_()),
        ("p_day", pa.date32()),
        *((f"more_{number}", pa.int64()) for number in range(20)),
    ]
)


def values(offset: int) -> dict[str, Any]:
    """The row at an offset: extremes, oddities and nulls among plain values."""
    odd = offset % 3
    moment = dt.datetime.fromisoformat(["0001-01-01T00:00:00.000001", "9999-12-31T23:59:59", f"2024-02-29T01:02:03.{offset:06}"][odd])
    row: dict[str, Any] = {
        "flag": [True, False, True][odd],
        "tiny": [-128, 127, offset % 100][odd],
        "small": [-32768, 32767, offset][odd],
        "medium": [-(2**31), 2**31 - 1, offset][odd],
        "big": [-(2**63), 2**63 - 1, offset][odd],
        "single": [-0.0, 1.5, float(offset)][odd],
        "double": [math.nan if offset >= 18 else 0.1, 1e308, float(offset)][odd],
        "money": [Decimal("-9999999999999999.9999"), Decimal("0.0001"), Decimal(offset).quantize(Decimal("1.0000"))][odd],
        "text": ["", LONG, f"text ü 日本 {offset}"][odd],
        "blob": [b"", b"\x00\xff", str(offset).encode()][odd],
        "day": moment.date(),
        "moment": moment.replace(tzinfo=ZONE),
        "local": moment,
        "pair": [None, {"a": None, "b": ""}, {"a": offset, "b": "x"}][odd],
        "items": [[], [None, offset], [1, 2, 3]][odd],
        "labels": [[], [("k", None)], [("a", 1), ("b", offset)]][odd],
        "nothing": None,
        "p_text": ["a b/c=d%", "ü", None][odd],
        "p_number": [-1, None, 7][odd],
        "p_flag": [True, False, None][offset // 3 % 3],
        "p_day": [dt.date(2024, 2, 29), None, dt.date(1970, 1, 1)][odd],
        **{f"more_{number}": offset + number for number in range(20)},
    }
    return {name: None if offset % 7 == 6 and not name.startswith(("p_", "more_")) else value for name, value in row.items()}


def landed_world(folder: Path, partition_by: Sequence[str]) -> DeltaWorld:
    """Twelve rows in files that were compacted, and twelve in files that were not."""
    world = world_at(folder)
    world.schema = TYPES
    world.settings = replace(world.settings, partition_by=tuple(partition_by))
    sink = world.sink()
    for start in range(0, 24, 6):
        rows = pa.Table.from_pylist([values(offset) for offset in range(start, start + 6)], schema=TYPES)
        columns = {name: rows.column(name) for name in TYPES.names}
        sink.commit([sink.stage(batch_of(decoded_of(LANE, start, start + 6, TYPES, columns), first=start == 0))])
        if start == 6:
            settings = MaintenanceSettings(compaction_interval_seconds=0, compaction_files_min=2)
            keeper = Maintenance(settings, DeltaSettings(path=world.path), QuickClock(), world.ears)
            before = len(active_files(DeltaTable(world.path)))
            keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
            assert len(active_files(DeltaTable(world.path))) < before
    return world


@pytest.fixture(scope="module", params=[PARTITION_BY, ()], ids=["partitioned", "whole"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    """A table with every type, partitioned by every type that may, or not at all."""
    return DeltaTable(landed_world(tmp_path_factory.mktemp("readers"), request.param).path)


def by_pyarrow(table: DeltaTable) -> list[Mapping[str, Any]]:
    return table.to_pyarrow_table().to_pylist()


def by_datafusion(table: DeltaTable) -> list[Mapping[str, Any]]:
    return pa.table(QueryBuilder().register("t", table).execute("select * from t")).to_pylist()


def by_polars(table: DeltaTable) -> list[Mapping[str, Any]]:
    return pl.scan_delta(table.table_uri).collect().to_dicts()


def by_duckdb(table: DeltaTable) -> list[Mapping[str, Any]]:
    """The active files one by one, with the partition values that the log gives them."""
    rows: list[Mapping[str, Any]] = []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for file in active_files(table):
            path = str(Path(table.table_uri.removeprefix("file://")) / file.path)
            found = connection.sql("select * from read_parquet(?, hive_partitioning = false)", params=[path]).to_arrow_table()
            rows += [{**row, **file.partition_values} for row in found.to_pylist()]
    return rows


READERS = [by_pyarrow, by_datafusion, by_polars, by_duckdb]


def plain(value: Any, name: str) -> Any:
    """One value as text that differs where the values do, however an engine hands them out."""
    if name == "labels" and value is not None:
        pairs = value.items() if isinstance(value, dict) else [tuple(one.values()) if isinstance(one, dict) else one for one in value]
        return [tuple(pair) for pair in pairs]
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return f"{value.astimezone(ZONE):%Y-%m-%d %H:%M:%S.%f} UTC"
    if isinstance(value, float):
        return value.hex()
    return value


def whole(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All rows, each as text, in the order of their offsets."""
    ordered = sorted(rows, key=lambda row: row["_offset"])
    return [repr({name: plain(row[name], name) for name in sorted(row)}) for row in ordered]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_engine_reads_every_value(table: DeltaTable, read: Callable[[DeltaTable], list[Mapping[str, Any]]]) -> None:
    """pyarrow, DataFusion, Polars and DuckDB give the rows that were landed: all of them, with all their values."""
    timestamp = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=ZONE)
    expected = [
        {
            **values(offset),
            "_rescued": None,
            "_topic": LANE.topic,
            "_partition": LANE.partition,
            "_offset": offset,
            "_timestamp": timestamp + dt.timedelta(milliseconds=offset),
        }
        for offset in range(24)
    ]
    assert whole(read(table)) == whole(expected)


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FILTERED = ("tiny", "text", "day", "moment", "nothing", "more_19", "p_text", "p_number", "_offset")


def test_no_filter_misses_a_row(table: DeltaTable) -> None:
    """Files are left out by their bounds only where nothing is missed: in compacted files too, and for columns without bounds."""
    rows = [{**values(offset), "_offset": offset} for offset in range(24)]
    dataset, frame = table.to_pyarrow_dataset(), pl.scan_delta(table.table_uri)
    schema = dataset.schema
    for name in FILTERED:
        asked = sorted({row[name] for row in rows} - {None}) or [1]
        for value in (asked[0], asked[len(asked) // 2], asked[-1]):
            for compare in COMPARISONS.values():
                wanted = sorted(row["_offset"] for row in rows if row[name] is not None and compare(row[name], value))
                filters: Any = compare(pc.field(name), pa.scalar(value, schema.field(name).type))
                assert sorted(dataset.to_table(columns=["_offset"], filter=filters)["_offset"].to_pylist()) == wanted
                found = frame.filter(compare(pl.col(name), pl.lit(value, dtype=frame.collect_schema()[name]))).select("_offset").collect()
                assert sorted(found["_offset"].to_list()) == wanted
        missing = sorted(row["_offset"] for row in rows if row[name] is None)
        assert sorted(dataset.to_table(columns=["_offset"], filter=pc.field(name).is_null())["_offset"].to_pylist()) == missing
        assert sorted(frame.filter(pl.col(name).is_null()).select("_offset").collect()["_offset"].to_list()) == missing


def test_no_query_misses_a_row(table: DeltaTable) -> None:
    """The same through SQL."""
    rows = [{**values(offset), "_offset": offset} for offset in range(24)]
    query = QueryBuilder().register("t", table)
    for name in ("tiny", "big", "text", "more_19", "p_text", "p_number", "_offset"):
        asked = sorted({row[name] for row in rows} - {None})
        for value in (asked[0], asked[len(asked) // 2], asked[-1]):
            literal = f"'{value}'" if isinstance(value, str) else str(value)
            for sign, compare in COMPARISONS.items():
                wanted = sorted(row["_offset"] for row in rows if row[name] is not None and compare(row[name], value))
                found = pa.table(query.execute(f"select _offset from t where {name} {sign} {literal}"))
                assert sorted(found["_offset"].to_pylist()) == wanted


def test_a_compacted_file_keeps_its_bounds_beside_long_strings(world: DeltaWorld) -> None:
    """A string longer than a footer keeps costs no other column its bounds, so readers go on leaving out the file."""
    world.schema = TYPES
    sink = world.sink()
    for start in (0, 6):
        rows = {name: [values(offset)[name] for offset in range(start, start + 6)] for name in TYPES.names}
        sink.commit([sink.stage(batch_of(decoded_of(LANE, start, start + 6, TYPES, rows), first=start == 0))])
    settings = MaintenanceSettings(compaction_interval_seconds=0, compaction_files_min=2)
    Maintenance(settings, DeltaSettings(path=world.path), QuickClock(), world.ears).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    (described,) = pa.table(DeltaTable(world.path).get_add_actions(flatten=True)).to_pylist()
    assert (described["min.more_0"], described["max.more_0"]) == (0, 11)
    assert described["min.text"] == ""
    assert described["max.text"] >= LONG
    assert len(described["max.text"]) < len(LONG)
