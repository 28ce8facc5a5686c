"""Which files may hold a row of some keys: by the values of their partition, and by the bounds of their columns in the table's log.

A file is left out only where it is certain that it holds none of them. Bounds that are missing, of another type than the column, or of
a writer who may cut them, prove nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from landfast.sinks.delta.files.names import is_own
from landfast.sinks.delta.files.stats import STRING_CHARACTERS_MAX
from landfast.sinks.delta.log.active import ActiveFile
from landfast.sinks.delta.upserting.keys import KeyIndex

Bounds = tuple[Any, Any]


def candidates(files: Iterable[ActiveFile], bounds: Mapping[str, Mapping[str, Bounds]], index: KeyIndex) -> list[ActiveFile]:
    """The files that may hold a row with a key of the index. `bounds` are those of the files' columns, by path."""
    wanted = {name: _ordered(index.values(name)) for name in index.key}
    return [file for file in files if all(_may_hold(file, name, wanted[name], bounds.get(file.path, {})) for name in index.key)]


def _may_hold(file: ActiveFile, name: str, wanted: Sequence[Any], bounds: Mapping[str, Bounds]) -> bool:
    if name in file.partition_values:
        value = file.partition_values[name]
        return value is not None and _any_within(wanted, *[_plain(pa.array([value]))[0]] * 2)
    return name not in bounds or _any_within(wanted, *bounds[name])


def _any_within(wanted: Sequence[Any], low: Any, high: Any) -> bool:
    """Whether one of these ordered values lies between the bounds, themselves included."""
    return bisect.bisect_left(wanted, low) < bisect.bisect_right(wanted, high)


def bounds_in(table: DeltaTable, schema: pa.Schema, key: Sequence[str]) -> dict[str, dict[str, Bounds]]:
    """What the log says of the least and the greatest value of these columns in each file, as far as it can be relied on."""
    adds = pa.table(table.get_add_actions(flatten=True))
    paths: list[str] = [unquote(str(path)) for path in adds.column("path").to_pylist()]
    found: dict[str, dict[str, Bounds]] = {path: {} for path in paths}
    for name in key:
        for path, low, high in _column_bounds(adds, paths, name, schema.field(name).type):
            if is_own(path) or _whole(low, high, schema.field(name).type):
                found[path][name] = (low, high)
    return found


def _column_bounds(adds: pa.Table, paths: Sequence[str], name: str, kind: pa.DataType) -> Iterator[tuple[str, Any, Any]]:
    lows, highs = f"min.{name}", f"max.{name}"
    # A name with a dot may be that of a field inside another column.
    if "." in name or lows not in adds.column_names or adds.schema.field(lows).type != kind or adds.schema.field(highs).type != kind:
        return
    for path, low, high in zip(paths, _plain(adds.column(lows)), _plain(adds.column(highs)), strict=True):
        if low is not None and high is not None:
            yield path, low, high


def _whole(low: Any, high: Any, kind: pa.DataType) -> bool:
    """Whether bounds that another writer gave are bounds for certain: some cut texts, round moments, or go through floats."""
    if pa.types.is_string(kind):
        return max(len(low), len(high)) < STRING_CHARACTERS_MAX
    return pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_boolean(kind)


def _ordered(values: Any) -> list[Any]:
    return sorted(_plain(values))


def _plain(values: Any) -> list[Any]:
    """Values that Python can hold and compare: not every moment of a column is one of its own."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.int64())
    elif pa.types.is_date(kind):
        values = values.cast(pa.int32())
    return list(values.to_pylist())
