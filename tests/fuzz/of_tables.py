"""What others may have written to a table, and what is asked of it: answers, or errors of ours."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from landfast.errors import LandfastError
from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files.names import LOG, log_name
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.entries import entry
from landfast.sinks.delta.log.record import DIGEST_KEY, KEY, DamagedRecord, altered, from_commit_info, to_metadata
from landfast.sinks.delta.log.spans import read_log
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.proof.lookup import letter
from landfast.sinks.delta.settings import DeltaSettings
from tests.fuzz.place import scratch
from tests.sinks.delta_proof import bury, stream
from tests.sinks.delta_proof import letter as letter_of
from tests.sinks.delta_world import world_at


def commit_record(data: bytes) -> str:
    """The text under our key in a commit: a record, damage, or what a later version writes."""
    text = data.decode("utf-8", "surrogateescape")
    info = {KEY: text, DIGEST_KEY: "0"}
    altered(info)
    try:
        record = from_commit_info(info)
    except DamagedRecord:
        return "damaged"
    except LandfastError as error:
        return error.code
    if record is None or from_commit_info(to_metadata(record)) != record:
        raise AssertionError("a record that was read does not come back as it is written")
    return f"read {len(record.spans)}"


@cache
def _log() -> Path:
    folder = scratch() / "table" / LOG
    folder.mkdir(parents=True)
    return folder


def log_entry(data: bytes) -> str:
    """An entry of a table's log of these bytes."""
    (_log() / Path(log_name(0)).name).write_bytes(data)
    files = files_of(str(_log().parent), {})
    words = []
    for look in (lambda: entry(files, 0), lambda: lost_tail(str(_log().parent), files), lambda: read_log(files, 0)):
        try:
            with looked("fuzz"):
                found = look()
        except LandfastError as error:
            words.append(error.code)
        else:
            words.append(f"{type(found).__name__} {getattr(found, 'operation', '')[:10]} {bool(getattr(found, 'damaged', ''))}")
    return " ".join(words)


@cache
def _letters() -> DeltaSettings:
    world = world_at(scratch() / "letters")
    world.sink().close()
    bury(world, letter_of(stream(0), 3))
    return DeltaSettings(path=world.path)


def dead_letter_id(data: bytes) -> str:
    """The id of a dead letter as it comes from the command line."""
    asked = data.decode("utf-8", "surrogateescape")
    found = letter(_letters(), asked)
    if found is not None and found["id"] != asked:
        raise AssertionError("another letter was found")
    return "none" if found is None else json.dumps(found["reason"])
