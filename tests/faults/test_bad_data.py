"""Values at the edges of their types, through the engine into real tables: each lands exactly, or is buried whole with its reason."""

from __future__ import annotations

import datetime as dt
import math
import os
import pickle
import uuid
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.core.breaker import BreakerLimits
from landfast.core.report import Outcome
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.decode.json import JsonDecoder
from landfast.decode.schema import parse_columns
from landfast.events import LettersBuried
from landfast.model import Run
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, DeltaSink, letters_path, open_table
from landfast.sinks.delta.proof.verify import verify_table
from landfast.testing.clock import ManualClock
from landfast.testing.executor import InlineExecutor
from landfast.testing.memory import MemoryGroup, MemoryLog, MemorySource, RecordingObserver

COLUMNS = parse_columns({"i": "int64", "d": "decimal(10,2)", "f": "float64", "s": "string", "t": "timestamp", "day": "date"})
LIMITS = FlowLimits(breaker=BreakerLimits(share_max=1.0))

Fate = dict[str, Any] | str | None
"""What must become of a value: a row with these columns, a letter of this reason, or None for a skip."""


def settle(folder: Path, cases: dict[bytes | None, Fate]) -> None:
    """Land the values, each between two good ones, and see that each is in its place, and what the operator was told."""
    log, clock, observer = MemoryLog(), ManualClock(), RecordingObserver()
    log.create("events")
    neighbour = b'{"i":1}'
    for value in cases:
        for one in (neighbour, value, neighbour):
            log.append("events", 0, one, key=None if value else b"key")
    home = open_table(DeltaSettings(str(folder / "table")), Run(uuid.uuid4().hex, "data", "", clock.now()), COLUMNS, clock, observer)
    route = Route("data", lambda _: True, JsonDecoder(COLUMNS), DeltaSink(home), DeltaDeadLetters(home), LIMITS)
    source = MemorySource(MemoryGroup(log, ["events"]), "one", clock)
    workplace = Workplace(clock, InlineExecutor, InlineExecutor, observer, lambda: 0.5)
    report = Runner(source, source, [route], home.run, RunnerLimits(), workplace).run(until_end=True)
    assert report.outcome is Outcome.FINISHED
    reasons = {offset * 3 + 1: fate for offset, fate in enumerate(cases.values()) if isinstance(fate, str)}
    rows = {row["_offset"]: row for row in DeltaTable(home.settings.path).to_pyarrow_table().to_pylist()}
    for offset, fate in enumerate(cases.values()):
        assert rows[offset * 3]["i"] == rows[offset * 3 + 2]["i"] == 1
        row = rows.get(offset * 3 + 1)
        assert (row is not None) == isinstance(fate, dict), list(cases)[offset]
        if row is not None and isinstance(fate, dict):
            assert {name: shown(row[name]) for name in fate} == {name: shown(value) for name, value in fate.items()}
    buried: list[dict[str, Any]] = []
    if reasons:
        buried = DeltaTable(letters_path(home.settings.path)).to_pyarrow_table().to_pylist()
    assert {letter["offset"]: letter["reason"] for letter in buried} == reasons
    assert all(letter["value"] == list(cases)[letter["offset"] // 3] for letter in buried)
    told: Counter[str] = Counter()
    for event in observer.of(LettersBuried):
        told.update(dict(event.reasons))
    assert told == Counter(reasons.values())
    assert report.totals.skipped == ({"tombstone": skips} if (skips := list(cases.values()).count(None)) else {})
    assert verify_table(home.settings.path).proved


def shown(value: Any) -> Any:
    """A value such that -0.0 is not 0.0."""
    return (value, math.copysign(1.0, value)) if isinstance(value, float) else value


def test_d3_tombstones_null_keys_and_empty_values(tmp_path: Path) -> None:
    """A tombstone is skipped and counted; an empty value is a letter; a null key is nothing special."""
    settle(tmp_path, {None: None, b"": "empty_value", b'{"i":2}': {"i": 2, "s": None}, b"{}": {"i": None}})


def test_d8_integers_and_decimals_that_do_not_fit_are_letters(tmp_path: Path) -> None:
    """To the last one that fits exactly a row, from the next one on a letter: never a float in between."""
    settle(
        tmp_path,
        {
            b'{"i":9223372036854775807}': {"i": 2**63 - 1},
            b'{"i":-9223372036854775808}': {"i": -(2**63)},
            b'{"i":9223372036854775808}': "out_of_range",
            b'{"i":-9223372036854775809}': "out_of_range",
            b'{"i":18446744073709551616}': "out_of_range",
            b'{"i":1.0}': "wrong_type",
            b'{"d":"99999999.99"}': {"d": Decimal("99999999.99")},
            b'{"d":"100000000.00"}': "out_of_range",
            b'{"d":"0.001"}': "bad_decimal",
            b'{"f":9007199254740992}': {"f": float(2**53)},
            b'{"f":9007199254740993}': "inexact",
        },
    )


def test_d9_what_is_not_finite_is_a_letter_and_minus_zero_stays(tmp_path: Path) -> None:
    """NaN and the infinities are no JSON, and a number too large for the type is not made infinite."""
    settle(
        tmp_path,
        {
            b'{"f":NaN}': "not_finite",
            b'{"f":Infinity}': "not_finite",
            b'{"f":-Infinity}': "not_finite",
            b'{"f":1e999}': "out_of_range",
            b'{"f":-0.0}': {"f": -0.0},
            b'{"f":1.7976931348623157e308}': {"f": 1.7976931348623157e308},
        },
    )


def test_d10_an_object_that_repeats_a_key_is_a_letter(tmp_path: Path) -> None:
    """Neither of the two values is taken for the other, at whatever depth, however the key is written."""
    settle(
        tmp_path,
        {
            b'{"i":1,"i":1}': "duplicate_key",
            b'{"i":1,"\\u0069":2}': "duplicate_key",
            b'{"z":{"a":1,"a":2}}': "duplicate_key",
            b'{"i":3,"I":4}': {"i": 3, "_rescued": '{"I":4}'},
        },
    )


def test_d11_text_that_is_no_text_is_a_letter(tmp_path: Path) -> None:
    """Half a surrogate pair, bytes that are not UTF-8; a NUL and an astral character are text."""
    settle(
        tmp_path,
        {
            b'{"s":"\\ud800"}': "lone_surrogate",
            b'{"s":"\\ud83d\\ude00"}': {"s": "\U0001f600"},
            b'{"s":"\xff"}': "bad_utf8",
            b'{"s":"\\u0000"}': {"s": "\x00"},
            b'{"s":"' + b"x" * 300_000 + b'"}': {"s": "x" * 300_000},
        },
    )


def test_d14_times_land_to_the_microsecond_or_are_letters(tmp_path: Path) -> None:
    """The first and the last year, times before the epoch, other zones, too many digits, no zone, days that are not."""
    utc = dt.UTC
    settle(
        tmp_path,
        {
            b'{"t":"0001-01-01T00:00:00Z"}': {"t": dt.datetime(1, 1, 1, tzinfo=utc)},
            b'{"t":"9999-12-31T23:59:59.999999Z"}': {"t": dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=utc)},
            b'{"t":"10000-01-01T00:00:00Z"}': "bad_timestamp",
            b'{"t":"1969-12-31T23:59:59.999999Z"}': {"t": dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=utc)},
            b'{"t":"2024-02-29T12:00:00+05:30"}': {"t": dt.datetime(2024, 2, 29, 6, 30, tzinfo=utc)},
            b'{"t":"2024-01-01T00:00:00"}': "bad_timestamp",
            b'{"t":"2024-01-01T00:00:00.0000001Z"}': "bad_timestamp",
            b'{"day":"2024-02-29"}': {"day": dt.date(2024, 2, 29)},
            b'{"day":"2023-02-29"}': "bad_date",
        },
    )


class Trap:
    """What makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        """See `pickle`."""
        return os.mkdir, (str(self.folder),)


def test_x5_binary_formats_are_letters_and_run_no_code(tmp_path: Path) -> None:
    """Avro, Protobuf, Parquet, Arrow with a pickled type and a pickle are no JSON: each is buried whole, and nothing of it is executed."""
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    hostile = pa.schema(
        [pa.field("x", pa.int64(), metadata={b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": trap})]
    )
    parquet, arrow = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), parquet)
    pa.ipc.new_stream(arrow, hostile).close()
    cases = {
        b'Obj\x01\x02\x16avro.schema"{\x22type\x22:\x22long\x22}\x00' + bytes(16): "not_json",
        b"\x08\x96\x01\x12\x07testing": "bad_utf8",
        parquet.getvalue().to_pybytes(): "bad_utf8",
        arrow.getvalue().to_pybytes(): "bad_utf8",
        trap: "bad_utf8",
        b"\x00\x00\x00\x00\x07\x02\x08": "not_json",
    }
    settle(tmp_path, dict(cases))
    assert not (tmp_path / "sprung").exists()
