"""Columns that the table gains while running: nothing is lost, nothing is bent, whoever meets a field first."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast.config import DecodeSettings
from landfast.events import Notice
from landfast.model import Batch, Chunk, Decoded
from landfast.sinks.delta import DeltaSettings, DeltaSink
from landfast.wiring.parts import decoder_of
from tests.sinks.delta_world import DeltaWorld, batch_of, chunk_of, stream

LANE = stream(0)


@pytest.fixture
def growing(world: DeltaWorld) -> DeltaWorld:
    """A table that may gain columns."""
    world.settings = DeltaSettings(path="", unknown_fields="evolve")
    return world


def rescued_batch(texts: Sequence[str | None], start: int = 0, partition: int = 0, *, first: bool = True) -> Batch:
    """A batch whose rows carry these texts in `_rescued`, as a decoder makes them that knows only the first columns."""
    count = len(texts)
    columns = {"number": list(range(count)), "text": ["t"] * count, "_rescued": pa.array(texts, pa.string())}
    decoded = Decoded(chunk_of(stream(partition), range(start, start + count), start + count), pa.table(columns))
    return batch_of(decoded, first=first)


def land(sink: DeltaSink, texts: Sequence[str | None], start: int = 0, partition: int = 0, *, first: bool = True) -> None:
    sink.commit([sink.stage(rescued_batch(texts, start, partition, first=first))])


def records(world: DeltaWorld) -> list[dict[str, Any]]:
    """What each row holds beyond the first columns: its columns and its rescued fields together."""
    rows = DeltaTable(world.path).to_pyarrow_table().sort_by([("_partition", "ascending"), ("_offset", "ascending")]).to_pylist()
    known = {"number", "text", "_topic", "_partition", "_offset", "_timestamp", "_rescued"}
    found = []
    for row in rows:
        columns = {name: value for name, value in row.items() if name not in known and value is not None}
        rescued = json.loads(row["_rescued"]) if row["_rescued"] else {}
        assert not columns.keys() & rescued.keys()
        found.append(columns | rescued)
    return found


def types(world: DeltaWorld) -> dict[str, str]:
    schema = pa.schema(DeltaTable(world.path).schema().to_arrow())
    return {field.name: str(field.type) for field in schema}


def test_d5_rescued_fields_become_columns(growing: DeltaWorld) -> None:
    """Booleans, whole numbers, fractions and strings get columns of their own; objects and lists stay rescued."""
    sink = growing.sink()
    land(sink, ['{"flag":true,"count":7,"ratio":0.5,"name":"Grüße","deep":{"a":1},"many":[1,2]}', None, '{"count":-1}'])
    assert {name: types(growing)[name] for name in ("flag", "count", "ratio", "name")} == {
        "flag": "bool",
        "count": "int64",
        "ratio": "double",
        "name": "string",
    }
    expected = {"flag": True, "count": 7, "ratio": 0.5, "name": "Grüße", "deep": {"a": 1}, "many": [1, 2]}
    assert records(growing) == [expected, {}, {"count": -1}]
    assert "count" in sink.schema().names
    (notice,) = [event for event in growing.ears.heard if isinstance(event, Notice)]
    assert notice.code == "COLUMNS_ADDED"
    assert "flag boolean, count int64, ratio float64, name string" in notice.message


@pytest.mark.parametrize(
    "text",
    [
        '{"count":"a word"}',
        '{"count":1.5}',
        '{"count":9223372036854775808}',
        '{"count":true}',
        '{"ratio":0.1234567890123456789012345}',
        '{"ratio":1e400}',
        '{"name":5}',
        '{"Count":5}',
        '{"_offset":5}',
        '{"a.b":5}',
        '{"with space":5}',
        '{"":5}',
    ],
)
def test_what_a_column_cannot_hold_exactly_stays_as_it_was_written(growing: DeltaWorld, text: str) -> None:
    """Not cast, not rounded, not dropped."""
    sink = growing.sink()
    land(sink, ['{"count":1,"ratio":0.5,"name":"x"}'])
    land(sink, [text], start=1, first=False)
    rows = DeltaTable(growing.path).to_pyarrow_table().sort_by("_offset").to_pylist()
    assert rows[1]["_rescued"] == text
    land(sink, [text], start=2, first=False)
    rows = DeltaTable(growing.path).to_pyarrow_table().sort_by("_offset").to_pylist()
    assert rows[2]["_rescued"] == text


def test_a_fraction_in_the_same_batch_makes_the_column_wider(growing: DeltaWorld) -> None:
    """Whole numbers and fractions of one field fit a float column together."""
    land(growing.sink(), ['{"ratio":1}', '{"ratio":0.5}'])
    assert types(growing)["ratio"] == "double"
    assert records(growing) == [{"ratio": 1.0}, {"ratio": 0.5}]


def test_the_number_of_columns_is_bounded(growing: DeltaWorld) -> None:
    """A producer that invents field names cannot grow the table for ever."""
    fields = {f"field_{number}": number for number in range(50)}
    land(growing.sink(columns_max=20), [json.dumps(fields, separators=(",", ":"))])
    assert len(types(growing)) == 20
    assert records(growing) == [fields]


def test_a_name_with_a_control_character_is_no_column(growing: DeltaWorld) -> None:
    """A NUL would cut the column's name short for some readers: the field stays rescued, and the table as it is."""
    growing.sink()
    before = types(growing)
    text = json.dumps({"n\x00l": 5, "bell\x07": 1}, separators=(",", ":"))
    land(growing.sink(), [text])
    assert types(growing) == before


