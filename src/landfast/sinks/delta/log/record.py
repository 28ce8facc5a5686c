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

FORMAT = 2
"""The newest form that is known: that of a table with one row per key, whose spans have effects."""
_FORMAT_OF_APPENDS = 1
KEY = "landfast"
DIGEST_KEY = "landfast.digest"
TAKE_OVER = {"landfast.act": "take over"}
"""What a take-over says of itself in its `commitInfo`."""
TURN = {"landfast.act": "turn"}
"""What asking for a turn says of itself."""
COMPACTION_KEY = "landfast.compaction"
"""What a compaction says of itself: how many files it replaces, and how many rows they hold."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of a span's written rows in a table with one row per key: `written = kept + superseded + older`.

    kept        in the table after the commit
    superseded  another row of the same commit has the same key and is newer
    older       the table held a row of the same key that is newer
    replaced    rows from a log, of the same keys, that made way for those that were kept
    deleted     of those that were kept: they say that what they are about is deleted
    """

    kept: int
    superseded: int
    older: int
    replaced: int
    deleted: int


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What a Landfast commit says of itself. `committed_at` is in milliseconds since the epoch, for people.

    `effects` are those of the spans, in order, in a table with one row per key, and `exchanged` counts the files that its commit takes out
    and puts in; in others there are none.
    """

    pipeline_id: str
    pipeline: str
    run_id: str
    sequence: int
    settings_digest: str
    committed_at: int
    rows: int
    spans: tuple[Span, ...]
    effects: tuple[Effect, ...] = ()
    exchanged: tuple[int, int] = (0, 0)


def to_metadata(record: CommitRecord) -> dict[str, Any]:
    """What a commit says of itself in its `commitInfo`. One JSON text under one key: other readers pass it through untouched."""
    body: dict[str, Any] = {
        "format": FORMAT if record.effects else _FORMAT_OF_APPENDS,
        "pipeline_id": record.pipeline_id,
        "pipeline": record.pipeline,
        "run": record.run_id,
        "sequence": record.sequence,
        "settings": record.settings_digest,
        "at": record.committed_at,
        "rows": record.rows,
        "spans": [span_to_json(span) for span in record.spans],
    }
    if record.effects:
        body["effects"] = [effect_to_json(effect) for effect in record.effects]
        body["exchanged"] = list(record.exchanged)
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
    spans = tuple(span_from_json(item) for item in body["spans"])
    effects = tuple(effect_from_json(item) for item in body.get("effects", ()))
    if effects and len(effects) != len(spans):
        raise ValueError
    removed, added = body.get("exchanged", (0, 0))
    return CommitRecord(
        pipeline_id=_text(body["pipeline_id"]),
        pipeline=_text(body["pipeline"]),
        run_id=_text(body["run"]),
        sequence=_number(body["sequence"]),
        settings_digest=_text(body["settings"]),
        committed_at=_number(body["at"]),
        rows=_number(body["rows"]),
        spans=spans,
        effects=effects,
        exchanged=(_number(removed), _number(added)),
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


def effect_to_json(effect: Effect) -> list[int]:
    """An effect as a compact JSON list."""
    return [effect.kept, effect.superseded, effect.older, effect.replaced, effect.deleted]


def effect_from_json(item: Sequence[Any]) -> Effect:
    """The inverse of `effect_to_json`. Raises ValueError or TypeError for what is no effect."""
    kept, superseded, older, replaced, deleted = item
    return Effect(_number(kept), _number(superseded), _number(older), _number(replaced), _number(deleted))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
