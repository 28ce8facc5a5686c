"""Tables with one row per key: how one is marked as such, and what cannot be a key or an order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.sinks.delta.files.own_columns import DELETED, RESCUED, SYSTEM_COLUMNS
from landfast.sinks.delta.settings import DeltaSettings, UpsertSettings
from landfast.sinks.delta.table.place import UPSERT_PROPERTY

TIMESTAMP = "_timestamp"
"""The one system column that can be an order: when the record was written, by Kafka."""

_FORBIDS = {"delta.appendOnly": "takes nothing but further rows", "delta.enableChangeDataFeed": "tells which rows each commit has changed"}


@dataclass(frozen=True, slots=True)
class Entities:
    """What a table with one row per key says of itself."""

    key: tuple[str, ...]
    order_by: str | None


def entities_in(handle: DeltaTable) -> Entities | None:
    """What the table says of its key and order; None where every record is a row of its own.

    Raises:
        Misconfigured: somebody has changed the property to what nobody can read.
    """
    text = handle.metadata().configuration.get(UPSERT_PROPERTY)
    if text is None:
        return None
    try:
        said = json.loads(text)
        return Entities(tuple(map(str, said["key"])), said.get("order_by"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        message = f"the table's property {UPSERT_PROPERTY} is not as Landfast writes it: nobody can say what the key of a row is"
        next_step = "Find out who changed the property, and set it back, as an earlier version of the table has it."
        raise Misconfigured("UPSERT_CHANGED", message, next_step=next_step) from None


def entity_properties(settings: DeltaSettings) -> dict[str, str]:
    """The property that says what the key and the order of the table are; none where every record is a row of its own."""
    upsert = settings.upsert
    return {} if upsert is None else {UPSERT_PROPERTY: json.dumps({"key": list(upsert.key), "order_by": upsert.order_by})}


def mode_conflicts(handle: DeltaTable, settings: DeltaSettings, marked: Mapping[str, str]) -> Iterator[Misconfigured]:
    """Why the table cannot be kept as the settings say: what it was made for stays. `marked` are the pipelines that it belongs to."""
    found, upsert = entities_in(handle), settings.upsert
    if upsert is None and found is not None:
        message = f"the table holds one row per key ({', '.join(found.key)}), and the settings would add each record as a row of its own"
        yield Misconfigured("UPSERT_CHANGED", message, next_step='Set sink.mode = "upsert" with this key; or land into another table.')
    if upsert is None:
        return
    configuration = handle.metadata().configuration
    for name, words in _FORBIDS.items():
        if configuration.get(name, "").lower() == "true":
            next_step = f"Set {name} to false, if nobody relies on it; or land into another table."
            yield Misconfigured(
                "PROTOCOL_UNSUPPORTED", f"the table {words} ({name}), and an upsert cannot keep to that", next_step=next_step
            )
    if found is None and marked:
        message = "the pipeline has landed each record as a row of its own in this table, and it cannot be made to hold one row per key"
        yield Misconfigured("UPSERT_CHANGED", message, next_step="Land into a table of its own: another sink.path, under another name.")
    if found is not None and found != Entities(upsert.key, upsert.order_by):
        message = f"the table's rows have {_words(found)}, and the settings say {_words(Entities(upsert.key, upsert.order_by))}"
        yield Misconfigured("UPSERT_CHANGED", message, next_step="Set sink.key and sink.order_by back; or land into another table.")


def _words(entities: Entities) -> str:
    return f"the key ({', '.join(entities.key)}) and the order {entities.order_by or 'of their positions'}"


def upsert_problems(schema: pa.Schema, upsert: UpsertSettings | None) -> Iterator[Misconfigured]:
    """Why rows of these columns cannot be told apart by this key, or put into this order."""
    for said in () if upsert is None else (*_key_problems(schema, upsert), *_order_problems(schema, upsert)):
        yield Misconfigured("KEY_UNUSABLE", said, next_step="Correct sink.key, sink.order_by or sink.delete_when, or the columns.")


def _key_problems(schema: pa.Schema, upsert: UpsertSettings) -> Iterator[str]:
    for name in upsert.key:
        if name in (*SYSTEM_COLUMNS, DELETED, RESCUED):
            yield f"the key column {name} belongs to the system: it says where a record lies, not what it is about"
        elif name not in schema.names:
            yield f"the key column {name} is no column"
        elif not _may_be_key(schema.field(name).type):
            kinds = "string, binary, integer, boolean, date, timestamp and decimal"
            yield f"the key column {name} is {schema.field(name).type}; {kinds} can be"
    if len(set(upsert.key)) < len(upsert.key):
        yield "a column is in the key twice"


def _order_problems(schema: pa.Schema, upsert: UpsertSettings) -> Iterator[str]:
    order_by, delete_when = upsert.order_by, upsert.delete_when
    if order_by is not None:
        if order_by in upsert.key:
            yield f"order_by names the key column {order_by}, which is the same in all rows that it is to put into order"
        elif order_by != TIMESTAMP and (order_by not in schema.names or order_by in (*SYSTEM_COLUMNS, DELETED, RESCUED)):
            yield f"order_by names {order_by}, which is no column of the data"
        elif order_by in schema.names and not _may_be_order(schema.field(order_by).type):
            kind = schema.field(order_by).type
            yield f"order_by names {order_by}, which is {kind}; integer, decimal, date, timestamp and string can be"
    if delete_when is not None:
        if delete_when not in schema.names or delete_when in (*SYSTEM_COLUMNS, DELETED, RESCUED):
            yield f"delete_when names {delete_when}, which is no column of the data"
        elif not pa.types.is_boolean(schema.field(delete_when).type):
            yield f"delete_when names {delete_when}, which is {schema.field(delete_when).type}, and has to be boolean"


def _may_be_key(kind: pa.DataType) -> bool:
    return _may_be_order(kind) or pa.types.is_binary(kind) or pa.types.is_boolean(kind)


def _may_be_order(kind: pa.DataType) -> bool:
    numbers = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return numbers or pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_string(kind)
