"""Entries of a table's log, read by version from where they lie.

`DeltaTable.history` is not used for this: on a handle that is behind the log it numbers the newest entries from its own version down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landfast.sinks.delta.files.names import ENTRY_NAME, LAST_CHECKPOINT, LOG, checkpoints_among, log_name
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.record import KEY, CommitRecord, from_commit_info

# Operations that replace the table's content as a whole, while the positions stay where they are.
_REPLACING = (
    "RESTORE",
    "CREATE OR REPLACE TABLE",
    "REPLACE TABLE",
    "CREATE OR REPLACE TABLE AS SELECT",
    "REPLACE TABLE AS SELECT",
    "TRUNCATE",
)
_NOTHING = b" \t\x00"
"""What bytes read as that were never written, and what stands between actions."""
_LOOKED_AT = (b'"commitInfo"', b'"txn"', b'"metaData"', b'"protocol"')
"""The actions that are read of an entry: not those of files, of which there may be thousands."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit says of itself. `record` is there where it is a Landfast commit; `transactions` are by application id.

    reshapes     it carries the table's columns, properties or protocol, whether or not they differ from what they were
    whole        its last line is an action: not so where a power cut or a writer that is not atomic has left it empty or cut off
    fingerprint  of its bytes
    """

    version: int
    operation: str
    parameters: dict[str, Any]
    record: CommitRecord | None
    transactions: dict[str, int]
    reshapes: bool
    whole: bool
    fingerprint: str

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


def has_table(files: Files) -> bool:
    """Whether the log holds a first entry or a checkpoint: an empty log folder is no table yet."""
    names = files.names(LOG)
    return any(map(ENTRY_NAME.fullmatch, names)) or any(form.endswith("parquet") for _, form, _ in checkpoints_among(names))


def entry(files: Files, version: int) -> Entry | None:
    """The log entry of a version, or None where clean-up has removed it."""
    content = files.read(log_name(version))
    if content is None:
        return None
    info: dict[str, Any] = {}
    transactions: dict[str, int] = {}
    reshapes = False
    lines = [line for line in content.splitlines() if line.strip(_NOTHING)]
    for line in lines:
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
        whole=bool(lines) and is_action(lines[-1]),
        fingerprint=_digest(content),
    )


def fingerprint(files: Files, version: int) -> str:
    """What tells the log at this version from another log: its entry, or the newest checkpoint where clean-up has taken that entry."""
    content = files.read(log_name(version))
    return _digest(b"checkpoint " + (files.read(f"{LOG}/{LAST_CHECKPOINT}") or b"") if content is None else content)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def is_action(line: bytes) -> bool:
    """Whether the line of an entry is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def hinted_checkpoint(files: Files) -> int | None:
    """The version of the newest checkpoint by the log's hint; None where it says nothing, which readers tolerate."""
    content = files.read(f"{LOG}/{LAST_CHECKPOINT}")
    try:
        return None if content is None else int(json.loads(content)["version"])
    except (ValueError, KeyError, TypeError):
        return None


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
