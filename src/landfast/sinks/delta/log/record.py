"""What a commit says about itself: the record in the commit's metadata.

It is read by every later version of Landfast: `FORMAT` goes up when its meaning changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landfast.errors import Broken
from landfast.model import Span, Stream

FORMAT = 1
KEY = "landfast"
DIGEST_KEY = "landfast.digest"
TAKE_OVER = {"landfast.act": "take over"}
"""What a take-over says of itself in its `commitInfo`."""
COMPACTION_KEY = "landfast.compaction"
"""What a compaction says of itself: how many files it replaces, and how many rows they hold."""


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What a Landfast commit says of itself. `committed_at` is in milliseconds since the epoch, for people."""

    pipeline_id: str
    pipeline: str
    run_id: str
    sequence: int
    settings_digest: str
    committed_at: int
    rows: int
    spans: tuple[Span, ...]


def to_metadata(record: CommitRecord) -> dict[str, Any]:
    """What a commit says of itself in its `commitInfo`. One JSON text under one key: other readers pass it through untouched."""
    body = {
        "format": FORMAT,
        "pipeline_id": record.pipeline_id,
        "pipeline": record.pipeline,
        "run": record.run_id,
        "sequence": record.sequence,
        "settings": record.settings_digest,
        "at": record.committed_at,
        "rows": record.rows,
        "spans": [span_to_json(span) for span in record.spans],
    }
    text = json.dumps(body, separators=(",", ":"))
    return {KEY: text, DIGEST_KEY: _digest(text)}


def compaction_metadata(files: int, rows: int) -> dict[str, str]:
    """What a compaction says of itself in its `commitInfo`: how many files it replaces, and how many rows they hold."""
    return {COMPACTION_KEY: json.dumps({"files": files, "rows": rows})}


def told_by_compaction(info: Mapping[str, Any]) -> tuple[int, int] | None:
    """The files and rows that a compaction tells of; -1 files where what it says is not as we write it.

    None where the commit is no compaction of ours.
    """
    if COMPACTION_KEY not in info:
        return None
    try:
        told = json.loads(str(info[COMPACTION_KEY]))
        return int(told["files"]), int(told["rows"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return -1, 0


def altered(info: Mapping[str, Any]) -> bool:
    """Whether a commit's record is not as it was written: its text and its digest disagree.

    The digest needs no key, so it shows an accident or a careless edit, not a forger who computes it again.
    """
    text = info.get(KEY)
    return text is not None and not (isinstance(text, str) and info.get(DIGEST_KEY) == _digest(text))


class DamagedRecord(ValueError):
    """The text under our key is not what Landfast writes there. Says nothing of what it is instead."""

    def __init__(self) -> None:
        super().__init__("the commit's record is not as Landfast writes it")


def from_commit_info(info: Mapping[str, Any]) -> CommitRecord | None:
    """The record in one entry of `DeltaTable.history()` (or a commitInfo action); None where the commit is not Landfast's.

    Raises:
        DamagedRecord: it is not as Landfast writes it. Others can write to the log, so nothing about it is taken on trust.
        Broken: a later version of Landfast has written it, in a form that this one does not know.
    """
    text = info.get(KEY)
    if text is None:
        return None
    try:
        return _record(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DamagedRecord from None


def _record(body: Mapping[str, Any]) -> CommitRecord:
    written_as = _number(body["format"])
    if written_as > FORMAT:
        message = f"the table has commits in format {written_as}, and this version of Landfast knows no later one than {FORMAT}"
        raise Broken("VERSION_TOO_OLD", message, next_step="Run the version that wrote them, or a later one.")
    return CommitRecord(
        pipeline_id=_text(body["pipeline_id"]),
        pipeline=_text(body["pipeline"]),
        run_id=_text(body["run"]),
        sequence=_number(body["sequence"]),
        settings_digest=_text(body["settings"]),
        committed_at=_number(body["at"]),
        rows=_number(body["rows"]),
        spans=tuple(span_from_json(item) for item in body["spans"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    # Half of a surrogate pair comes out of JSON as text that nothing can write down again: a ValueError.
    value.encode()
    return value


def _number(value: object) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        raise TypeError
    return value


def span_to_json(span: Span) -> list[Any]:
    """A span as a compact JSON list."""
    stream = span.stream
    counts = [span.read, span.written, span.dead, dict(span.skipped)]
    return [stream.topic, stream.incarnation, stream.partition, span.start, span.end, *counts, span.digest, span.first]


def span_from_json(item: Sequence[Any]) -> Span:
    """The inverse of `span_to_json`. Raises ValueError, TypeError or AttributeError for what is no span."""
    topic, incarnation, partition, start, end, read, written, dead, skipped, digest, first = item
    if type(first) is not bool:
        raise TypeError
    stream = Stream(_text(topic), _text(incarnation), _number(partition))
    counts = {_text(reason): _number(count) for reason, count in skipped.items()}
    places = _number(start), _number(end)
    return Span(stream, *places, _number(read), _number(written), _number(dead), counts, _text(digest), first)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
