"""Which dead letters were decided in a table with one row per key, where the row is no proof: it may have made way since.

What a replay has decided its commit says in the table's log, and moves one transaction to its own version: the newest replay is always
known. Before another one is put, the trail has a resolution for every letter of the newest. So all that was ever decided is told by the
trail and by one entry of the log, and nothing comes between the look and the commit: that is put at the version right after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from landfast.errors import Broken
from landfast.model import Span, Staged
from landfast.sinks.delta.files.staged import StagedNames
from landfast.sinks.delta.landing.entities import upsert_of
from landfast.sinks.delta.landing.letters import letter_id
from landfast.sinks.delta.log.app_ids import replays_app_id
from landfast.sinks.delta.log.replays import Actions, Author, Told, ranges_among, replay_metadata
from landfast.sinks.delta.log.spans import ReplayRecord, read_replay
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.redrive.trail import Note, Trail
from landfast.sinks.delta.settings import UpsertSettings
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.trail import REPLAYED
from landfast.sinks.delta.table.view import View
from landfast.sinks.delta.upserting.upsert import Upsert


class Decisions:
    """What was decided of certain letters, asked of one version after the other, and landing those that are left.

    `upsert` is that of the table's settings.
    """

    def __init__(self, home: TableHome, trail: Trail, upsert: UpsertSettings, letters: Sequence[Row]) -> None:
        self._home = home
        self._trail = trail
        self._upsert = upsert
        self._letters = tuple(letters)
        self._newest: tuple[int, tuple[ReplayRecord, ...]] | None = None
        self._settled: int | None = None
        self._staged: Staged | None = None
        self._change: Upsert | None = None

    def of(self, view: View) -> set[Coordinates]:
        """Which of the letters the newest replay in this view has decided. What others did, the trail says."""
        newest = self._newest_in(view)
        if newest is None:
            return set()
        decided = {one.told.stream: one.told.ranges for one in newest[1]}
        places = (coordinates_of(row) for row in self._letters)
        return {one for one in places if any(start <= one.offset < end for start, end in decided.get(one.stream, ()))}

    def author(self, _place: Coordinates) -> Author:
        """Who has landed a letter that is decided: whoever has made the newest replay."""
        return next((one.author for one in (self._newest[1] if self._newest is not None else ())), Author())

    def unclear(self, _view: View, _there: set[Coordinates]) -> set[Coordinates]:
        """None: a decision tells the incarnation of its topic."""
        return set()

    def resolved(self) -> Mapping[Coordinates, str]:
        """Those of the letters that the trail has resolved, and how, in words. Asked after `of`: together they tell everything."""
        dealings = self._trail.dealings(self._letters)
        told = {row["id"]: coordinates_of(row) for row in self._letters}
        return {told[name]: f"it was {one.state} by {one.resolution['by']}" for name, one in dealings.items() if one.resolution is not None}

    def put(self, view: View, letters: Sequence[Row], staged: Staged) -> set[Coordinates] | None:
        """Land the staged rows of these letters right after this view; which of them are in the table then.

        The others are older than a row of their key. None: somebody else has made that version.
        """
        self._settle(view)
        home = self._home
        if self._change is None or self._staged is not staged:
            self._staged, self._change = staged, upsert_of(home, StagedNames(), self._upsert, staged.spans, [staged])
        change = self._change.change_of(view.handle)
        offsets: dict[Any, list[int]] = {}
        for row in letters:
            offsets.setdefault(coordinates_of(row).stream, []).append(row["offset"])
        parts = zip(staged.spans, change.effects, strict=True)
        told = [Told(span.stream, ranges_among(offsets[span.stream]), effect) for span, effect in parts]
        moved = {replays_app_id(home.pipeline_id): view.version + 1}
        said = replay_metadata(self._trail.author, told, Actions(len(moved), len(change.removed), len(change.files)))
        if not home.put(view, said, moved, change.files, change.removed):
            return None
        return _places(self._change.kept(), staged.spans)

    def would_put(self, view: View, staged: Staged) -> set[Coordinates]:
        """Which of the letters of the staged rows would be in the table if they landed right after this view. Nothing is written."""
        change = upsert_of(self._home, StagedNames(), self._upsert, staged.spans, [staged])
        return _places(change.would_keep(view.handle), staged.spans)

    def _newest_in(self, view: View) -> tuple[int, tuple[ReplayRecord, ...]] | None:
        """The version that the newest replay has made, and what it says.

        Raises:
            Broken: nobody can tell any more what it says.
        """
        version = view.transaction_version(replays_app_id(self._home.pipeline_id))
        if version is None or (self._newest is not None and self._newest[0] == version):
            return self._newest if version is not None else None
        settings = self._home.settings
        found = read_replay(self._home.files, settings.path, settings.storage_options, version)
        if not found and version > settings.accept_lineage_version:
            message = f"version {version} of the table is a replay of dead letters, and what it says of itself is gone or cannot be read"
            next_step = (
                "Find out who has changed or removed entries of the table's log. Nothing was done with letters. To go on, set "
                f"sink.accept_lineage_version = {version}, and discard the letters that the table has already before you replay others."
            )
            raise Broken("LOG_CORRUPT", message, next_step=next_step)
        self._newest = version, tuple(found)
        return self._newest

    def _settle(self, view: View) -> None:
        """See that the trail has a resolution for every letter of the newest replay, whoever was killed before it wrote that down."""
        newest = self._newest_in(view)
        if newest is None or self._settled == newest[0]:
            return
        notes = [
            Note(self._as_letter(one.told, offset), REPLAYED, version=newest[0], author=one.author)
            for one in newest[1]
            for start, end in one.told.ranges
            for offset in range(start, end)
        ]
        self._trail.write(notes)
        self._settled = newest[0]

    def _as_letter(self, told: Told, offset: int) -> Row:
        stream = told.stream
        return {
            "id": f"{letter_id(self._home.pipeline_id, stream)}/{offset}",
            "topic": stream.topic,
            "topic_id": stream.incarnation,
            "partition": stream.partition,
            "offset": offset,
        }


def _places(rows: pa.Table, spans: Sequence[Span]) -> set[Coordinates]:
    streams = {(span.stream.topic, span.stream.partition): span.stream for span in spans}
    kept = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    return {Coordinates(offset, topic, partition, streams[topic, partition].incarnation) for topic, partition, offset in kept}
