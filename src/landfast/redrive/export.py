"""Dead letters as a file: JSON lines or Parquet, a part in memory at a time."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.errors import Misconfigured
from landfast.redrive.values import DeadLetter

ExportFormat = Literal["jsonl", "parquet"]
_OWNER_ONLY = 0o600
_HEADERS: pa.DataType = pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("value", pa.binary())]))
_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "topic": pa.string(),
    "topic_id": pa.string(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "timestamp": pa.float64(),
    "key": pa.binary(),
    "value": pa.binary(),
    "headers": _HEADERS,
    "phase": pa.string(),
    "reason": pa.string(),
    "message": pa.string(),
    "attempts": pa.int32(),
    "failed_at": pa.timestamp("us", "UTC"),
    "run_id": pa.string(),
    "state": pa.string(),
    "refusals": pa.int64(),
    "edited": pa.bool_(),
    "failures": pa.int64(),
    "next_attempt_at": pa.timestamp("us", "UTC"),
}
SCHEMA = pa.schema(_COLUMNS)


def export(parts: Iterable[Sequence[DeadLetter]], path: Path, form: ExportFormat, *, replace: bool) -> int:
    """Write the letters to a file that appears whole at the end; how many.

    Only its owner may read it. JSON has bytes as base64.

    Raises:
        Misconfigured: there is a file already, and `replace` is False; or the folder cannot be written.
    """
    if path.exists() and not replace:
        raise _exists(path)
    write: Callable[[Iterable[Sequence[DeadLetter]], IO[bytes]], int] = _write_parquet if form == "parquet" else _write_lines
    with _draft(path, replace=replace) as stream:
        return write(parts, stream)


@contextmanager
def _draft(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.landfast.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise Misconfigured(
            "CONFIG_INVALID", message, next_step="Name a file in a folder that can be written. Nothing was changed."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _exists(path: Path) -> Misconfigured:
    message = f"{path} is there already"
    return Misconfigured("CONFIG_INVALID", message, next_step="Name another file; or say that it is to be replaced. Nothing was written.")


def _write_lines(parts: Iterable[Sequence[DeadLetter]], stream: IO[bytes]) -> int:
    count = 0
    for letter in (letter for part in parts for letter in part):
        stream.write(json.dumps(as_json(letter), separators=(",", ":")).encode() + b"\n")
        count += 1
    return count


def _write_parquet(parts: Iterable[Sequence[DeadLetter]], stream: IO[bytes]) -> int:
    count = 0
    with pq.ParquetWriter(stream, SCHEMA, compression="zstd") as writer:
        for part in parts:
            rows = [asdict(letter) | {"headers": [{"name": name, "value": value} for name, value in letter.headers]} for letter in part]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
            count += len(rows)
    return count


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """A letter as JSON can have it: bytes as base64, times as text."""
    body = asdict(letter)
    headers = [{"name": name, "value": _text(value)} for name, value in letter.headers]
    times = {"failed_at": letter.failed_at.isoformat(), "next_attempt_at": letter.next_attempt_at and letter.next_attempt_at.isoformat()}
    return body | {"key": _text(letter.key), "value": _text(letter.value), "headers": headers} | times


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
