"""Numbers kept on disk by lane and window of offsets, so that any count of records is compared a window at a time.

An entry is an offset and a label. Entries of one window may come in any order and from several writers, each with files of its own.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.cli.torture.records import Column

pc: Any = pyarrow.compute

WINDOW = 1 << 18
"""Offsets in a bucket: what is held in memory while it is compared."""

_FLUSH_ENTRIES = 20_000
_NAME = re.compile(r"(\d+)-(\d+)\.[a-z]+\.offsets")
_ENTRY_BYTES = 8

Bucket = tuple[int, int]
"""A lane's index, and the number of a window of its offsets."""


class Buckets:
    """Writes entries. `writer` is a word of its own for each process that writes into the folder."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self._held: dict[Bucket, tuple[array[int], array[int]]] = {}
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, lane: int, offsets: array[int], labels: array[int]) -> None:
        """Add entries; they are on disk after `flush`."""
        windows = range(min(offsets) // WINDOW, max(offsets) // WINDOW + 1)
        for window in windows:
            held = self._held.setdefault((lane, window), (array("q"), array("q")))
            if len(windows) == 1:
                held[0].extend(offsets)
                held[1].extend(labels)
            else:
                chosen = [place for place, offset in enumerate(offsets) if offset // WINDOW == window]
                held[0].extend(offsets[place] for place in chosen)
                held[1].extend(labels[place] for place in chosen)
        self._count += len(offsets)
        if self._count >= _FLUSH_ENTRIES:
            self.flush()

    def extend(self, lane: int, offsets: Column, labels: Column) -> None:
        """Add entries that are given as int64 columns without nulls."""
        windows = pc.divide(offsets, pa.scalar(WINDOW, pa.int64()))
        for window in pc.unique(windows).to_pylist():
            chosen = pc.equal(windows, pa.scalar(window, pa.int64()))
            self._write((lane, window), _bytes(offsets.filter(chosen)), _bytes(labels.filter(chosen)))

    def flush(self) -> None:
        """Write what is held."""
        for bucket, (offsets, labels) in self._held.items():
            self._write(bucket, offsets.tobytes(), labels.tobytes())
        self._held.clear()
        self._count = 0

    def _write(self, bucket: Bucket, offsets: bytes, labels: bytes) -> None:
        for kind, content in (("offsets", offsets), ("labels", labels)):
            with _path(self._folder, bucket, self._writer, kind).open("ab") as out:
                out.write(content)


def buckets_in(folder: Path) -> set[Bucket]:
    """The buckets that something was written to."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.exists() else ()
    return {(int(match[1]), int(match[2])) for match in found if match is not None}


def read(folder: Path, bucket: Bucket) -> tuple[Column, Column]:
    """The offsets and the labels of a bucket, from all writers."""
    columns = []
    for kind in ("offsets", "labels"):
        paths = sorted(folder.glob(f"{bucket[0]:03d}-{bucket[1]:06d}.*.{kind}"))
        content = b"".join(path.read_bytes() for path in paths)
        columns.append(pa.Array.from_buffers(pa.int64(), len(content) // _ENTRY_BYTES, [None, pa.py_buffer(content)]))
    return columns[0], columns[1]


def _path(folder: Path, bucket: Bucket, writer: str, kind: str) -> Path:
    return folder / f"{bucket[0]:03d}-{bucket[1]:06d}.{writer}.{kind}"


def _bytes(column: Column) -> bytes:
    if not len(column):
        return b""
    return bytes(column.buffers()[1].slice(column.offset * _ENTRY_BYTES, len(column) * _ENTRY_BYTES))
