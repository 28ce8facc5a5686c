"""The text of a log entry that appends files, or puts some in the place of others: actions of the Delta protocol, one JSON object a line.

Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions. Whatever
a reader goes by stands there as deltalake's own append writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deltalake import DeltaTable

from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.log.active import ActiveFile, partition_texts
from landfast.sinks.delta.log.digests import TAG

_PLAIN_IN_PATHS = "/!$&'()+,:;=@"
"""What deltalake leaves as it is in a path. A file is removed by the very text that added it, so both have to write it alike."""


def append_text(
    said: Mapping[str, Any],
    transactions: Mapping[str, int],
    files: Iterable[DataFile],
    *,
    partition_by: Sequence[str],
    at_milliseconds: int,
) -> bytes:
    """The entry of a commit that appends these files and moves these transaction versions.

    `said` is what the commit says of itself, for `commitInfo`; `at_milliseconds` is the time since the epoch, for people.
    """
    parameters = {"mode": "Append", "partitionBy": json.dumps(list(partition_by))}
    info = _info("WRITE", parameters, said, at_milliseconds, is_blind=True)
    return _lines([info, *_moved(transactions), *({"add": _add(file, changes=True)} for file in files)])


def overwrite_text(
    said: Mapping[str, Any],
    transactions: Mapping[str, int],
    removed: Iterable[Mapping[str, Any]],
    files: Iterable[DataFile],
    *,
    partition_by: Sequence[str],
    predicate: str | None = None,
    at_milliseconds: int,
) -> bytes:
    """The entry of a commit that puts these files in the place of those that the `removed` actions name.

    Without a predicate these are all that the table has in the version before it: `removals`.
    """
    parameters = {"mode": "Overwrite", "partitionBy": json.dumps(list(partition_by))} | ({"predicate": predicate} if predicate else {})
    info = _info("WRITE", parameters, said, at_milliseconds, is_blind=False)
    added = ({"add": _add(file, changes=True)} for file in files)
    return _lines([info, *_moved(transactions), *({"remove": action} for action in removed), *added])


def upsert_text(
    said: Mapping[str, Any],
    transactions: Mapping[str, int],
    removed: Iterable[Mapping[str, Any]],
    files: Iterable[DataFile],
    *,
    key: Sequence[str],
    at_milliseconds: int,
) -> bytes:
    """The entry of a commit that puts rows in the place of those with the same key, by files in the place of the `removed` ones."""
    predicate = " AND ".join(f"target.{name} = source.{name}" for name in key)
    info = _info("MERGE", {"predicate": predicate}, said, at_milliseconds, is_blind=False)
    added = ({"add": _add(file, changes=True)} for file in files)
    return _lines([info, *_moved(transactions), *({"remove": action} for action in removed), *added])


def removals(old: Iterable[ActiveFile], at_milliseconds: int) -> Iterator[Mapping[str, Any]]:
    """The actions that take these files out of the table, with their rows."""
    for file in old:
        yield _remove(file, partition_texts(file), at_milliseconds, changes=True)


def rewrite_text(
    said: Mapping[str, Any], transactions: Mapping[str, int], table: DeltaTable, old: Iterable[ActiveFile], new: DataFile
) -> bytes:
    """The entry of a commit that changes no row: those of the old files, which lie in one folder, are in the new one.

    It repeats what the table says of itself, unchanged. deltalake's `optimize` steps over the removal of files that it has read itself, so
    of one that began before this commit every row would come twice; at a change of the table's metadata it gives up, as it should.
    """
    info = _info("OPTIMIZE", {"predicate": "[]"}, said, new.modified_at, is_blind=False)
    removed = ({"remove": _remove(file, new.partition_values, new.modified_at, changes=False)} for file in old)
    return _lines([info, *_moved(transactions), {"metaData": _metadata(table)}, *removed, {"add": _add(new, changes=False)}])


def _info(
    operation: str, parameters: Mapping[str, str], said: Mapping[str, Any], at_milliseconds: int, *, is_blind: bool
) -> dict[str, Any]:
    told = {"operationParameters": parameters, "isBlindAppend": is_blind, "engineInfo": "landfast", **said}
    return {"commitInfo": {"timestamp": at_milliseconds, "operation": operation, **told}}


def _lines(actions: Iterable[Mapping[str, Any]]) -> bytes:
    return "\n".join(json.dumps(action, separators=(",", ":"), ensure_ascii=False) for action in actions).encode()


def _moved(transactions: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"txn": {"appId": app_id, "version": moved}} for app_id, moved in transactions.items()]


def _add(file: DataFile, *, changes: bool) -> dict[str, Any]:
    return {
        "path": quote(file.path, safe=_PLAIN_IN_PATHS),
        "partitionValues": file.partition_values,
        "size": file.nbytes,
        "modificationTime": file.modified_at,
        "dataChange": changes,
        "stats": file.stats,
        "tags": {TAG: file.digest},
    }


def _remove(file: ActiveFile, partition_values: Mapping[str, str | None], at_milliseconds: int, *, changes: bool) -> dict[str, Any]:
    return {
        "path": quote(file.path, safe=_PLAIN_IN_PATHS),
        "deletionTimestamp": at_milliseconds,
        "dataChange": changes,
        "extendedFileMetadata": True,
        "partitionValues": partition_values,
        "size": file.nbytes,
    }


def _metadata(table: DeltaTable) -> dict[str, Any]:
    known = table.metadata()
    named = {"name": known.name, "description": known.description, "createdTime": known.created_time}
    return {
        "id": known.id,
        **{key: value for key, value in named.items() if value is not None},
        "format": {"provider": "parquet", "options": {}},
        "schemaString": table.schema().to_json(),
        "partitionColumns": known.partition_columns,
        "configuration": known.configuration,
    }
