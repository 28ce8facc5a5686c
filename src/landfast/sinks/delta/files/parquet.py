"""One Parquet file of a table: written, made durable, read back, described for the log."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landfast.errors import Broken, check
from landfast.sinks.delta.files.own_columns import SYSTEM_COLUMNS
from landfast.sinks.delta.files.stats import stats_json
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.settings import DeltaSettings

DICTIONARY_SAMPLE_ROWS = 4096
DICTIONARY_SHARE_MAX = 0.25
PAGE_BYTES = 1024 * 1024
"""What a page of a column holds, about; Arrow looks whether it is full every so many rows."""
LOOK_ROWS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one partition of the table: the folder for their file and the values for the log."""

    folder: str
    values: dict[str, str | None]
    rows: pa.Table

    def cut(self, rows_max: int) -> Iterator[Part]:
        """The same in shares of at most so many rows: what goes into one file."""
        for start in range(0, self.rows.num_rows, rows_max):
            yield Part(self.folder, self.values, self.rows.slice(start, rows_max))


@dataclass(frozen=True, slots=True)
class DataFile:
    """A durable file that no commit names yet.

    `modified_at` is in milliseconds since the epoch; `digest` is the SHA-256 of the bytes that were written, in hex.
    """

    path: str
    nbytes: int
    rows: int
    partition_values: dict[str, str | None]
    modified_at: int
    stats: str
    digest: str


def write(files: Files, name: str, part: Part, settings: DeltaSettings, *, now: float) -> DataFile:
    """Write the rows as one file, make it durable, and read its footer back from where it lies.

    Raises:
        Broken: the file read back does not hold what was written.
    """
    path = f"{part.folder}{name}"
    schema = part.rows.schema.remove_metadata()
    with new_file(files, path, schema, part.rows, settings.compression_level) as (writer, written):
        writer.write_table(part.rows, row_group_size=settings.row_group_rows_max)
    footer, nbytes = read_back(files, path)
    check(footer.num_rows == part.rows.num_rows, f"a file read back holds {footer.num_rows} rows instead of {part.rows.num_rows}")
    stats = stats_json(footer, schema, (*SYSTEM_COLUMNS, *settings.key), lambda _name: [part.rows])
    return DataFile(path, nbytes, footer.num_rows, part.values, int(now * 1000), stats, written.digest())


class Written(io.RawIOBase):
    """A stream that is written on to another, and knows the digest of all that went through.

    The digest is taken of what was to be written: what the disk or the store makes of it is compared with that later.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, content: Any) -> int:
        """See `io.RawIOBase.write`; all of it is written."""
        self._hash.update(content)
        return self._stream.write(content)

    def digest(self) -> str:
        """The SHA-256 so far, in hex."""
        return self._hash.hexdigest()


@contextmanager
def new_file(
    files: Files, path: str, schema: pa.Schema, sample: pa.Table, compression_level: int
) -> Iterator[tuple[pq.ParquetWriter, Written]]:
    """A writer of one file in the form that all our files have, and what it writes to. `sample`: its first rows.

    The file is durable, and its digest that of the whole, when the block ends.
    """
    with (
        files.output(path) as stream,
        pq.ParquetWriter(
            cast("IO[bytes]", written := Written(stream)),
            schema,
            compression="zstd",
            compression_level=compression_level,
            use_dictionary=_repetitive(sample),  # type: ignore[arg-type]  # a list of columns is taken, the stub knows only bool
            write_statistics=_told(schema),
            write_page_checksum=True,
            write_batch_size=_rows_a_look(sample),
            store_schema=False,
        ) as writer,
    ):
        yield writer, written


def read_back(files: Files, path: str) -> tuple[pq.FileMetaData, int]:
    """The footer of a file, from where it lies, and how many bytes it has."""
    with files.open(path) as stored:
        return pq.read_metadata(stored), stored.seek(0, io.SEEK_END)


def _rows_a_look(sample: pa.Table) -> int:
    """After how many rows it is looked whether a page is full: a page of a thousand large values no reader could take in parts."""
    rows = max(1, sample.num_rows)
    return max(1, min(LOOK_ROWS_MAX, PAGE_BYTES * rows // max(1, sample.nbytes)))


def _told(schema: pa.Schema) -> bool | list[str]:
    """The columns that the footer tells the bounds of: all, or where bytes are among them, only flat ones of other types.

    Nobody looks for bounds of bytes, and to find them Arrow copies the longest value four times: one of 200 MiB took 800 MiB.
    """
    if not any(_is_bytes(field.type) for field in schema):
        return True
    return [field.name for field in schema if not _is_bytes(field.type) and not pa.types.is_nested(field.type)]


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _repetitive(rows: pa.Table) -> list[str]:
    """The columns whose values repeat so much that a dictionary pays: by a sample, since building one in vain costs most of the write."""
    return [field.name for field in rows.schema if _repeats(rows.column(field.name), field.type)]


def _repeats(column: Any, kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return False
    sample = column.slice(0, DICTIONARY_SAMPLE_ROWS)
    return bool(pc.count_distinct(sample, mode="all").as_py() <= DICTIONARY_SHARE_MAX * max(1, len(sample)))


def partition_text(value: object) -> str | None:
    """A partition value as the Delta protocol writes it."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case dt.date():
            return value.isoformat()
        case _:
            message = f"no partition value of type {type(value).__name__}"
            raise Broken("INVARIANT_BROKEN", message)
