"""The sweep of what nobody names: files of ours that no version within the grace period has, and what killed processes leave behind.

The age of a file rests on two clocks of the wall, and a clock may be set. A file that is about to be committed looks just like one that
nobody wants, so its age alone condemns nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from deltalake import DeltaTable

from landfast.sinks.delta.files.names import LOG, WORKSHOP, drafts_among, is_own
from landfast.sinks.delta.files.staged import StagedNames
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.upkeep.checkpoint import remove_workshop

NAMES_MAX = 100_000
FILE_RETENTION = "delta.deletedFileRetentionDuration"
"""How long the table's owner wants to read its older versions, where that was said: their files stay as long."""


class Sightings:
    """When this process first saw each file that nobody names, by a clock that nobody sets.

    Holds at most `names_max`; further files are seen when earlier ones are gone.
    """

    def __init__(self, seen_seconds: float, names_max: int = NAMES_MAX) -> None:
        self._seen_seconds = seen_seconds
        self._names_max = names_max
        self._first_seen: dict[str, float] = {}

    def ripe(self, names: Collection[str], now: float) -> list[str]:
        """Of these files, those that were among the given ones at every call for long enough. The others begin to wait."""
        fresh = {name: self._first_seen.get(name, now) for name in sorted(names, key=lambda name: self._first_seen.get(name, now))}
        self._first_seen = dict(list(fresh.items())[: self._names_max])
        return [name for name, seen in self._first_seen.items() if now - seen >= self._seen_seconds]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has removed, and how many files it leaves until they have been seen for long enough."""

    files: int
    nbytes: int
    waiting: int


class Sweep:
    """Sweeps one table. For one thread."""

    def __init__(self, path: str, files: Files, *, grace_seconds: float, seen_seconds: float) -> None:
        self._path = path
        self._files = files
        self._grace_hours = int(-(-grace_seconds // 3600))
        self._sightings = Sightings(seen_seconds)
        self._staged = StagedNames()

    def spare(self, staged: StagedNames) -> None:
        """Leave these files alone for as long as they are among them: somebody is about to commit them."""
        self._staged = staged

    def swept(self, handle: DeltaTable, now: float) -> Swept:
        """Remove what may go by the handle's version. `now` is of the clock that nobody sets."""
        orphans = self._orphans(handle)
        removed = nbytes = 0
        for path in self._sightings.ripe(orphans, now):
            if path.startswith(WORKSHOP):
                remove_workshop(self._path, path)
            else:
                nbytes += self._files.size(path) or 0
                self._files.remove(path)
            removed += 1
        return Swept(removed, nbytes, len(orphans) - removed)

    def _orphans(self, handle: DeltaTable) -> list[str]:
        unnamed = set(handle.vacuum(retention_hours=self._grace_hours, dry_run=True, full=True, enforce_retention_duration=False))
        if FILE_RETENTION in handle.metadata().configuration:
            unnamed &= set(handle.vacuum(dry_run=True, full=True))
        orphans = self._outside_other_tables([path for path in unnamed if is_own(path) and path not in self._staged])
        orphans += drafts_among(self._files.names(LOG))
        return [*orphans, *(name for name in self._files.names("") if name.startswith(WORKSHOP))]

    def _outside_other_tables(self, paths: Collection[str]) -> list[str]:
        """Those of the files that lie in no folder with a log of its own: what a table inside this one names is no leftover."""
        folders = {folder for path in paths for folder in PurePosixPath(path).parents if folder.name}
        tables = {folder for folder in folders if self._files.names(f"{folder}/{LOG}")}
        return [path for path in paths if tables.isdisjoint(PurePosixPath(path).parents)]
