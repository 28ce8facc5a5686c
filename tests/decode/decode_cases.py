"""The conformance corpus and what its tests share: chunks from values, rows as plain text."""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from landfast.decode.json import JsonDecoder
from landfast.decode.schema import RESCUED, parse_columns
from landfast.model import Chunk, Decoded, Stream

CORPUS = Path(__file__).parent.parent / "corpus" / "json"


@dataclass(frozen=True, slots=True)
class Case:
    """One document, the columns it meets, and the verdict it must get from every implementation."""

    name: str
    columns: dict[str, str]
    document: bytes
    unknown_fields: str
    row: dict[str, Any] | None
    reason: str | None


def load_corpus() -> list[Case]:
    """Every case of every file."""
    cases: list[Case] = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            document = base64.b64decode(item["base64"]) if "base64" in item else item["text"].encode()
            name = f"{path.stem}/{item['name']}"
            cases.append(Case(name, item["columns"], document, item.get("unknown_fields", "rescue"), item.get("row"), item.get("reason")))
    return cases


def chunk_of(values: Sequence[bytes | None]) -> Chunk:
    """A chunk that holds these values."""
    count = len(values)
    size = sum(len(value or b"") for value in values)
    stream = Stream("topic", "incarnation", 0)
    return Chunk(stream, 1, 0, count, values, [None] * count, None, array("q", range(count)), array("q", [0] * count), size)


def decode_all(columns: dict[str, str] | pa.Schema, values: Sequence[bytes | None], unknown_fields: Any = "rescue") -> Decoded:
    """Decode values with a new decoder."""
    schema = parse_columns(columns) if isinstance(columns, dict) else columns
    return JsonDecoder(schema, unknown_fields=unknown_fields).decode(chunk_of(values))


def neighbour(columns: dict[str, str]) -> bytes:
    """A good document of these columns."""
    return json.dumps({field.name: fitting(field.type) for field in parse_columns(columns)}).encode()


def fitting(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: fitting(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [fitting(kind.value_type)]
    if pa.types.is_map(kind):
        return {"k": fitting(kind.item_type)}
    if pa.types.is_timestamp(kind):
        return "2020-01-01T00:00:00" + ("Z" if kind.tz else "")
    if kind == pa.date32():
        return "2020-01-01"
    if kind == pa.bool_():
        return True
    return "YWJj" if kind in {pa.string(), pa.binary()} else 0


def verdicts(decoded: Decoded) -> list[Any]:
    """Per record: the row as plain values, or the reason."""
    result: list[Any] = [None] * len(decoded.chunk)
    kept = range(len(decoded.chunk)) if decoded.kept is None else decoded.kept
    for index, row in zip(kept, plain_rows(decoded.rows), strict=True):
        result[index] = row
    for reject in decoded.rejects:
        result[reject.index] = reject.reason
    return result


def plain_rows(table: Any) -> list[dict[str, Any]]:
    """The rows as plain values; `_rescued` only where it is not null."""
    rows = [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]
    return [{name: value for name, value in row.items() if name != RESCUED or value is not None} for row in rows]


def plain(value: Any) -> Any:
    """A value as the corpus writes it: floats, decimals and times as text, so that nothing is compared loosely."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float | Decimal):
        return repr(value) if isinstance(value, float) else format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + ("Z" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value]
