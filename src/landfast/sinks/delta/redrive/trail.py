"""Writes down what people do with dead letters. A letter is resolved once: whoever comes second finds it resolved, and writes nothing.

As where rows land, a view of the trail is looked at, and what is new is put at the version right after it; where somebody else has made
that version, it is looked at again. An answer that is lost leaves the question open whether the rows are there: asked to write them again,
the trail looks first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from landfast.errors import Unavailable
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import new_file_name
from landfast.sinks.delta.files.parquet import Part, write
from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.landing.retries import wait_seconds
from landfast.sinks.delta.log.mending import make_certain, mend
from landfast.sinks.delta.log.replays import Author
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.acts import UNTOUCHED, Acts, Dealings
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import opened_with
from landfast.sinks.delta.table.creation import create_or_open
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.place import place_of
from landfast.sinks.delta.table.trail import TRAIL_SCHEMA, Act
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings

_SAID = {"landfast.act": "trail"}
_UPKEEP_SECONDS_MAX = 2.0
_OF_THE_NOTE = ("reason", "message", "digest", "edited", "version", "value", "attempt", "not_before")


@dataclass(frozen=True, slots=True)
class Note:
    """One act to write down: what was done with a letter. See `TRAIL_SCHEMA`.

    author   who has done it, and in which run; None: whoever writes it down
    """

    letter: Row
    act: Act
    why: str = ""
    reason: str | None = None
    message: str | None = None
    digest: str | None = None
    edited: bool | None = None
    version: int | None = None
    value: bytes | None = None
    attempt: int | None = None
    not_before: int | None = None
    author: Author | None = None


class Trail:
    """The trail of one table. `by` says who acts. The table of it is made with the first act."""

    def __init__(self, data: TableHome, by: str) -> None:
        path = trail_path(data.settings.path)
        self._data = data
        self._by = by
        self._settings: DeltaSettings = replace(data.settings, path=path, partition_by=(), unknown_fields="dead", upsert=None)
        self._place = place_of(self._settings, data.place.disk, data.place.opener)
        self._home: TableHome | None = None
        self._upkeep: Maintenance | None = None

    @property
    def author(self) -> Author:
        """Who acts, and in which run."""
        return Author(self._by, self._data.run.id)

    def version(self) -> int | None:
        """The newest version of the trail: while it is the same, nobody has done anything. None: nobody ever has."""
        with mapped("opening the trail of dead letters"):
            table = snapshot_or_none(self._settings.path, self._settings.storage_options)
            return None if table is None else table.version()

    def dealings(self, letters: Sequence[Row]) -> Mapping[str, Dealings]:
        """What became of these letters by now, by id; those that nobody has touched are left out."""
        with mapped("reading what was done with dead letters"):
            return Acts(self._data.settings).of(letters)

    def write(self, notes: Sequence[Note]) -> Mapping[str, Dealings]:
        """Write these acts down but for those of letters that are resolved; those letters, by id, with what became of them.

        Raises:
            Unavailable: the store does not answer, or others were faster each time. Writing the same again is safe.
        """
        if not notes:
            return {}
        letters = [note.letter for note in notes]
        with mapped("writing down what was done with dead letters"):
            home = self._open_home()
            for attempt in range(self._settings.commit_attempts_max):
                if attempt:
                    self._data.clock.sleep(wait_seconds(attempt))
                view = home.open()
                known = Acts(self._data.settings, view.handle).of(letters)
                resolved = {name: dealings for name, dealings in known.items() if dealings.resolution is not None}
                rows = [self._row(note, known.get(note.letter["id"], UNTOUCHED)) for note in notes if note.letter["id"] not in resolved]
                if not rows:
                    return resolved
                part = Part("", {}, pa.Table.from_pylist(rows, schema=TRAIL_SCHEMA))
                file = write(self._place.files, new_file_name("trail"), part, self._settings, now=self._data.clock.now())
                if home.put(view, _SAID, {}, [file]):
                    self._tidy(view.version)
                    return resolved
        message = f"others wrote to the trail of dead letters during each of {self._settings.commit_attempts_max} attempts"
        raise Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step="Run the command again: what is written down stays so.")

    def _open_home(self) -> TableHome:
        if self._home is None:
            mend(self._settings.path, self._place.disk, self._data.observer)
            handle = opened_with(self._place, create_or_open(self._place, TRAIL_SCHEMA, {}), TRAIL_SCHEMA)
            make_certain(self._place.files, handle.version())
            self._home = self._data.beside(self._place, handle)
        return self._home

    def _row(self, note: Note, known: Dealings) -> dict[str, Any]:
        letter, author = note.letter, note.author or self.author
        return {
            **{name: letter[name] for name in ("id", "topic", "topic_id", "partition", "offset")},
            "pipeline_id": self._data.pipeline_id,
            "act": note.act,
            "number": known.acts + 1,
            "at": round(self._data.clock.now() * 1_000_000),
            "by": author.by,
            "why": note.why,
            "run_id": author.run_id,
            **{name: getattr(note, name) for name in _OF_THE_NOTE},
        }

    def _tidy(self, version: int) -> None:
        """Keep the table fast. What had to be written down is, so a failure is told and changes nothing."""
        if self._upkeep is None:
            settings = MaintenanceSettings(checkpoint_commits=self._settings.checkpoint_commits, cleanup_interval_seconds=math.inf)
            place, data = self._place, self._data
            self._upkeep = Maintenance(settings, self._settings, data.clock, data.observer, disk=place.disk, opener=place.opener)
        self._upkeep.after_commits(version, 1, _UPKEEP_SECONDS_MAX)
