"""What a commit to several tables writes down beforehand: everything that it takes to make it, by whoever comes after a crash.

It lies in a folder of the first table. Once all has landed a seal takes its place, which says in which versions. Readers of a Delta table
pass over both: their names begin with an underscore.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import pyarrow as pa
from deltalake.schema import Schema

from landfast.errors import Broken
from landfast.sinks.delta.files.names import COMMITS
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.table.place import Shape
from landfast.sinks.delta.writing.commit import Prepared
from landfast.sinks.delta.writing.values import IdempotentWriteOptions

FORMAT = 1
_INTENT, _SEAL = ".intent.json", ".sealed.json"


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to land in each table, under one identity. The tables by their way from the first: the whole may be moved elsewhere."""

    identity: IdempotentWriteOptions
    shares: dict[str, Prepared]

    @property
    def name(self) -> str:
        """The name of the file that it stands in."""
        return _name(self.identity, _INTENT)

    @property
    def seal(self) -> str:
        """The name of the file that says that it was carried out."""
        return _name(self.identity, _SEAL)

    @property
    def digests(self) -> Mapping[str, str]:
        """Which rows are meant for each table."""
        return {path: share.digest for path, share in self.shares.items()}

    def to_json(self) -> bytes:
        """The content of the file."""
        shares = {path: _share(prepared) for path, prepared in self.shares.items()}
        body = {"format": FORMAT, "app_id": self.identity.app_id, "version": self.identity.version, "shares": shares}
        return json.dumps({**body, "told": dict(self.identity.told)}, indent=1).encode()


def seal_of(identity: IdempotentWriteOptions) -> str:
    """The name of the file that says that the commit of this identity was carried out."""
    return _name(identity, _SEAL)


def read_intent(files: Files, name: str) -> Intent | None:
    """The intent in this file; None where there is none: it was carried out.

    Raises:
        Broken: it is not as Landfast writes it, or a later version has written it.
    """
    content = files.read(name)
    if content is None:
        return None
    try:
        body = json.loads(content)
        if body["format"] > FORMAT:
            message = f"{name} was written by a later version of Landfast"
            raise Broken("VERSION_TOO_OLD", message, next_step="Run the version that wrote it, or a later one.")
        identity = IdempotentWriteOptions(body["app_id"], body["version"], told=body["told"])
        return Intent(identity, {path: _prepared(identity, share) for path, share in body["shares"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{name} is not as Landfast writes it"
        raise Broken("LOG_CORRUPT", message, next_step="Restore the file from a backup, or write the rows again as another run.") from error


@dataclass(frozen=True, slots=True)
class Seal:
    """That a commit was carried out: in which version of each table, and with which rows."""

    versions: Mapping[str, int | None]
    digests: Mapping[str, str]

    def to_json(self, at: int) -> bytes:
        """The content of the file; `at` is in milliseconds since the epoch, for people."""
        return json.dumps({"at": at, "versions": dict(self.versions), "digests": dict(self.digests)}).encode()


def read_seal(files: Files, intent: Intent) -> Seal | None:
    """The seal of the commit that is meant; None where it has none yet."""
    content = files.read(intent.seal)
    if content is None:
        return None
    try:
        said = json.loads(content)
        return Seal(dict(said["versions"]), dict(said["digests"]))
    except (ValueError, KeyError, TypeError) as error:
        message = f"{intent.seal} is not as Landfast writes it"
        raise Broken("LOG_CORRUPT", message, next_step="Restore the file from a backup.") from error


def intents(files: Files) -> tuple[list[str], list[str]]:
    """The names of the intents without a seal, oldest number first within each run; and of those with one, which nobody needs any more."""
    names = set(files.names(COMMITS))
    unsealed: list[str] = []
    carried_out: list[str] = []
    for name in sorted(names):
        if name.endswith(_INTENT):
            has_seal = name.removesuffix(_INTENT) + _SEAL in names
            (carried_out if has_seal else unsealed).append(f"{COMMITS}/{name}")
    return unsealed, carried_out


def _name(identity: IdempotentWriteOptions, end: str) -> str:
    return f"{COMMITS}/{hashlib.sha256(identity.app_id.encode()).hexdigest()[:32]}-{identity.version:020d}{end}"


def _share(prepared: Prepared) -> dict[str, Any]:
    return {
        "mode": prepared.mode,
        "table_id": prepared.table_id,
        "schema": json.loads(Schema.from_arrow(prepared.shape.schema).to_json()),
        "partition_by": list(prepared.shape.partition_by),
        "files": [asdict(file) for file in prepared.files],
        "digest": prepared.digest,
        "rows": prepared.rows,
        "call": prepared.call,
        "sealing": prepared.sealing,
        "attempts": prepared.attempts,
    }


def _prepared(identity: IdempotentWriteOptions, share: dict[str, Any]) -> Prepared:
    schema = pa.schema(cast("Any", Schema.from_json(json.dumps(share["schema"])).to_arrow()))
    files = tuple(DataFile(**file) for file in share["files"])
    shape = Shape(schema, tuple(share["partition_by"]))
    counted = (share["digest"], share["rows"], share["call"], share["sealing"])
    return Prepared(identity, share["mode"], share["table_id"], shape, files, *counted, share.get("attempts"))
