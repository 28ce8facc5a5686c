"""What a commit says about itself: the application ids that hold positions, and the record in the commit's metadata.

Both are read by every later version of Landfast: `FORMAT` goes up when their meaning changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landfast.model import Span, Stream

FORMAT = 1
KEY = "landfast"
DIGEST_KEY = "landfast.digest"


def app_id(pipeline_id: str, stream: Stream) -> str:
    """The Delta application id whose transaction version is the stream's position."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}"


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
    """The `custom_metadata` of a commit. One JSON text under one key: other readers pass it through untouched."""
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
    return {KEY: text, DIGEST_KEY: _digest(text), "isBlindAppend": True}


def altered(info: Mapping[str, Any]) -> bool:
    """Whether a commit's record is not as it was written: its text and its digest disagree.

    The digest needs no key, so it shows an accident or a careless edit, not a forger who computes it again.
    """
    text = info.get(KEY)
    return text is not None and info.get(DIGEST_KEY) != _digest(text)


def from_commit_info(info: Mapping[str, Any]) -> CommitRecord | None:
    """The record in one entry of `DeltaTable.history()` (or a commitInfo action); None where the commit is not Landfast's."""
    text = info.get(KEY)
    if text is None:
        return None
    body = json.loads(text)
    return CommitRecord(
        pipeline_id=body["pipeline_id"],
        pipeline=body["pipeline"],
        run_id=body["run"],
        sequence=body["sequence"],
        settings_digest=body["settings"],
        committed_at=body["at"],
        rows=body["rows"],
        spans=tuple(span_from_json(item) for item in body["spans"]),
    )


def span_to_json(span: Span) -> list[Any]:
    """A span as a compact JSON list."""
    stream = span.stream
    counts = [span.read, span.written, span.dead, dict(span.skipped)]
    return [stream.topic, stream.incarnation, stream.partition, span.start, span.end, *counts, span.digest, span.first]


def span_from_json(item: Sequence[Any]) -> Span:
    """The inverse of `span_to_json`."""
    topic, incarnation, partition, start, end, read, written, dead, skipped, digest, first = item
    return Span(Stream(topic, incarnation, partition), start, end, read, written, dead, skipped, digest, first)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
