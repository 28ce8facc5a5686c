"""Records as bytes: every path to a row gives the same verdict, and no reason is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from landfast.decode.json import SINGLY_RECORDS_MAX, JsonDecoder
from landfast.decode.json_fast import FastReader, is_readable
from landfast.decode.json_rules import REASONS, JsonLimits, Refused
from landfast.decode.json_slow import Reference
from landfast.decode.proposal import survey
from landfast.decode.schema import RESCUED, parse_columns, to_text
from landfast.errors import Misconfigured
from tests.decode.decode_cases import chunk_of, neighbour, plain_rows, verdicts

LIMITS = JsonLimits(record_bytes=4_096, depth=40, parts=300)
"""Small enough for the search to reach both sides of each."""

_SCHEMAS: Sequence[Mapping[str, str]] = (
    {"a": "int64"},
    {"a": "string", "b": "binary"},
    {"a": "float64", "b": "float32"},
    {"a": "decimal(38,9)", "b": "decimal(5,2)", "c": "decimal(38,38)"},
    {"a": "timestamp", "b": "timestamp_ntz", "c": "date"},
    {"a": "int8", "b": "int16", "c": "int32", "d": "boolean"},
    {"a": "array<int64>", "b": "struct<a: string not null, c: array<decimal(10,3)>>"},
    {"a": "map<string, float64>", "b": "array<struct<a: timestamp not null>>"},
    {"a": "string not null", "b": "struct<a: struct<a: struct<a: int64>>>"},
)


def records(data: bytes) -> str:
    """The first byte chooses columns and the treatment of unknown fields; the rest are records with a mark between."""
    choice = (data[0] if data else 0) % (2 * len(_SCHEMAS))
    paths = _paths(choice)
    documents = data[1:].split(b"\x1e")[:40]
    expected = [_verdict(paths.reference, paths.decoder.schema, document) for document in documents]
    # Few records are decoded one by one, more are read at once, and among many the doubtful ones are looked for.
    for padding in (0, SINGLY_RECORDS_MAX, 10 * SINGLY_RECORDS_MAX):
        decoded = paths.decoder.decode(chunk_of([*documents, *[paths.neighbour] * padding]))
        found = verdicts(decoded)
        if found[: len(documents)] != expected:
            raise AssertionError(f"with {padding} neighbours: {found[: len(documents)]!r}, the reference says {expected!r}")
        if any(isinstance(one, str) for one in found[len(documents) :]):
            raise AssertionError("a neighbour suffered")
        decoded.rows.validate(full=True)  # type: ignore[attr-defined]
    _fast_agrees(paths, documents, expected)
    return " ".join([str(choice), *sorted({one if isinstance(one, str) else "row" for one in expected})])


@dataclass(frozen=True, slots=True)
class _Paths:
    """The ways from a document to a row of one schema; `fast` is None where Arrow's reader does not know a type."""

    schema: pa.Schema
    reference: Reference
    decoder: JsonDecoder
    fast: FastReader | None
    neighbour: bytes


@cache
def _paths(choice: int) -> _Paths:
    columns = dict(_SCHEMAS[choice % len(_SCHEMAS)])
    schema = parse_columns(columns)
    refuses = choice >= len(_SCHEMAS)
    reference = Reference(schema, refuse_unknown=refuses, limits=LIMITS)
    decoder = JsonDecoder(schema, unknown_fields="dead" if refuses else "rescue", limits=LIMITS)
    fast = FastReader(schema, LIMITS) if is_readable(schema, LIMITS.depth) else None
    return _Paths(schema, reference, decoder, fast, neighbour(columns))


def _fast_agrees(paths: _Paths, documents: Sequence[bytes], expected: Sequence[Any]) -> None:
    """What the fast path takes without suspicion is a row of the reference, with nothing left over."""
    if paths.fast is None:
        return
    for document, verdict in zip(documents, expected, strict=True):
        piece = paths.fast.read([document])
        if piece is not None and (piece.suspects is None or not piece.suspects[0].as_py()):
            (row,) = plain_rows(pa.Table.from_arrays(list(piece.columns), schema=paths.schema))
            if row != verdict:
                raise AssertionError(f"the fast path says {row!r}, the reference {verdict!r}")


def _verdict(reference: Reference, output: pa.Schema, document: bytes) -> Any:
    try:
        row, rescued = reference.row(document)
    except Refused as refused:
        if refused.reason not in REASONS:
            raise AssertionError(f"{refused.reason} is no reason") from None
        return refused.reason
    cells = [*row, rescued] if output.names[-1] == RESCUED else row
    arrays = [pa.array([cell], field.type) for cell, field in zip(cells, output, strict=True)]
    return plain_rows(pa.Table.from_arrays(arrays, schema=output))[0]


def columns_text(data: bytes) -> str:
    """The first line names a column, the rest is its type."""
    name, _, kind = data.decode("utf-8", "surrogateescape").partition("\n")
    try:
        schema = parse_columns({name: kind})
    except Misconfigured as error:
        return f"{error.code} {error.message.rpartition(':')[2][:40]}"
    if parse_columns({name: _text(schema.field(0))}) != schema:
        raise AssertionError("a type that is written down reads as another")
    return _text(schema.field(0))[:40]


def _text(field: pa.Field[Any]) -> str:
    return to_text(field.type) + ("" if field.nullable else " not null")


@cache
def _decoder(schema: pa.Schema) -> JsonDecoder:
    return JsonDecoder(schema, limits=LIMITS)


def proposal(data: bytes) -> str:
    """Samples with a mark between; the columns that are proposed take what they were proposed for."""
    samples = data.split(b"\x1e")
    found = survey(samples, LIMITS)
    if found.read + sum(found.refused.values()) != len(samples):
        raise AssertionError("a sample was counted twice, or not at all")
    for field in found.schema:
        parse_columns({field.name: to_text(field.type)})
    if not found.odd and len(found.schema):
        decoded = _decoder(found.schema).decode(chunk_of(samples))
        if len(decoded.rejects) != sum(found.refused.values()):
            raise AssertionError(f"{decoded.rejects!r} do not fit the columns proposed for them")
    return " ".join([*sorted(found.refused), *sorted({to_text(field.type)[:30] for field in found.schema})])
