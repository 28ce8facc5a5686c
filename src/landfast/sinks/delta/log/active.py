"""The files that a table consists of at one version, as its log describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from landfast.sinks.delta.files.parquet import partition_text

_PARTITION = "partition."


@dataclass(frozen=True, slots=True)
class ActiveFile:
    """One add action: `rows` is None where the log does not know. `partition_values` are typed, as the reader sees them."""

    path: str
    nbytes: int
    rows: int | None
    modified_at: int
    partition_values: Mapping[str, Any]


def active_files(table: DeltaTable) -> list[ActiveFile]:
    """The files of the handle's version, oldest first."""
    adds = pa.table(table.get_add_actions(flatten=True))
    columns = [name for name in adds.column_names if name.startswith(_PARTITION)]
    wanted = adds.select(["path", "size_bytes", "num_records", "modification_time", *columns])
    files = [
        ActiveFile(
            path=unquote(row["path"]),
            nbytes=row["size_bytes"],
            rows=row["num_records"],
            modified_at=row["modification_time"],
            partition_values={name.removeprefix(_PARTITION): row[name] for name in columns},
        )
        for row in wanted.to_pylist()
    ]
    return sorted(files, key=lambda file: (file.modified_at, file.path))


def partition_texts(file: ActiveFile) -> dict[str, str | None]:
    """The file's partition values as the log writes them."""
    return {name: partition_text(value) for name, value in file.partition_values.items()}
