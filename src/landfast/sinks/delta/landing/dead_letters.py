"""Dead letters in a Delta table beside the data table: whole records, fenced, durable before any commit moves past them.

The fence of a stream is the transaction version of its own application id: `claim number << 32 | put number`. Claiming raises the upper
half, which makes every number of an earlier claimant stale; each put raises the lower half, so that an unknown outcome can be read back.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.errors import Conflict, LandfastError, Unavailable
from landfast.events import OutcomeResolved
from landfast.model import Letter, Position, Stream
from landfast.sinks.delta.errors import is_foreign, mapped
from landfast.sinks.delta.files.names import LOG, new_file_name
from landfast.sinks.delta.files.parquet import DataFile, Part, write
from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.files.plain import plain
from landfast.sinks.delta.landing.letters import LETTERS_SCHEMA, letter_groups, letter_id, letters_table
from landfast.sinks.delta.landing.retries import followed, open_patiently, outcome_words, wait_seconds
from landfast.sinks.delta.log.app_ids import fence_app_id
from landfast.sinks.delta.log.mending import make_certain
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import opened_with
from landfast.sinks.delta.table.creation import create_or_open
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.place import place_of
from landfast.sinks.delta.table.view import View
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings

pc: Any = pyarrow.compute

PUT_BITS = 32
UPKEEP_SECONDS_MAX = 2.0
"""No act of upkeep begins when those after a put have taken so long."""


class DeltaDeadLetters:
    """See `ports.DeadLetters`. The table is made by the first claim; until then nothing is buried.

    `delay_seconds`: letters that are to be tried again by themselves are so for the first time after so long. None: nobody tries any.
    """

    def __init__(self, data: TableHome, delay_seconds: float | None = None) -> None:
        path = letters_path(data.settings.path)
        self._data = data
        self._delay_seconds = delay_seconds
        self._settings: DeltaSettings = replace(data.settings, path=path, partition_by=(), unknown_fields="dead", upsert=None)
        self._place = place_of(self._settings, data.place.disk, data.place.opener)
        self._files = self._place.files
        self._lock = threading.Lock()
        self._home: TableHome | None = None
        self._view: View | None = None
        self._fences: dict[Stream, int] = {}
        self._used: dict[Stream, int] = {}
        self._upkeep: Maintenance | None = None

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters.claim`."""
        if not streams:
            return
        with self._lock, mapped("claiming dead letters"):
            # A claim whose outcome is unknown is simply made again, one number higher: claims only have to grow.
            for _ in self._attempts():
                if self._claimed(streams):
                    return

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters.put`."""
        files: Sequence[DataFile] | None = None
        with self._lock, mapped("burying dead letters"):
            for _ in self._attempts():
                view, missing = self._unburied(letters)
                if files is None or len(missing) != len(letters):
                    letters, files = missing, self._written(missing)
                if not letters or self._landed(view, letters, files):
                    self._tidy()
                    return

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters.buried`."""
        with mapped("reading dead letters"):
            return _buried(self._open_home(), stream, start) if self._files.names(LOG) else frozenset()

    def check_ours(self, streams: Collection[Stream]) -> None:
        """See that nobody has claimed these streams since we did.

        Raises:
            Conflict: somebody has, or we never did.
        """
        with self._lock, mapped("looking whose the dead letters are"):
            self._check_claimed(streams)
            self._found(self._open_home().open(), streams)

    def close(self) -> None:
        """See `ports.DeadLetters.close`."""
        with self._lock:
            self._view = None

    def _open_home(self) -> TableHome:
        if self._home is None:
            handle = create_or_open(self._place, LETTERS_SCHEMA, {})
            if self._delay_seconds is not None:
                handle = opened_with(self._place, handle, LETTERS_SCHEMA)
            if handle.version() != self._data.letters_certain:
                # Whoever has made the table since the start, or written to it, may have been killed before the sync.
                make_certain(self._files, handle.version())
            self._home = self._data.beside(self._place, handle)
        return self._home

    def _attempts(self) -> Iterator[int]:
        """As many as a busy table may need, with a growing wait between them.

        Raises:
            Unavailable: they were not enough.
        """
        for attempt in range(self._settings.commit_attempts_max):
            if attempt:
                self._data.clock.sleep(wait_seconds(attempt))
                self._view = self._view and followed(self._open_home(), self._view)
            yield attempt
        message = f"other writers changed the table of dead letters during each of {self._settings.commit_attempts_max} attempts"
        raise Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step="Nothing: it is tried again.")

    def _claimed(self, streams: Collection[Stream]) -> bool:
        """Claim; False when somebody else's commit came between."""
        view = self._kept(streams) or self._open_home().open()
        fences = {stream: ((self._fence(view, stream) >> PUT_BITS) + 1) << PUT_BITS for stream in streams}
        made = self._moved(view, fences)
        if made:
            self._fences.update(fences)
        return made

    def _kept(self, streams: Collection[Stream]) -> View | None:
        """The view that was kept, if it knows these fences. It is kept again once it has shown to be still of use."""
        kept, self._view = self._view, None
        asked = [fence_app_id(self._data.pipeline_id, stream) for stream in streams]
        return kept if kept is not None and kept.answers(asked) else None

    def _unburied(self, letters: Sequence[Letter]) -> tuple[View, Sequence[Letter]]:
        """A view in which the letters' streams are ours, and those letters that it does not hold yet.

        Raises:
            Conflict: a stream is not, or no longer, ours.
        """
        streams = {letter.stream for letter in letters}
        self._check_claimed(streams)
        kept = self._kept(streams)
        if kept is not None and all(self._fence(kept, stream) == self._fences[stream] for stream in streams):
            return kept, letters
        view = self._open_home().open()
        found = self._found(view, streams)
        # Under our claim only we put: a number we do not know of is a put of ours whose answer was lost.
        moved = {stream for stream, fence in found.items() if fence != self._fences[stream]}
        for stream in moved:
            there = _buried(self._open_home(), stream, min(letter.offset for letter in letters if letter.stream == stream))
            letters = [letter for letter in letters if letter.stream != stream or letter.offset not in there]
        self._fences.update(found)
        return view, letters

    def _check_claimed(self, streams: Collection[Stream]) -> None:
        for stream in set(streams) - self._fences.keys():
            message = "dead letters of a stream that was not claimed; nothing was buried"
            raise Conflict("PIPELINE_CONFLICT", message, stream=stream, next_step="Nothing: a stream is claimed when it is gained.")

    def _found(self, view: View, streams: Collection[Stream]) -> dict[Stream, int]:
        """The fences of these streams in a view.

        Raises:
            Conflict: one is another owner's.
        """
        found = {stream: self._fence(view, stream) for stream in streams}
        for stream, fence in found.items():
            if fence >> PUT_BITS != self._fences[stream] >> PUT_BITS:
                message = "another owner has claimed the dead letters of this stream; nothing was buried"
                raise Conflict("PIPELINE_CONFLICT", message, stream=stream, next_step="Nothing: the position is read again.")
        return found

    def _landed(self, view: View, letters: Sequence[Letter], files: Sequence[DataFile]) -> bool:
        """Put after this view; False when somebody else's commit came between. Numbers are never used twice, so each names one put."""
        streams = {letter.stream for letter in letters}
        target = {stream: max(self._fences[stream], self._used.get(stream, 0)) + 1 for stream in streams}
        self._used.update(target)
        try:
            landed = self._moved(view, target, files)
        except BaseException as error:
            if is_foreign(error) and not isinstance(error, LandfastError) and self._read_back(target, error):
                self._fences.update(target)
                return True
            raise
        if landed:
            self._fences.update(target)
        return landed

    def _moved(self, view: View, fences: Mapping[Stream, int], files: Sequence[DataFile] = ()) -> bool:
        """Move the fences, and land the files with them, right after this view; False where somebody else has come first."""
        home = self._open_home()
        transactions = {fence_app_id(self._data.pipeline_id, stream): fence for stream, fence in fences.items()}
        landed = home.put(view, {}, transactions, files)
        self._view = None if view.worn else view
        return landed

    def _read_back(self, target: Mapping[Stream, int], error: BaseException) -> bool:
        """Whether a put whose call failed has landed."""
        view = open_patiently(self._open_home(), error)
        landed = all(self._fence(view, stream) == fence for stream, fence in target.items())
        message = f"burying {len(target)} streams' dead letters ended with {type(error).__name__}; read back, it {outcome_words(landed)}"
        self._data.observer.notice(OutcomeResolved("", landed, message))
        return landed

    def _fence(self, view: View, stream: Stream) -> int:
        return view.transaction_version(fence_app_id(self._data.pipeline_id, stream)) or 0

    def _written(self, letters: Sequence[Letter]) -> list[DataFile]:
        now = self._data.clock.now()
        files = []
        known = self._open_home().shape.schema.names
        for group in letter_groups(letters, self._settings.file_bytes_target):
            rows = letters_table(self._data.pipeline_id, self._data.run.id, group, self._delay_seconds or 0.0)
            # A table that an earlier version has made lacks what only pipelines that try letters again need.
            rows = rows.select([name for name in rows.column_names if name in known])
            files.append(write(self._files, new_file_name("letters"), Part("", {}, rows), self._settings, now=now))
        return files

    def _tidy(self) -> None:
        """Keep the table fast. The letters are buried already, so a failure is told and changes nothing."""
        if self._view is None:
            return
        if self._upkeep is None:
            settings = MaintenanceSettings(checkpoint_commits=self._settings.checkpoint_commits, cleanup_interval_seconds=math.inf)
            place, data = self._place, self._data
            self._upkeep = Maintenance(settings, self._settings, data.clock, data.observer, disk=place.disk, opener=place.opener)
        if self._upkeep.after_commits(self._view.version, 1, UPKEEP_SECONDS_MAX):
            self._view = None


def _buried(home: TableHome, stream: Stream, start: Position) -> AbstractSet[int]:
    prefix = letter_id(home.pipeline_id, stream) + "/"
    offsets: set[int] = set()
    for path in _paths_with(home.open().handle, stream, start):
        with home.files.open(path) as stored:
            table = plain(pq.read_table(stored, columns=["id", "offset"]))
        wanted = pc.and_(pc.starts_with(table.column("id"), prefix), pc.greater_equal(table.column("offset"), start))
        offsets.update(cast("list[int]", table.column("offset").filter(wanted).to_pylist()))
    return offsets


def _paths_with(handle: DeltaTable, stream: Stream, start: Position) -> list[str]:
    """Files that may hold letters of the stream at or above `start`, by the log's statistics."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    wanted = [name for name in ("path", "max.offset", "min.partition", "max.partition") if name in adds.column_names]
    paths = []
    for row in adds.select(wanted).to_pylist():
        low, high, highest = row.get("min.partition"), row.get("max.partition"), row.get("max.offset")
        elsewhere = low is not None and high is not None and not low <= stream.partition <= high
        below = highest is not None and highest < start
        if not elsewhere and not below:
            paths.append(unquote(row["path"]))
    return paths
