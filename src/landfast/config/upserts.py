"""What must hold between the settings of a table with one row per key."""

from __future__ import annotations

from collections.abc import Iterator

from landfast.config.faults import Fault, Place
from landfast.config.settings import DecodeSettings, SinkSettings

_TIMESTAMP = "_timestamp"


def upsert_faults(place: Place, decode: DecodeSettings, sink: SinkSettings) -> Iterator[Fault]:
    """The faults of the settings that make a table hold one row per key; what types the columns may have, the sink knows."""
    if sink.mode != "upsert":
        yield from _without_effect(place, decode, sink)
        return
    if not sink.key:
        yield Fault((*place, "sink", "key"), "CONFIG_MISSING", "is missing: name the columns that tell what a row is about")
    for column in sorted({column for column in sink.key if sink.key.count(column) > 1}):
        yield _invalid((*place, "sink", "key"), f"{column} is there twice")
    if decode.columns:
        named = {"key": sink.key, "order_by": (sink.order_by or _TIMESTAMP,), "delete_when": (sink.delete_when or _TIMESTAMP,)}
        for setting, columns in named.items():
            for column in columns:
                if column not in decode.columns and not (column == _TIMESTAMP and setting != "key"):
                    yield _invalid((*place, "sink", setting), f"{column} is not among decode.columns")
    if sink.delete_when == _TIMESTAMP:
        yield _invalid((*place, "sink", "delete_when"), "has to name a boolean column")
    if sink.accept_topic_ids and sink.order_by is None:
        words = "needs sink.order_by in a table with one row per key: the new topic begins at offset 0, before all that the table holds"
        yield _invalid((*place, "sink", "accept_topic_ids"), words)
    yield from _tombstones(place, decode, sink)


def _without_effect(place: Place, decode: DecodeSettings, sink: SinkSettings) -> Iterator[Fault]:
    given = {"key": sink.key, "order_by": sink.order_by, "delete_when": sink.delete_when}
    for setting, value in given.items():
        if value:
            yield _invalid((*place, "sink", setting), 'has an effect only with mode = "upsert"')
    if decode.tombstones == "delete":
        yield _invalid(
            (*place, "decode", "tombstones"), '"delete" needs sink.mode = "upsert": where each record is a row, nothing is deleted'
        )


def _tombstones(place: Place, decode: DecodeSettings, sink: SinkSettings) -> Iterator[Fault]:
    if decode.tombstones != "delete":
        return
    if sink.order_by not in (None, _TIMESTAMP):
        words = f'"delete" needs an order that a record without a value has: the position, or _timestamp, and not {sink.order_by}'
        yield _invalid((*place, "decode", "tombstones"), words)
    for name, kind in decode.columns.items():
        if name not in sink.key and " ".join(kind.lower().split()).endswith("not null"):
            yield _invalid((*place, "decode", "columns", name), "must not be `not null`: a record without a value deletes, and has none")
    if decode.format == "raw" and sink.key != ("key",):
        yield _invalid((*place, "sink", "key"), 'must be ["key"], the record\'s Kafka key, with format = "raw" and tombstones = "delete"')


def _invalid(place: Place, words: str) -> Fault:
    return Fault(place, "CONFIG_INVALID", words)
