"""The statistics that a Delta log keeps per file: exact where given, left out where not safely known.

A wrong bound silently hides rows from every reader, so a bound is only ever widened: times to whole milliseconds outwards, strings cut
to a prefix that sorts below, or to one that sorts above.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

COLUMNS_MAX = 32
STRING_CHARACTERS_MAX = 32
_SURROGATES_FIRST, _SURROGATES_LAST, _CHARACTER_LAST = 0xD800, 0xDFFF, 0x10FFFF


def stats_json(footer: pq.FileMetaData, rows: pa.Table, always: Sequence[str]) -> str:
    """The `stats` of an add action: bounds of flat columns among the first 32, and of those named in `always`.

    Bounds are given for all of these or for none. deltalake's own reader takes a column that is left out, beside others that are
    there, for one without any value, and finds nothing in it.
    """
    bounds: dict[str, tuple[str, str]] | None = {}
    nulls: dict[str, str] = {}
    for field in [rows.schema.field(name) for name in _bounded_names(rows.schema, always)]:
        column = rows.column(field.name)
        nulls[field.name] = str(column.null_count)
        if column.null_count == len(column):
            continue
        found = _bounds(_extremes(footer, field.name) or _searched(column))
        if found is None or bounds is None:
            bounds = None
        else:
            bounds[field.name] = found
    body = {"numRecords": str(footer.num_rows), "nullCount": _object(nulls)}
    if bounds is not None:
        body["minValues"] = _object({name: low for name, (low, _) in bounds.items()})
        body["maxValues"] = _object({name: high for name, (_, high) in bounds.items()})
    return _object(body)


def _bounded_names(schema: pa.Schema, always: Sequence[str]) -> list[str]:
    wanted = set(schema.names[:COLUMNS_MAX]) | set(always)
    flat = [field for field in schema if field.name in wanted and not pa.types.is_nested(field.type)]
    return [field.name for field in flat if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))]


def _extremes(footer: pq.FileMetaData, name: str) -> tuple[Any, Any] | None:
    """The least and the greatest value, where the footer knows both."""
    found: list[Any] = []
    for group in range(footer.num_row_groups):
        columns = (footer.row_group(group).column(index) for index in range(footer.num_columns))
        statistics: Any = next((column.statistics for column in columns if column.path_in_schema == name), None)
        if statistics is None:
            return None
        if statistics.null_count == footer.row_group(group).num_rows:
            continue
        if not statistics.has_min_max:
            return None
        found.append(statistics)
    try:
        return min(one.min for one in found), max(one.max for one in found)
    except (ValueError, OverflowError):
        return None  # a moment that Python cannot hold, such as the year 10000


def _searched(column: Any) -> tuple[Any, Any] | None:
    """The least and the greatest value, looked for in the column: the footer leaves long strings out."""
    if not pa.types.is_string(column.type):
        return None
    least = pc.min_max(column)
    return least["min"].as_py(), least["max"].as_py()


def _bounds(extremes: tuple[Any, Any] | None) -> tuple[str, str] | None:
    if extremes is None:
        return None
    low, high = _lower(extremes[0]), _upper(extremes[1])
    return None if low is None or high is None else (low, high)


def _object(members: Mapping[str, str]) -> str:
    """A JSON object of members that are JSON already: a decimal has more digits than a float."""
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members.items()) + "}"


def _lower(value: Any) -> str | None:
    """A bound at or below the value, as JSON; None where there is none."""
    match value:
        case bool() | int():
            return json.dumps(value)
        case Decimal():
            return format(value, "f")
        case float():
            return json.dumps(value) if math.isfinite(value) else None
        case str():
            return json.dumps(value[:STRING_CHARACTERS_MAX])
        case dt.datetime():
            return _moment(value - dt.timedelta(microseconds=value.microsecond % 1000))
        case dt.date():
            return json.dumps(value.isoformat())
        case _:
            return None


def _upper(value: Any) -> str | None:
    """A bound at or above the value, as JSON; None where there is none."""
    match value:
        case str() if len(value) > STRING_CHARACTERS_MAX:
            return json.dumps(_above(value[:STRING_CHARACTERS_MAX]) or value)
        case dt.datetime():
            try:
                return _moment(value + dt.timedelta(microseconds=-value.microsecond % 1000))
            except OverflowError:
                return None
        case _:
            return _lower(value)


def _moment(value: dt.datetime) -> str:
    if value.tzinfo is None:
        return json.dumps(value.isoformat(timespec="milliseconds"))
    return json.dumps(value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z")


def _above(prefix: str) -> str | None:
    """A string that sorts above every string with this prefix; None where there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < _CHARACTER_LAST:
            following = _SURROGATES_LAST + 1 if code == _SURROGATES_FIRST - 1 else code + 1
            return prefix[:index] + chr(following)
    return None
