"""The statistics that a Delta log keeps per file: exact where given, left out where not safely known.

A wrong bound silently hides rows from every reader, so a bound is only ever widened: times to whole milliseconds outwards, strings cut
to a prefix that sorts below, or to one that sorts above.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def stats_json(footer: pq.FileMetaData, schema: pa.Schema, always: Sequence[str], rows_of: Callable[[str], Iterable[pa.Table]]) -> str:
    """The `stats` of an add action: bounds of flat columns among the first 32, and of those named in `always`.

    Bounds are given for all of these or for none. deltalake's own reader takes a column that is left out, beside others that are
    there, for one without any value, and finds nothing in it. The footer leaves long strings out; only then `rows_of` is asked for tables
    that hold the column of that name.
    """
    bounds: dict[str, tuple[str, str]] | None = {}
    nulls: dict[str, str] = {}
    for name in _bounded_names(schema, always):
        found = _statistics(footer, name)
        if found is None:
            bounds = None
            continue
        null_count = sum(one.null_count for one in found)
        nulls[name] = str(null_count)
        if null_count == footer.num_rows or bounds is None:
            continue
        both = _bounds(_extremes(found) or _searched(rows_of, schema.field(name)))
        bounds = None if both is None else {**bounds, name: both}
    body = {"numRecords": str(footer.num_rows), "nullCount": _object(nulls)}
    if bounds is not None:
        body["minValues"] = _object({name: low for name, (low, _) in bounds.items()})
        body["maxValues"] = _object({name: high for name, (_, high) in bounds.items()})
    return _object(body)


def _bounded_names(schema: pa.Schema, always: Sequence[str]) -> list[str]:
    wanted = set(schema.names[:COLUMNS_MAX]) | set(always)
    flat = [field for field in schema if field.name in wanted and not pa.types.is_nested(field.type)]
    return [field.name for field in flat if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))]


def _statistics(footer: pq.FileMetaData, name: str) -> list[Any] | None:
    """The footer's statistics of a column, one per row group; None where a group has none."""
    found: list[Any] = []
    for group in range(footer.num_row_groups):
        columns = (footer.row_group(group).column(index) for index in range(footer.num_columns))
        statistics: Any = next((column.statistics for column in columns if column.path_in_schema == name), None)
        if statistics is None or statistics.null_count is None:
            return None
        found.append(statistics)
    return found


def _extremes(found: Sequence[Any]) -> tuple[Any, Any] | None:
    """The least and the greatest value, where the footer knows both."""
    filled = [one for one in found if one.num_values]
    if not all(one.has_min_max for one in filled):
        return None
    try:
        return min(one.min for one in filled), max(one.max for one in filled)
    except (ValueError, OverflowError):
        return None  # a moment that Python cannot hold, such as the year 10000


def _searched(rows_of: Callable[[str], Iterable[pa.Table]], field: pa.Field[Any]) -> tuple[Any, Any] | None:
    """The least and the greatest string, looked for in the rows."""
    if not pa.types.is_string(field.type):
        return None
    found = [pc.min_max(table.column(field.name)) for table in rows_of(field.name)]
    both = [(one["min"].as_py(), one["max"].as_py()) for one in found if one["min"].is_valid]
    return (min(low for low, _ in both), max(high for _, high in both)) if both else None


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
