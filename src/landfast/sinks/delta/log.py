"""Entries of a table's log, read by version from where they lie.

`DeltaTable.history` is not used for this: on a handle that is behind the log it numbers the newest entries from its own version down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landfast.sinks.delta.files import Files, log_name
from landfast.sinks.delta.metadata import KEY, CommitRecord, from_commit_info

# Operations that replace the table's content as a whole, while the positions stay where they are.
_REPLACING = (
    "RESTORE",
    "CREATE OR REPLACE TABLE",
    "REPLACE TABLE",
    "CREATE OR REPLACE TABLE AS SELECT",
    "REPLACE TABLE AS SELECT",
    "TRUNCATE",
)


_LOOKED_AT = (b'"commitInfo"', b'"txn"', b'"metaData"', b'"protocol"')
"""The actions that are read of an entry: not those of files, of which there may be thousands."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit says of itself. `record` is there where it is a Landfast commit; `transactions` are by application id.

    `reshapes`: it carries the table's columns, properties or protocol, whether or not they differ from what they were.
    """

    version: int
    operation: str
    parameters: dict[str, Any]
    record: CommitRecord | None
    transactions: dict[str, int]
    reshapes: bool = False

    @property
    def replaces(self) -> bool:
        """Whether the commit took rows away from under the positions: a restore, a truncation, an overwrite of everything."""
        if self.operation in _REPLACING:
            return True
        everything = _is_empty_predicate(self.parameters.get("predicate"))
        if self.operation == "DELETE":
            return everything
        return self.operation == "WRITE" and str(self.parameters.get("mode", "")).lower() == "overwrite" and everything


def _is_empty_predicate(predicate: object) -> bool:
    return predicate is None or str(predicate).strip().lower() in ("", "[]", "true", '["true"]')


def entry(files: Files, version: int) -> Entry | None:
    """The log entry of a version, or None where clean-up has removed it."""
    content = files.read(log_name(version))
    if content is None:
        return None
    info: dict[str, Any] = {}
    transactions: dict[str, int] = {}
    reshapes = False
    for line in content.splitlines():
        if any(name in line for name in _LOOKED_AT):
            action = json.loads(line)
            said = action.get("commitInfo")
            if not info and isinstance(said, dict):
                info = said
            if "txn" in action:
                transactions.setdefault(action["txn"]["appId"], action["txn"]["version"])
            reshapes = reshapes or "metaData" in action or "protocol" in action
    parameters = info.get("operationParameters")
    return Entry(
        version=version,
        operation=str(info.get("operation", "")),
        parameters=parameters if isinstance(parameters, dict) else {},
        record=from_commit_info(info) if KEY in info else None,
        transactions=transactions,
        reshapes=reshapes,
    )


def entries_on(files: Files, oldest: int) -> Iterator[Entry]:
    """The log's entries from `oldest` up to the newest, or to the first that clean-up has removed."""
    while (found := entry(files, oldest)) is not None:
        yield found
        oldest += 1


def entries_back(files: Files, newest: int, oldest: int = 0) -> Iterator[Entry]:
    """The log's entries from `newest` down to `oldest`, until the first that clean-up has removed."""
    for version in range(newest, oldest - 1, -1):
        found = entry(files, version)
        if found is None:
            return
        yield found
