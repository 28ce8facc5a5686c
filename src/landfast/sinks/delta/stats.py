"""The statistics that a Delta log keeps per file: exact where given, left out where not safely known.

A wrong bound silently hides rows from every reader, so a bound is only ever widened: times to whole milliseconds outwards, strings cut
to a prefix that sorts below, or to one that sorts above.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS_MAX = 32
STRING_CHARACTERS_MAX = 32
_SURROGATES_FIRST, _SURROGATES_LAST, _CHARACTER_LAST = 0xD800, 0xDFFF, 0x10FFFF


def stats_json(footer: pq.FileMetaData, schema: pa.Schema, always: Sequence[str]) -> str:
    """The `stats` of an add action, from the footer's own statistics.

    Covers flat columns among the first 32, and those named in `always`.
    """
    wanted = set(schema.names[:COLUMNS_MAX]) | set(always)
    columns = (
        {footer.row_group(0).column(index).path_in_schema: index for index in range(footer.num_columns)} if footer.num_row_groups else {}
    )
    lowest: dict[str, Any] = {}
    highest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in schema:
        if field.name not in wanted or field.name not in columns or pa.types.is_nested(field.type):
            continue
        found: list[Any] = [footer.row_group(group).column(columns[field.name]).statistics for group in range(footer.num_row_groups)]
        if any(statistics is None or not statistics.has_null_count for statistics in found):
            continue
        nulls[field.name] = sum(statistics.null_count for statistics in found)
        filled = [
            s for s, group in zip(found, range(footer.num_row_groups), strict=True) if s.null_count < footer.row_group(group).num_rows
        ]
        if not filled or not all(statistics.has_min_max for statistics in filled) or not _bounded(field.type):
            continue
        try:
            low, high = _lower(min(s.min for s in filled)), _upper(max(s.max for s in filled))
        except (ValueError, OverflowError):
            continue  # a moment that Python cannot hold, such as the year 10000
        if low is not None:
            lowest[field.name] = low
        if high is not None:
            highest[field.name] = high
    body = {"numRecords": footer.num_rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls}
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def _bounded(kind: pa.DataType) -> bool:
    return not (pa.types.is_boolean(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_decimal(kind))


def _lower(value: Any) -> Any:
    """A bound at or below the value, as JSON; None where there is none."""
    match value:
        case int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value[:STRING_CHARACTERS_MAX]
        case datetime():
            return _moment(value - timedelta(microseconds=value.microsecond % 1000), value)
        case date():
            return value.isoformat()
        case _:
            return None


def _upper(value: Any) -> Any:
    """A bound at or above the value, as JSON; None where there is none."""
    match value:
        case str():
            return value if len(value) <= STRING_CHARACTERS_MAX else _above(value[:STRING_CHARACTERS_MAX])
        case datetime():
            try:
                return _moment(value + timedelta(microseconds=-value.microsecond % 1000), value)
            except OverflowError:
                return None
        case _:
            return _lower(value)


def _moment(rounded: datetime, value: datetime) -> str:
    if value.tzinfo is None:
        return rounded.isoformat(timespec="milliseconds")
    return rounded.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _above(prefix: str) -> str | None:
    """The shortest simple string that sorts above every string with this prefix; None where there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < _CHARACTER_LAST:
            following = _SURROGATES_LAST + 1 if code == _SURROGATES_FIRST - 1 else code + 1
            return prefix[:index] + chr(following)
    return None
