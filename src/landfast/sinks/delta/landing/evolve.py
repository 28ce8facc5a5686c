"""Columns that the table gains while running: fields that the decoder rescued move from JSON text into columns of their own.

Only fields at the top of a record are promoted, to boolean, int64, float64 or string, and a value moves only where the column holds it
exactly. Whatever does not move stays in `_rescued`, as it was written: nothing is lost by a wrong guess, or by two processes that guess
differently at the same time, since the table's column decides. A decoder that knows the column from then on does the same: what does not
fit a column that nobody named in the settings comes here rescued, and stays so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from landfast.events import Notice
from landfast.sinks.delta.files.own_columns import RESCUED, SYSTEM_COLUMNS
from landfast.sinks.delta.table.columns import add_columns, name_problem
from landfast.sinks.delta.table.home import TableHome

NAME_CHARACTERS_MAX = 128
_PATH_MARKS = frozenset(".[]`")
_SETTINGS_NAMES: Mapping[pa.DataType, str] = {pa.bool_(): "boolean", pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string"}
"""The types that a new column may have, as the settings write them."""
_INT_RANGES = {kind: 2 ** (bits - 1) for kind, bits in ((pa.int8(), 8), (pa.int16(), 16), (pa.int32(), 32), (pa.int64(), 64))}


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Rescued:
    """One field that was rescued: its value as parsed, and the text it came from."""

    value: Any
    text: str


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number)


def rescued_fields(text: str) -> dict[str, Rescued]:
    """The fields of a `_rescued` text in order; empty where it is not the object that a decoder writes."""
    fields: dict[str, Rescued] = {}
    at = 1
    try:
        while text[at - 1] in "{,":
            name, end = _DECODER.raw_decode(text, at)
            value, stop = _DECODER.raw_decode(text, end + 1)
            if not isinstance(name, str) or isinstance(name, _Number) or text[end] != ":" or name in fields:
                return {}
            fields[name] = Rescued(value, text[end + 1 : stop])
            at = stop + 1
    except (ValueError, IndexError):
        return {}
    return fields if text[at - 1 :] == "}" else {}


def proposed_columns(records: Iterable[Mapping[str, Rescued]], schema: pa.Schema, columns_max: int) -> pa.Schema:
    """Columns that the table lacks for these fields, in the order met."""
    found: dict[str, pa.DataType] = {}
    taken = {name.lower() for name in schema.names}
    for record in records:
        for name, field in record.items():
            kind = _kind_of(field.value)
            if name in found:
                # A whole number may have come first; the column that takes both is the wider one.
                found[name] = pa.float64() if (found[name], kind) == (pa.int64(), pa.float64()) else found[name]
            elif kind is not None and _may_be_column(name) and name.lower() not in taken and len(schema.names) + len(found) < columns_max:
                found[name] = kind
                taken.add(name.lower())
    return pa.schema(list(found.items()))


def unfolded(rows: pa.Table, records: Mapping[int, Mapping[str, Rescued]], schema: pa.Schema) -> pa.Table:
    """The rows with every rescued field in its column, where the table has one that holds it. `records` goes by row."""
    columns: dict[str, list[Any]] = {}
    texts: list[str | None] = rows.column(RESCUED).to_pylist()
    for index, record in records.items():
        kept: dict[str, Rescued] = {}
        for name, field in record.items():
            # A field whose column the decoder knew already was rescued for a reason of its own.
            known = name in schema.names and name not in rows.column_names and name not in SYSTEM_COLUMNS
            fits, value = fitted(field.value, schema.field(name).type) if known else (False, None)
            if fits:
                columns.setdefault(name, [None] * rows.num_rows)[index] = value
            else:
                kept[name] = field
        texts[index] = _text_of(kept)
    for name, values in columns.items():
        rows = rows.append_column(schema.field(name), pa.array(values, schema.field(name).type))
    position = rows.column_names.index(RESCUED)
    return rows.set_column(position, RESCUED, pa.array(texts, pa.string()))


def fitted(value: Any, kind: pa.DataType) -> tuple[bool, Any]:
    """Whether a column of this type holds the value exactly, and the value to put there."""
    match value:
        case None:
            return True, None
        case bool():
            return pa.types.is_boolean(kind), value
        case _Number() if kind in _INT_RANGES:
            whole = _is_whole(value) and -_INT_RANGES[kind] <= int(value) < _INT_RANGES[kind]
            return whole, int(value) if whole else None
        case _Number() if pa.types.is_float64(kind):
            return _is_exact(value), float(value)
        case str() if not isinstance(value, _Number):
            return pa.types.is_string(kind) and _is_encodable(value), value
        case _:
            return False, None


def _kind_of(value: Any) -> pa.DataType | None:
    for kind in _SETTINGS_NAMES:
        if value is not None and fitted(value, kind)[0]:
            return kind
    return None


def _is_whole(number: str) -> bool:
    return not any(mark in number for mark in ".eE") and len(number) <= 20  # noqa: PLR2004 — the longest int64 has 20 characters


def _is_exact(number: str) -> bool:
    """Whether a float keeps every digit that was written."""
    value = float(number)
    return math.isfinite(value) and Decimal(repr(value)) == Decimal(number)


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _may_be_column(name: str) -> bool:
    plain = len(name) <= NAME_CHARACTERS_MAX and not (_PATH_MARKS & set(name)) and _is_encodable(name)
    return plain and not name.startswith("_") and name_problem(name) is None


def _text_of(record: Mapping[str, Rescued]) -> str | None:
    if not record:
        return None
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{field.text}" for name, field in record.items()) + "}"


def evolved(home: TableHome, tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The rows with their rescued fields in columns, which the table is given first where it lacks them."""
    records = [_records_of(rows) for rows in tables]
    if not any(records):
        return list(tables)
    missing = proposed_columns((record for by_row in records for record in by_row.values()), home.shape.schema, home.settings.columns_max)
    if missing.names:
        add_columns(home.place, missing)
        home.open()
        message = f"the table has gained the columns {', '.join(f'{field.name} {_SETTINGS_NAMES[field.type]}' for field in missing)}"
        home.observer.notice(Notice("", "COLUMNS_ADDED", message, "info"))
    schema = home.shape.schema
    return [unfolded(rows, by_row, schema) if by_row else rows for rows, by_row in zip(tables, records, strict=True)]


def _records_of(rows: pa.Table) -> dict[int, dict[str, Rescued]]:
    if RESCUED not in rows.column_names or rows.column(RESCUED).null_count == rows.num_rows:
        return {}
    texts = enumerate(rows.column(RESCUED).to_pylist())
    return {index: fields for index, text in texts if text is not None and (fields := rescued_fields(text))}
