"""The trail: what was done with the dead letters of a table, as rows of a table beside it. Nothing in it is ever changed.

A letter's *resolution* is that it was replayed or discarded; it has at most one. Before that it may have been edited, and refused again. A
letter that is tried again by itself may have been `retried` in vain, and `given_up` at last: then it waits for people, as any other.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

Act = Literal["edited", "refused", "replayed", "discarded", "retried", "given_up"]
EDITED: Act = "edited"
REFUSED: Act = "refused"
REPLAYED: Act = "replayed"
DISCARDED: Act = "discarded"
RETRIED: Act = "retried"
GIVEN_UP: Act = "given_up"
RESOLUTIONS = frozenset({REPLAYED, DISCARDED})
UNTRIED_PHASE = "wait"
"""The phase of a letter whose record nobody has tried yet: an earlier one of its key waits to be tried again."""

_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("pipeline_id", pa.string(), nullable=False),
    pa.field("topic", pa.string(), nullable=False),
    pa.field("topic_id", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("act", pa.string(), nullable=False),
    pa.field("number", pa.int64(), nullable=False),
    pa.field("at", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("by", pa.string(), nullable=False),
    pa.field("why", pa.string(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("message", pa.string()),
    pa.field("digest", pa.string()),
    pa.field("edited", pa.bool_()),
    pa.field("version", pa.int64()),
    pa.field("value", pa.binary()),
    pa.field("attempt", pa.int64()),
    pa.field("not_before", pa.timestamp("us", "UTC")),
]
TRAIL_SCHEMA = pa.schema(_FIELDS)
"""One act a row.

id, topic … offset   the letter's
number               which of its letter's acts it is, from 1
at, by, why, run_id  when, who, for what reason by their own word, and in which run
reason, message      of a refusal, by people's replay or by an attempt of the pipeline: why the bytes were refused again
digest, edited       of a replay, a refusal or an edit: the SHA-256 of the bytes, and whether they were others than the letter's own
version              of a replay: a version of the table that holds the row, or in which it was older than that of its key
value                of an edit: the bytes to replay in the place of the letter's own
attempt              of an attempt of the pipeline: how often the record has failed with it, the first time included
not_before           of one that was not the last: when it is tried again, at the earliest
"""
