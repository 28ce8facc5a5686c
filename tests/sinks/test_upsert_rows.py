"""The pure parts of an upsert against plain Python: keys, order, the newest row of each key, and which files may hold one."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfast.sinks.delta.files.stats import stats_json
from landfast.sinks.delta.log.active import ActiveFile
from landfast.sinks.delta.upserting.keys import KeyIndex
from landfast.sinks.delta.upserting.order import later, newest
from landfast.sinks.delta.upserting.pruning import _plain, _whole, candidates

FIRST, LAST = dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
MOMENTS = st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.one_of(st.sampled_from(["", "42", "é", "e\u0301", "x" * 40, "x" * 40 + "y", "\U0010ffff" * 33]), TEXTS),
    pa.binary(): st.binary(max_size=4),
    pa.int32(): st.integers(-3, 3),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    pa.timestamp("us"): MOMENTS,
    pa.decimal128(38, 4): st.integers(-(10**12), 10**12).map(lambda number: Decimal(number).scaleb(-4)),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    """Two tables of the same columns: one to index, with distinct keys and no null, and one to look for, in which a key may be null."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS, key=str)), min_size=1, max_size=3))
    row = st.tuples(*(KINDS[kind] for kind in kinds))
    known = draw(st.lists(row, min_size=1, max_size=20, unique=True))
    asked = draw(st.lists(st.one_of(st.sampled_from(known), row, st.tuples(*(st.none() | KINDS[kind] for kind in kinds))), max_size=20))
    schema = pa.schema([pa.field(f"key {number}", kind) for number, kind in enumerate(kinds)])
    return _table(known, schema), _table(asked, schema)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array([row[number] for row in rows], field.type) for number, field in enumerate(schema)], schema=schema)


@given(tables())
def test_a_key_is_found_exactly_where_a_dictionary_finds_it(given_tables: tuple[pa.Table, pa.Table]) -> None:
    """Whatever the types and however many columns: the same values in all columns, and a null is equal to none."""
    known, asked = given_tables
    expected = {tuple(row.values()): index for index, row in enumerate(known.to_pylist())}
    found = KeyIndex(known, known.column_names).find(asked)
    assert found.to_pylist() == [expected.get(tuple(row.values())) for row in asked.to_pylist()]


ORDERED = st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 3))


@given(st.lists(st.tuples(ORDERED, ORDERED), min_size=1))
def test_a_row_is_newer_where_a_tuple_is_greater(pairs: list[tuple[tuple[Any, ...], tuple[Any, ...]]]) -> None:
    """The first column that differs decides, and a row is not newer than itself."""
    ours, theirs = ([pa.array([pair[side][index] for pair in pairs]) for index in range(4)] for side in (0, 1))
    assert later(ours, theirs).to_pylist() == [one > other for one, other in pairs]


def test_a_row_that_another_writer_put_there_is_older_than_any() -> None:
    """Nobody knows when it was written, so it gives way; where it has an order of its own, that counts first."""
    ours = [pa.array([5, 5, 5]), pa.array([1, 1, 1])]
    theirs = [pa.array([None, 5, 9], pa.int64()), pa.array([None, None, None], pa.int64())]
    assert later(ours, theirs).to_pylist() == [True, True, False]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_of_each_key_the_newest_row_is_left_in_its_place(drawn: list[tuple[int, int, int]]) -> None:
    """As a dictionary would have it, in the order of the rows."""
    rows = [(key, order, partition, offset) for offset, (key, order, partition) in enumerate(drawn)]
    table = pa.table([pa.array([row[index] for row in rows], pa.int64()) for index in range(4)], names=["id", "at", "partition", "offset"])
    best: dict[int, tuple[int, ...]] = {}
    for row in rows:
        best[row[0]] = max(best.get(row[0], (-1,) * 3), row[1:])
    expected = [row for row in rows if best[row[0]] == row[1:]]
    assert [tuple(row.values()) for row in newest(table, ["id"], ["at", "partition", "offset"]).to_pylist()] == expected


@given(st.data())
def test_no_file_is_left_out_that_holds_one_of_the_keys(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """By the bounds that our own files have in the log: cut texts and moments rounded outwards among them."""
    kind = data.draw(st.sampled_from(sorted(KINDS, key=str)))
    values = data.draw(st.lists(KINDS[kind], min_size=1, max_size=8))
    wanted = data.draw(st.lists(st.one_of(st.sampled_from(values), KINDS[kind]), min_size=1, max_size=8, unique=True))
    table = pa.table({"id": pa.array(values, kind)})
    target = tmp_path_factory.mktemp("files") / "file.parquet"
    pq.write_table(table, target)
    stats = json.loads(stats_json(pq.read_metadata(target), table.schema, ["id"], lambda _name: [table]))
    bounds = {"file": dict(_read_back(stats, kind))}
    file = ActiveFile("file", 1, len(values), 0, {})
    index = KeyIndex(pa.table({"id": pa.array(wanted, kind)}), ["id"])
    if set(wanted) & set(values):
        assert candidates([file], bounds, index) == [file]


def _read_back(stats: dict[str, Any], kind: pa.DataType) -> list[tuple[str, tuple[Any, Any]]]:
    """The bounds as a reader of the log sees them, where there are any."""
    if "id" not in stats.get("minValues", {}):
        return []
    low, high = stats["minValues"]["id"], stats["maxValues"]["id"]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        low, high = (dt.datetime.fromisoformat(text) for text in (low, high))
    if pa.types.is_decimal(kind):
        low, high = Decimal(str(low)), Decimal(str(high))
    typed = pa.array([low, high]).cast(kind) if not pa.types.is_decimal(kind) else pa.array([low, high], kind)
    least, greatest = _plain(typed)
    return [("id", (least, greatest))]


def test_a_file_is_left_out_where_no_key_lies_within_its_bounds_or_its_partition() -> None:
    """Each column of a key may rule a file out; bounds that are missing rule out nothing."""
    index = KeyIndex(pa.table({"id": [1, 5], "land": ["at", "se"]}), ["id", "land"])
    files = [ActiveFile(path, 1, 1, 0, {"land": land}) for path, land in {"a": "at", "b": "no", "c": "se", "d": None, "e": "at"}.items()]
    bounds = {"a": {"id": (2, 4)}, "b": {"id": (1, 5)}, "c": {"id": (5, 9)}, "e": {}}
    assert [file.path for file in candidates(files, bounds, index)] == ["c", "e"]


@pytest.mark.parametrize(
    ("low", "high", "kind", "whole"),
    [
        (1, 2, pa.int64(), True),
        ("a", "b" * 31, pa.string(), True),
        ("a", "b" * 32, pa.string(), False),
        (0, 1, pa.timestamp("us", "UTC"), False),
        (Decimal(1), Decimal(2), pa.decimal128(9, 2), False),
    ],
)
def test_bounds_of_another_writer_count_only_where_nobody_cuts_or_rounds_them(low: Any, high: Any, kind: pa.DataType, whole: bool) -> None:
    """Texts of full length may be cut, moments rounded to milliseconds, decimals gone through floats."""
    assert _whole(low, high, kind) is whole
