"""The columns of a table: whether they agree with those of the settings, and how a table is given more while others write to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Field as DeltaField
from deltalake.schema import Schema

from landfast.errors import Misconfigured, Unavailable
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.fates import Fate, fate_of
from landfast.sinks.delta.files.own_columns import DELETED, RESCUED, SYSTEM_SCHEMA
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.entities import upsert_problems
from landfast.sinks.delta.table.place import HOOKS_OFF, Place, Shape, shape_of

_FORBIDDEN_IN_NAMES = frozenset(" ,;{}()\n\t=")
CAST_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
"""What Arrow raises where a value cannot be cast safely."""
ADD_ATTEMPTS_MAX = 30
_STEP_OVER = CommitProperties(max_commit_retries=100)
"""deltalake steps over commits that do not concern the columns, inside one attempt."""


def column_conflicts(handle: DeltaTable, settings: DeltaSettings, data_schema: pa.Schema | None) -> Iterator[Misconfigured]:
    """Everything about the table's columns that forbids landing in it."""
    for said in _column_problems(shape_of(handle), settings, data_schema):
        next_step = 'Make settings and table agree; unknown_fields = "evolve" adds columns that are missing.'
        yield Misconfigured("SCHEMA_CONFLICT", said, next_step=next_step)
    yield from upsert_problems(_with(shape_of(handle).schema, missing_columns(shape_of(handle), settings, data_schema)), settings.upsert)


def _with(schema: pa.Schema, more: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *more])


def as_stored(schema: pa.Schema) -> pa.Schema:
    """The schema as a Delta table gives it back: without what Delta does not tell apart."""
    return pa.schema(cast("Any", Schema.from_arrow(schema).to_arrow()))


def name_problem(name: str) -> str | None:
    """Why a column of this name cannot be, or None."""
    if not name or _FORBIDDEN_IN_NAMES & set(name):
        return f"the column name {name!r} is empty or holds one of the characters that Delta forbids (space , ; {{ }} ( ) tab newline =)"
    if any(unicodedata.category(character) == "Cc" for character in name):
        # A NUL ends the name for some readers and not for others.
        return f"the column name {name!r} holds a control character"
    return None


def missing_columns(shape: Shape, settings: DeltaSettings, data_schema: pa.Schema | None) -> pa.Schema:
    """Columns that settings or system want and the table lacks."""
    wanted: dict[str, pa.Field[Any]] = {}
    if data_schema is not None:
        wanted.update({field.name: field.with_nullable(nullable=True) for field in as_stored(data_schema)})
    if settings.unknown_fields != "dead":
        wanted.setdefault(RESCUED, pa.field(RESCUED, pa.string()))
    wanted.update({field.name: field for field in _system_fields(settings)})
    return pa.schema([field for name, field in wanted.items() if name not in shape.schema.names])


def _system_fields(settings: DeltaSettings) -> list[pa.Field[Any]]:
    """The columns that Landfast adds to every row."""
    return [*SYSTEM_SCHEMA, *([] if settings.upsert is None else [pa.field(DELETED, pa.bool_())])]


def _column_problems(shape: Shape, settings: DeltaSettings, data_schema: pa.Schema | None) -> Iterator[str]:
    schema = shape.schema
    system = _system_fields(settings)
    reserved = [] if data_schema is None else sorted({*data_schema.names} & {field.name for field in system})
    if reserved:
        yield f"the columns {', '.join(reserved)} belong to the system"
    missing = missing_columns(shape, settings, data_schema)
    if missing.names and settings.unknown_fields != "evolve":
        yield f"the table lacks the columns {', '.join(missing.names)}"
    for field in [*(as_stored(data_schema) if data_schema is not None else []), *system]:
        if field.name in schema.names and schema.field(field.name).type != field.type:
            yield f"column {field.name} is {schema.field(field.name).type} in the table and {field.type} here"
    if data_schema is not None:
        for field in shape.data_schema:
            if not field.nullable and field.name not in data_schema.names:
                yield f"the table demands the column {field.name}, and the settings do not name it"
    folded: dict[str, str] = {}
    for name in [*schema.names, *missing.names]:
        other = folded.setdefault(name.lower(), name)
        if other != name:
            yield f"the columns {other} and {name} differ only by case"
    if settings.partition_by and settings.partition_by != shape.partition_by:
        yield f"the table is partitioned by {list(shape.partition_by)}, the settings say {list(settings.partition_by)}"
    yield from partition_problems(schema, shape.partition_by)


def partition_problems(schema: pa.Schema, partition_by: tuple[str, ...]) -> Iterator[str]:
    """Why a table of this schema cannot be partitioned like this."""
    for name in partition_by:
        if name not in schema.names:
            yield f"the table is to be partitioned by {name}, which is not a column"
            continue
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind)):
            yield f"partition column {name} is {kind}; string, integer, boolean and date can be"


def creation_problems(schema: pa.Schema, partition_by: tuple[str, ...]) -> Iterator[str]:
    """Why no table of these columns can be created."""
    yield from filter(None, map(name_problem, schema.names))
    folded: dict[str, str] = {}
    for name in schema.names:
        other = folded.setdefault(name.lower(), name)
        if other != name or schema.names.count(name) > 1:
            yield f"the columns {other} and {name} have the same name but for case"
    yield from partition_problems(schema, partition_by)


def misfits(column: Any, kind: Any, start: int = 0) -> Iterator[int]:
    """Indices of the values that a safe cast refuses, by halving: one bad value among many is found in few casts."""
    try:
        column.cast(kind, safe=True)
    except CAST_REFUSALS:
        if len(column) == 1:
            yield start
            return
        half = len(column) // 2
        yield from misfits(column.slice(0, half), kind, start)
        yield from misfits(column.slice(half), kind, start + half)


def opened_with(place: Place, handle: DeltaTable, wanted: pa.Schema) -> DeltaTable:
    """A handle on the table with all of these columns, which it is given where an earlier version has made it without."""
    known = shape_of(handle).schema.names
    missing = pa.schema([field for field in wanted if field.name not in known])
    if not missing.names:
        return handle
    add_columns(place, missing)
    return place.handle()


def add_columns(place: Place, fields: pa.Schema) -> None:
    """Give the table these columns where it lacks them; several processes may do so at once.

    A column that exists by now, perhaps with another type, is left as it is.

    Raises:
        Unavailable: the table kept changing, or the store does not answer.
    """
    with mapped("adding columns to the table"):
        for _ in range(ADD_ATTEMPTS_MAX if fields.names else 0):
            handle = place.handle()
            taken = {name.lower() for name in shape_of(handle).schema.names}
            missing: list[DeltaField] = [field for field in Schema.from_arrow(fields).fields if field.name.lower() not in taken]
            if not missing:
                return
            try:
                handle.alter.add_columns(missing, commit_properties=_STEP_OVER, post_commithook_properties=HOOKS_OFF)
            except Exception as error:
                if fate_of(error) is Fate.INTERFERENCE:
                    continue
                raise
        if fields.names:
            message = f"the table changed during each of {ADD_ATTEMPTS_MAX} attempts to add columns"
            raise Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step="Nothing: it is tried again.")
