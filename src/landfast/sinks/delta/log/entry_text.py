"""The text of a log entry that appends files: actions of the Delta protocol, one JSON object a line.

Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions. Whatever
a reader goes by stands there as deltalake's own append writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from landfast.sinks.delta.files.parquet import DataFile

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
    info = {
        "timestamp": at_milliseconds,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": json.dumps(list(partition_by))},
        "isBlindAppend": True,
        "engineInfo": "landfast",
        **said,
    }
    actions: list[dict[str, Any]] = [{"commitInfo": info}]
    actions += [{"txn": {"appId": app_id, "version": moved}} for app_id, moved in transactions.items()]
    actions += [{"add": _add(file)} for file in files]
    return "\n".join(json.dumps(action, separators=(",", ":"), ensure_ascii=False) for action in actions).encode()


def _add(file: DataFile) -> dict[str, Any]:
    return {
        "path": quote(file.path, safe=_PLAIN_IN_PATHS),
        "partitionValues": file.partition_values,
        "size": file.nbytes,
        "modificationTime": file.modified_at,
        "dataChange": True,
        "stats": file.stats,
    }