def test_d7_workers_that_meet_a_new_field_at_once_lose_nothing(growing: DeltaWorld) -> None:
    """Four workers, the same field with different types, many commits: the table's column decides, and every value is there."""
    workers = 4
    sinks = [growing.sink(f"run-{number}") for number in range(workers)]
    values = ["5", '"five"', "5.5", "true"]
    failures: list[BaseException] = []
    start = threading.Barrier(workers)

    def work(number: int) -> None:
        try:
            for turn in range(5):
                start.wait(60)
                text = f'{{"field_{turn}":{values[(number + turn) % workers]},"own_{number}":{turn}}}'
                land(sinks[number], [text], turn, number, first=turn == 0)
        except BaseException as error:  # noqa: BLE001 — carried to the test
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    expected = [
        {f"field_{turn}": json.loads(values[(number + turn) % workers]), f"own_{number}": turn}
        for number in range(workers)
        for turn in range(5)
    ]
    assert records(growing) == expected
    assert {event.code for event in growing.ears.heard if isinstance(event, Notice)} == {"COLUMNS_ADDED"}


def test_files_staged_before_a_column_came_land_after_it(growing: DeltaWorld) -> None:
    """The older file has no such column: its rows have null there."""
    one, two = growing.sink("one"), growing.sink("two")
    old = one.stage(rescued_batch([None, None]))
    land(two, ['{"count":1}'], partition=1)
    one.commit([old])
    assert records(growing) == [{}, {}, {"count": 1}]


GUESSED = ['{"k":1}', '{"k":230.5}', '{"k":"s"}', '{"k":2}', '{"k":{"z":1}}', '{"k":null}']


@pytest.mark.parametrize("columns", [{"number": "int64 not null", "text": "string"}, {}], ids=["named", "of-the-table"])
@pytest.mark.parametrize("restarts", [False, True], ids=["one-run", "a-run-for-each"])
def test_no_record_is_refused_for_not_fitting_a_guess(growing: DeltaWorld, columns: dict[str, str], restarts: bool) -> None:
    """Batch after batch, whether or not the process was started anew between them: the value is in the column or in `_rescued`."""
    sink = growing.sink()
    for offset, text in enumerate(GUESSED):
        if restarts:
            sink = growing.sink(f"run-{offset}")
        decoder = decoder_of(DecodeSettings(unknown_fields="evolve", columns=columns), sink.schema)
        decoded = decoder.decode(chunk_with(f'{{"number":{offset},"text":"t",{text[1:]}', offset))
        assert not decoded.rejects
        sink.commit([sink.stage(batch_of(decoded, first=offset == 0))])
    assert records(growing) == [{"k": 1}, {"k": 230.5}, {"k": "s"}, {"k": 2}, {"k": {"z": 1}}, {}]
    assert types(growing)["k"] == "int64"


def test_a_column_that_the_settings_name_stays_strict(growing: DeltaWorld) -> None:
    """Evolve is lenient with its own guesses only."""
    columns = {"number": "int64 not null", "text": "string"}
    decoder = decoder_of(DecodeSettings(unknown_fields="evolve", columns=columns), growing.sink().schema)
    (refused,) = decoder.decode(chunk_with('{"number":1,"text":5}', 0)).rejects
    assert refused.reason == "wrong_type"


def chunk_with(text: str, offset: int) -> Chunk:
    """One record with this value."""
    return replace(chunk_of(LANE, [offset], offset + 1), values=[text.encode()])
