"""Tables with one row per key: records that follow from where they lie, and what a table has to come to, by a plain dictionary."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from landfast.model import Batch, Decoded
from landfast.sinks.delta import DeltaSettings, UpsertSettings
from tests.sinks.delta_world import DeltaWorld, batch_of, decoded_of, stream

ENTITIES = pa.schema(
    [pa.field("id", pa.string()), pa.field("updated", pa.int64()), pa.field("gone", pa.bool_()), pa.field("note", pa.string())]
)
BY_POSITION = UpsertSettings(("id",), None, "gone")
BY_TIME = UpsertSettings(("id",), "updated", "gone")


@dataclass(frozen=True, slots=True)
class Event:
    """One record about an entity."""

    partition: int
    offset: int
    id: str | None
    updated: int | None = 0
    gone: bool | None = False

    @property
    def note(self) -> str:
        return f"{self.partition}/{self.offset}"


def event_at(partition: int, offset: int, ids: int = 40) -> Event:
    """The record at this place: the same whoever asks."""
    draw = random.Random(partition * 1_000_003 + offset)
    return Event(partition, offset, f"entity {draw.randrange(ids)}", draw.randrange(1000), draw.random() < 0.2)


def newest_of(events: Iterable[Event], upsert: UpsertSettings) -> dict[str, tuple[str, bool]]:
    """What a table comes to: of each id where its newest record lies, and whether that deletes."""
    found: dict[str, tuple[tuple[Any, ...], Event]] = {}
    for event in events:
        place = ("events", event.partition, event.offset)
        order = place if upsert.order_by is None else (event.updated, *place)
        if event.id is not None and (event.id not in found or order > found[event.id][0]):
            found[event.id] = (order, event)
    return {key: (event.note, bool(event.gone)) for key, (_, event) in found.items()}


def entities_at(folder: Path, upsert: UpsertSettings = BY_POSITION, **changes: Any) -> DeltaWorld:
    """A table that does not exist yet."""
    return DeltaWorld(str(folder / "table"), ENTITIES, DeltaSettings(path="", upsert=upsert, **changes))


def part(events: Sequence[Event]) -> Decoded:
    """Consecutive records of one partition, decoded."""
    rows = {name: [getattr(event, name) for event in events] for name in ENTITIES.names}
    first = events[0]
    return decoded_of(stream(first.partition), first.offset, events[-1].offset + 1, ENTITIES, rows)


def batch(*parts: Sequence[Event]) -> Batch:
    """A batch of such parts, one per partition."""
    each = [batch_of(part(events), first=events[0].offset == 0) for events in parts]
    spans = tuple(span for one in each for span in one.spans)
    return Batch(1, spans, {span.stream: 1 for span in spans}, tuple(decoded for one in each for decoded in one.decoded))


def table_rows(path: str, options: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Every row of the table, whatever its key."""
    return list(DeltaTable(path, storage_options=dict(options or {}) or None).to_pyarrow_table().to_pylist())


def held(path: str, options: Mapping[str, str] | None = None) -> dict[str, tuple[str, bool]]:
    """What the table has of each id: where its record lies, and whether it deletes. No id has two rows."""
    rows = table_rows(path, options)
    found = {row["id"]: (f"{row['_partition']}/{row['_offset']}", row["_deleted"]) for row in rows}
    assert len(found) == len(rows)
    assert all(row["note"] == f"{row['_partition']}/{row['_offset']}" for row in rows)
    return found


def before(ends: Mapping[int, int], ids: int = 40) -> list[Event]:
    """All records below these positions."""
    return [event_at(partition, offset, ids) for partition, end in ends.items() for offset in range(end)]
