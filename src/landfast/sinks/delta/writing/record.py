"""What a write says of itself in the log: as whom, which rows, and which call it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.app_ids import digest_app_id
from landfast.sinks.delta.writing.values import IdempotentWriteOptions

FORMAT = 1
KEY = "landfast.write"
_LOOKED_AT = b'"' + KEY.encode()


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """A write as its commit tells of it.

    digest   of its rows in their order
    call     the id of the call that made it
    at       when, in milliseconds since the epoch, for people
    told     what else its caller had to say
    sealing  for a write to several tables at once: where it is said that all of them have landed; else empty
    """

    app_id: str
    version: int
    digest: str
    rows: int
    call: str
    at: int
    told: Mapping[str, str]
    sealing: str = ""

    def to_metadata(self) -> dict[str, str]:
        """What the commit says of itself in its `commitInfo`: one JSON text under one key, which other readers pass through."""
        said: dict[str, Any] = {"format": FORMAT, "app_id": self.app_id, "version": self.version, "digest": self.digest, "rows": self.rows}
        said |= {"call": self.call, "at": self.at, "told": dict(self.told)} | ({"sealing": self.sealing} if self.sealing else {})
        return {KEY: json.dumps(said, separators=(",", ":"))}

    @property
    def transactions(self) -> dict[str, int]:
        """What the commit moves: the writer's version, and beside it which rows came with it, which outlasts the log's entries."""
        return {self.app_id: self.version, digest_app_id(self.app_id): digest_number(self.digest)}


def digest_number(digest: str) -> int:
    """A digest as a transaction version: its first 63 bits."""
    return int(digest[:16], 16) >> 1


def from_commit_info(info: Mapping[str, Any]) -> WriteRecord | None:
    """The record in a commitInfo action; None where there is none, or what stands there is not as we write it."""
    try:
        said = json.loads(str(info[KEY]))
        told = {str(name): str(value) for name, value in said["told"].items()}
        named, counted = (str(said["app_id"]), int(said["version"])), (str(said["digest"]), int(said["rows"]))
        return WriteRecord(*named, *counted, str(said["call"]), int(said["at"]), told, str(said.get("sealing", "")))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def writes_back(files: Files, newest: int, oldest: int = 0) -> Iterator[tuple[int, WriteRecord]]:
    """The writes in the log with the version that each has made, from `newest` down to `oldest` or to what clean-up has removed."""
    for version in range(newest, oldest - 1, -1):
        content = files.read(log_name(version))
        if content is None:
            return
        record = _record_in(content)
        if record is not None:
            yield version, record


def newest_up_to(files: Files, options: IdempotentWriteOptions, newest: int) -> tuple[int, WriteRecord] | None:
    """The newest write of this name up to this number, with the version of the table that it made, as far as the log goes back."""
    mine = ((version, record) for version, record in writes_back(files, newest) if record.app_id == options.app_id)
    return next(((version, record) for version, record in mine if record.version <= options.version), None)


def _record_in(content: bytes) -> WriteRecord | None:
    for line in content.splitlines():
        if _LOOKED_AT in line and b'"commitInfo"' in line:
            try:
                action = json.loads(line)
            except ValueError:
                return None
            info = action.get("commitInfo") if isinstance(action, dict) else None
            return from_commit_info(info) if isinstance(info, dict) else None
    return None
