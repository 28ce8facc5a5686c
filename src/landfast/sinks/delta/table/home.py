"""A Delta table that belongs to a pipeline: opened anew when asked, watched for what others do to it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from deltalake import DeltaTable

from landfast.errors import Broken
from landfast.model import Halt, Position, Run, Stream
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.log.app_ids import incarnation_app_id, owner_app_id, position_app_id
from landfast.sinks.delta.log.entries import Entry, entries_on, entry, fingerprint
from landfast.sinks.delta.log.entry_text import append_text, upsert_text
from landfast.sinks.delta.log.mending import make_certain
from landfast.sinks.delta.table.features import demands
from landfast.sinks.delta.table.halts import lineage_halt, replaced_halt
from landfast.sinks.delta.table.place import Place, Shape, shape_of
from landfast.sinks.delta.table.view import Transactions, View

FOLLOW_ENTRIES_MAX = 1_000
"""A view that so many entries lie ahead of is opened anew rather than led by each of them."""


class TableHome:
    """A pipeline's table, and what this process knows of it. Safe to share between threads.

    What is known is the newest version whose log entries have been looked at and made durable, and the shape the table has there.
    `letters_certain` is the version up to which the start has made the log of its dead letters durable; -1 where there were none.
    """

    def __init__(
        self,
        place: Place,
        run: Run,
        clock: Clock,
        observer: Observer,
        *,
        pipeline_id: str,
        opened: DeltaTable,
        letters_certain: int = -1,
    ) -> None:
        self.place = place
        self.settings = place.settings
        self.files = place.files
        self.run = run
        self.clock = clock
        self.observer = observer
        self.pipeline_id = pipeline_id
        self.letters_certain = letters_certain
        self._table_id = opened.metadata().id
        self._lock = threading.Lock()
        self._shape = shape_of(opened)
        self._seen = opened.version()
        self._end = fingerprint(place.files, opened.version())
        self._made: set[int] = set()
        self._transactions = Transactions(opened.version())
        self._break: Entry | None = None

    def beside(self, place: Place, opened: DeltaTable) -> TableHome:
        """Another table of the same pipeline and run."""
        return TableHome(place, self.run, self.clock, self.observer, pipeline_id=self.pipeline_id, opened=opened)

    @property
    def shape(self) -> Shape:
        """The newest shape known."""
        with self._lock:
            return self._shape

    @property
    def lineage_halt(self) -> Halt | None:
        """Why no lane may go on, where somebody has replaced the table's rows under the positions."""
        with self._lock:
            return None if self._break is None else lineage_halt(self._break)

    def open(self) -> View:
        """A view of the newest version, by a fresh handle, after a look at every log entry since the last one.

        Raises:
            Unavailable: the store does not answer.
            Broken: the table is damaged, or demands what is not supported; or another table lies in its place.
        """
        with mapped("opening the table"):
            handle = self.place.handle()
            if handle.metadata().id != self._table_id:
                message = "another table lies at the path: its id is not the one this run began with"
                raise Broken("TABLE_REPLACED", message, next_step="Find out who replaced the table, then start again.")
            for demand in demands(handle):
                raise Broken(demand.code, demand.message, next_step=demand.next_step)
            tip = handle.version()
            self._see_whether_the_log_is_the_same(tip)
            with self._lock:
                seen, end = self._seen, self._end
            entries = [one for one in (entry(self.files, version) for version in range(seen + 1, tip + 1)) if one is not None]
            if tip != seen:
                end = entries[-1].fingerprint if entries and entries[-1].version == tip else fingerprint(self.files, tip)
            self._look_at(entries, tip, end)
            with self._lock:
                if tip >= self._seen:
                    self._shape = shape_of(handle)
        return View(handle, self._transactions, end)

    def _see_whether_the_log_is_the_same(self, tip: int) -> None:
        """Start anew where the entry that was seen last is gone or another: it may never have been part of the log that there is now."""
        with self._lock:
            seen, end = self._seen, self._end
        if fingerprint(self.files, seen) != end:
            make_certain(self.files, tip)
            end = fingerprint(self.files, tip)
            self._transactions.start_anew(tip)
            with self._lock:
                self._seen, self._end = tip, end

    def follow(self, view: View) -> bool:
        """Bring the view to the newest version by the entries that came since. False: it is worn.

        That is so where somebody changed the columns, properties or protocol; and where the entry that it stood on is gone or another,
        by a clean-up or because the log is another one: nobody can say then from the entries which is the newest.

        Raises:
            Broken: an entry that came since is empty or cut off.
        """
        fresh = list(itertools.islice(entries_on(self.files, view.version + 1), FOLLOW_ENTRIES_MAX + 1))
        if len(fresh) > FOLLOW_ENTRIES_MAX or not self._stands(view):
            view.worn = True
            return False
        if fresh:
            self._look_at(fresh, fresh[-1].version, fresh[-1].fingerprint)
        for one in fresh:
            view.advance(one)
        view.worn = any(one.reshapes for one in fresh)
        return not view.worn

    def _stands(self, view: View) -> bool:
        """Whether the log still has the entry that the view stands on. Clean-up removes what is older first."""
        return fingerprint(self.files, view.version) == view.end

    def _look_at(self, entries: Sequence[Entry], tip: int, end: str) -> None:
        """Take in entries that lead to version `tip`: make them durable, and see whether one took rows away.

        An entry of another process may not be on stable storage yet when that process was killed. What we commit stands on it,
        so it has to be.
        """
        torn = next((one for one in entries if not one.whole), None)
        if torn is not None:
            message = f"the log entry {log_name(torn.version)} is empty or cut off: whoever wrote it did not do so in one act"
            raise Broken(
                "LOG_CORRUPT", message, next_step="Find out who writes to the table like that, then start again: the start mends it."
            )
        with self._lock:
            fresh = [one for one in entries if one.version > self._seen]
            of_others = [one.version for one in fresh if one.version not in self._made]
            self._made -= {one.version for one in fresh}
        if of_others:
            self.files.sync_log(of_others)
        broken = next((one for one in fresh if one.replaces and one.version > self.settings.accept_lineage_version), None)
        self._transactions.advance(fresh, tip)
        with self._lock:
            if tip > self._seen:
                self._seen, self._end = tip, end
            self._break = self._break or broken

    def put(
        self,
        view: View,
        said: Mapping[str, Any],
        transactions: Mapping[str, int],
        files: Sequence[DataFile] = (),
        removed: Iterable[Mapping[str, Any]] | None = None,
    ) -> bool:
        """Append the files and move the transactions in the version right after the view's, and let the view follow.

        In an upsert the files take the place of those that the `removed` actions name. The view is what was compared, and nothing has
        come between where this returns True: that is the compare-and-set. Where it returns False, somebody else has made that version, or
        the log has changed under the view, which is worn then: compare again. Raises what the store raises; then it may have landed, or
        may yet.
        """
        if not self._stands(view):
            view.worn = True
            return False
        partition_by, now = self.shape.partition_by, int(self.clock.now() * 1000)
        if removed is None:
            text = append_text(said, transactions, files, partition_by=partition_by, at_milliseconds=now)
        else:
            text = upsert_text(said, transactions, removed, files, key=self.settings.key, at_milliseconds=now)
        version = view.version + 1
        made = self.files.put_entry(version, text)
        if made:
            with self._lock:
                self._made.add(version)
        stood = self.follow(view) or view.version >= version
        if made and stood and view.version < version:
            message = "a commit that was acknowledged is not in the log"
            raise Broken("INVARIANT_BROKEN", message, next_step="Stop, keep the table as it is, run `landfast verify`, and report this.")
        # Where the log has changed meanwhile, what was made may lie where nobody reads it.
        return made and stood

    def positions(self, view: View, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The position of each stream in this view, or why it must not be read."""
        return {
            stream: self._halt(view, stream) or view.transaction_version(position_app_id(self.pipeline_id, stream)) for stream in streams
        }

    def owner(self, view: View, stream: Stream) -> int:
        """How often the stream was taken over, in this view."""
        return view.transaction_version(owner_app_id(self.pipeline_id, stream)) or 0

    def _halt(self, view: View, stream: Stream) -> Halt | None:
        known = view.transaction_version(incarnation_app_id(self.pipeline_id, stream))
        return replaced_halt(known, self.settings, stream) or self.lineage_halt
